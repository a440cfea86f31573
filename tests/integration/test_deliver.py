"""From the journal to real brokers: what they refuse, close upon or lose, and the order in which a listener hears it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage

from edge_agent.clock import Clock, SystemClock
from edge_agent.config.settings import JournalSettings
from edge_agent.journal import Journal
from edge_agent.metrics import Metrics
from edge_agent.mqtt import MqttLink
from edge_agent.values import Message
from edge_agent.workers.deliver import LOST_REPEATEDLY, DeliverWorker
from tests.cutting_proxy import CuttingProxy
from tests.mosquitto import BINARY, Mosquitto
from tests.mqtt_client import MqttClient, wait_until
from tests.mqtt_links import ONLINE, new_link, running, settings_for
from tests.strict_broker import Answer, Published, StrictBroker

needs_mosquitto = pytest.mark.skipif(BINARY is None, reason="mosquitto is not installed: apt-get install mosquitto")
VERSIONS = ["5", "3.1.1"]


class FastClock:
    """The system's clocks, ten times as fast: the waits of the worker are a tenth as long."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return 10.0 * time.monotonic()


class Sender:
    """A journal whose outbox is delivered over a link; `until` runs the worker's steps in this thread."""

    def __init__(self, journal: Journal, link: MqttLink, clock: Clock) -> None:
        self.journal, self.link, self.metrics = journal, link, Metrics()
        self._wake = threading.Event()
        self._worker = DeliverWorker(link=link, journal=journal, wake=self._wake, metrics=self.metrics, clock=clock)

    def queue(self, *messages: Message) -> None:
        self.journal.record([], messages)
        self._wake.set()

    def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        wait_until(lambda: (self._worker.step(0.02) and False) or condition(), timeout_s)

    @property
    def waiting(self) -> int:
        return len(self.journal.outbox(0, 100_000))

    def dead(self) -> list[tuple[str, str]]:
        return [(letter.message.topic, letter.reason) for letter in self.journal.dead_letters(100)]


@contextmanager
def sending(folder: Path, port: int, version: str = "5", clock: Clock | None = None) -> Iterator[Sender]:
    clock = clock or SystemClock()
    settings = settings_for(port, protocol=version)
    with (
        Journal.open(folder / "journal.db", JournalSettings(), clock) as journal,
        running(new_link(settings, [], farewell=tuple), connect=False) as link,
    ):
        yield Sender(journal, link, clock)


def message(topic: str, number: int, size: int = 0) -> Message:
    return Message(topic=topic, payload=b"%d" % number + b" " * size)


def heard_on(listener: MqttClient, topic: str) -> list[int]:
    return [int(payload) for payload in listener.on(topic)]


# ---- what a broker will never take -----------------------------------------------------------------------------------


@needs_mosquitto
def test_what_the_access_list_forbids_is_a_dead_letter_in_mqtt_5(tmp_path: Path) -> None:
    acl = "topic readwrite allowed/#\ntopic readwrite edge/#\n"
    with (
        Mosquitto(tmp_path, acl=acl) as broker,
        sending(tmp_path, broker.port) as sender,
        MqttClient(broker.port, ["allowed/#"]) as listener,
    ):
        sender.queue(message("allowed/a", 1), message("forbidden/a", 2), message("allowed/a", 3))
        sender.until(lambda: heard_on(listener, "allowed/a") == [1, 3] and not sender.waiting)
        assert sender.dead() == [("forbidden/a", "refused-not-authorized")]
        assert sender.link.counters.connects == 1


@needs_mosquitto
def test_what_the_access_list_forbids_is_confirmed_and_thrown_away_in_mqtt_3(tmp_path: Path) -> None:
    """Nobody can tell; documented."""
    with (
        Mosquitto(tmp_path, acl="topic readwrite allowed/#\ntopic readwrite edge/#\n") as broker,
        sending(tmp_path, broker.port, "3.1.1") as sender,
    ):
        sender.queue(message("forbidden/a", 1))
        sender.until(lambda: not sender.waiting)
        assert sender.dead() == []
        assert sender.metrics.flow.get("messages_delivered") == 1


@needs_mosquitto
@pytest.mark.parametrize(("version", "reason"), [("5", "refused-packet-too-large"), ("3.1.1", LOST_REPEATEDLY)])
def test_a_packet_too_large_for_the_broker_is_a_dead_letter(tmp_path: Path, version: str, reason: str) -> None:
    """In MQTT 5 mosquitto says how much it takes, in 3.1.1 it closes the connection."""
    with (
        Mosquitto(tmp_path, extra=["max_packet_size 2000"]) as broker,
        sending(tmp_path, broker.port, version, FastClock()) as sender,
        MqttClient(broker.port, ["a/#"]) as listener,
    ):
        sender.queue(message("a/1", 1), message("a/2", 2, size=3_000), message("a/1", 3), message("a/3", 4))
        sender.until(lambda: not sender.waiting)
        assert sender.dead() == [("a/2", reason)]
        wait_until(lambda: heard_on(listener, "a/3") == [4], what="the other topic's message")
        wait_until(lambda: heard_on(listener, "a/1")[-1:] == [3], what="what came after it")
        assert heard_on(listener, "a/2") == []


@needs_mosquitto
@pytest.mark.parametrize(("version", "dead"), [("5", [("a/2", LOST_REPEATEDLY)]), ("3.1.1", [])])
def test_a_payload_beyond_the_brokers_limit(tmp_path: Path, version: str, dead: list[tuple[str, str]]) -> None:
    """In MQTT 5 mosquitto refuses it with a code that MQTT does not know, in 3.1.1 it confirms it and throws it away."""
    with (
        Mosquitto(tmp_path, extra=["message_size_limit 2000"]) as broker,
        sending(tmp_path, broker.port, version, FastClock()) as sender,
        MqttClient(broker.port, ["a/#"]) as listener,
    ):
        sender.queue(message("a/1", 1), message("a/2", 2, size=3_000), message("a/1", 3))
        sender.until(lambda: not sender.waiting)
        assert sender.dead() == dead
        listener.wait_for("a/1", b"3")
        assert heard_on(listener, "a/2") == []


@pytest.mark.parametrize("answer", ["close", "reset"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_broker_that_ends_the_connection_upon_a_topic_gets_everything_else(
    tmp_path: Path, version: str, answer: Answer
) -> None:
    def forbids(published: Published) -> Answer:
        return answer if published.topic == "poison" else "confirm"

    with StrictBroker(forbids) as broker, sending(tmp_path, broker.port, version, FastClock()) as sender:
        sender.queue(*(message("poison" if number == 5 else f"t/{number % 3}", number) for number in range(12)))
        sender.until(lambda: not sender.waiting)
        assert sender.dead() == [("poison", LOST_REPEATEDLY)]
        taken = [int(published.payload) for published in broker.taken if published.topic.startswith("t/")]
        assert list(dict.fromkeys(taken)) == [number for number in range(12) if number != 5]
        # A reset may take confirmations along that were on their way: then a connection or two more are needed.
        assert 5 <= sum(published.topic == "poison" for published in broker.heard) <= 12
        sender.queue(*(message("t/0", number) for number in range(100, 150)))
        sender.until(lambda: not sender.waiting)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_broker_that_closes_on_everything_loses_nothing(tmp_path: Path, version: str) -> None:
    """Such as one that lets us in but forbids all our topics: a person must put it right, and then all of it arrives."""
    answers: list[Answer] = ["close"]
    with StrictBroker(lambda published: answers[0]) as broker, sending(tmp_path, broker.port, version, FastClock()) as sender:
        sender.queue(*(message("t", number) for number in range(5)))
        sender.until(lambda: broker.connections >= 15)
        assert sender.dead() == []
        answers[0] = "confirm"
        sender.until(lambda: not sender.waiting)
        taken = [int(published.payload) for published in broker.taken if published.topic == "t"]
        assert taken == [0, 1, 2, 3, 4]


def test_a_quota_that_is_used_up_is_waited_for(tmp_path: Path) -> None:
    seen: list[int] = []

    def within_quota(published: Published) -> Answer:
        if published.topic == ONLINE.topic:
            return "confirm"
        seen.append(int(published.payload))
        return 0x97 if len(seen) in (3, 4) else "confirm"

    with StrictBroker(within_quota) as broker, sending(tmp_path, broker.port, clock=FastClock()) as sender:
        sender.queue(*(message("t", number) for number in range(5)))
        sender.until(lambda: not sender.waiting)
        taken = [int(published.payload) for published in broker.taken if published.topic == "t"]
        assert sender.dead() == []
        assert taken[-3:] == [2, 3, 4], "what was refused came after its successor for good"


# ---- marks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_sent_before_is_marked_where_the_protocol_has_a_place_for_it(tmp_path: Path, version: str) -> None:
    silent = threading.Event()
    silent.set()

    def answers(published: Published) -> Answer:
        return "silence" if silent.is_set() and published.topic == "t" else "confirm"

    with StrictBroker(answers) as broker, sending(tmp_path, broker.port, version) as sender:
        sender.queue(message("t", 1))
        sender.until(lambda: any(published.topic == "t" for published in broker.heard))
        silent.clear()
        broker.cut()
        sender.queue(message("t", 2))
        sender.until(lambda: not sender.waiting)
        again, new = [published for published in broker.taken if published.topic == "t"]
        assert (again.payload, new.payload) == (b"1", b"2")
        assert again.marks.get("replayed") == ("true" if version == "5" else None)
        assert new.marks == {}


# ---- order -----------------------------------------------------------------------------------------------------------


@needs_mosquitto
def test_a_broker_that_dies_again_and_again_condemns_nothing_and_gets_everything(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, persistence=True) as broker, sending(tmp_path, broker.port, clock=FastClock()) as sender:
        for round_number in range(6):
            sender.queue(*(message("t", 40 * round_number + number) for number in range(40)))
            sender.until(lambda: sender.link.connected)
            broker.kill()
            sender.until(lambda: not sender.link.connected)
            broker.start()
        sender.until(lambda: not sender.waiting)
        assert sender.dead() == []
        assert sender.metrics.flow.get("messages_delivered") == 240


class Listener:
    """Hears everything below `t/` with its marks, on a connection that is never cut."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, bool]] = []
        """Topic, number, whether it was marked as replayed."""

    def attach(self, client: Client) -> None:
        client.message_callback_add("t/#", self._on_message)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        marks = dict(getattr(message.properties, "UserProperty", ()))
        self.heard.append((message.topic, int(message.payload), marks.get("replayed") == "true"))


@needs_mosquitto
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_over_a_network_that_cuts_at_random_each_topic_is_heard_in_order_up_to_marked_repetitions(
    tmp_path: Path, seed: int
) -> None:
    topics, count = ("t/a", "t/b", "t/c"), 1_500
    rng = random.Random(seed)
    listener = Listener()
    with (
        Mosquitto(tmp_path, extra=["max_queued_messages 0"]) as broker,
        CuttingProxy(broker.port, seed, cut_after=(500, 3_000)) as proxy,
        sending(tmp_path, proxy.port, clock=FastClock()) as sender,
        MqttClient(broker.port, ["t/#"], setup=listener.attach),
    ):
        sent = [(rng.choice(topics), number) for number in range(count)]
        for start in range(0, count, 100):
            sender.queue(*(message(topic, number) for topic, number in sent[start : start + 100]))
            sender.until(lambda start=start: sender.waiting < 100)  # type: ignore[misc]  # bound for this turn
        sender.until(lambda: not sender.waiting, 90.0)
        wait_until(lambda: [each[:2] for each in listener.heard[-1:]] == [sent[-1]], what="the last word")
        assert proxy.cuts >= 10, "the network was too good to prove anything"
        assert sender.dead() == []
    repeats = 0
    for topic in topics:
        order = [number for name, number in sent if name == topic]
        repeats += follows_the_law(order, [entry for entry in listener.heard if entry[0] == topic])
    assert repeats > 0, "nothing was ever sent twice"


def follows_the_law(order: list[int], heard: list[tuple[str, int, bool]]) -> int:
    """What `docs/formats/messages.md` promises for one topic; returns how many words were repeated.

    After a word comes its successor, or a repetition: a word heard before, which is marked, and then again its successor.
    """
    place = {number: index for index, number in enumerate(order)}
    last = newest = -1
    repeats = 0
    for _, number, replayed in heard:
        assert place[number] <= last + 1, f"{number} was heard before its predecessor"
        if place[number] <= newest:
            repeats += 1
            assert replayed, f"{number} came again without a mark"
        last = place[number]
        newest = max(newest, last)
    assert last == len(order) - 1, "the last word is not the newest"
    return repeats
