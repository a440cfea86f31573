"""The deliver worker with a real journal: nothing leaves the outbox unconfirmed, and order holds over reconnects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import StorageError
from edge_agent.journal import Journal, Queued
from edge_agent.messages import format_time
from edge_agent.metrics import Metrics
from edge_agent.values import Message
from edge_agent.workers.deliver import (
    LOST_REPEATEDLY,
    MAX_IN_FLIGHT,
    MAX_REST_S,
    MIN_REST_S,
    OLD_NEWS_S,
    TOLD_FOR_S,
    DeliverWorker,
)
from edge_agent.workers.poison import QUIET_S, UNCLEAR_REFUSALS
from tests.unit.workers.parts import MemoryLink, RefusingJournal, StepClock, journal_at


class Bench:
    """A deliver worker and everything around it."""

    def __init__(self, journal: Journal, clock: StepClock) -> None:
        self.journal, self.clock, self.link, self.metrics = journal, clock, MemoryLink(), Metrics()
        self.wake = threading.Event()
        self.worker = self.new_worker()
        self.queued = 0

    def new_worker(self) -> DeliverWorker:
        return DeliverWorker(link=self.link, journal=self.journal, wake=self.wake, metrics=self.metrics, clock=self.clock)

    def queue(self, count: int, topic: str = "") -> None:
        messages = [Message(topic=topic or f"t/{self.queued + n}", payload=b"%d" % (self.queued + n)) for n in range(count)]
        self.queued += count
        self.journal.record([], messages)
        self.wake.set()

    def steps(self, count: int = 6) -> None:
        for _ in range(count):
            self.worker.step(0.0)

    def reconnect(self, reason: str = "connection-lost") -> None:
        """The connection ends for a reason, and there is another one, which has held for a while."""
        self.link.disconnect(reason)
        self.steps(1)
        self.link.connect()
        self.steps(1)
        self.clock.s += QUIET_S
        self.steps(1)

    def waiting(self) -> list[int]:
        return self.numbers([queued.message for queued in self.journal.outbox(0, 1_000)])

    def dead(self) -> list[tuple[int, str]]:
        return [(int(letter.message.payload), letter.reason) for letter in self.journal.dead_letters(100)]

    def numbers(self, messages: list[Message]) -> list[int]:
        return [int(message.payload) for message in messages]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    clock = StepClock()
    with journal_at(tmp_path, clock) as journal:
        yield Bench(journal, clock)


def test_what_is_confirmed_leaves_the_outbox(bench: Bench) -> None:
    bench.queue(450)
    bench.steps()
    assert bench.numbers(bench.link.reached) == list(range(450))
    assert bench.waiting() == []
    assert bench.metrics.flow.get("messages_delivered") == 450


def test_what_is_not_confirmed_stays_and_is_sent_once_a_connection(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(3)
    bench.steps()
    assert bench.numbers(bench.link.sent) == [0, 1, 2]
    assert bench.waiting() == [0, 1, 2]


def test_after_a_reconnect_everything_unconfirmed_is_sent_again_in_order(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(3)
    bench.steps()
    bench.link.disconnect()
    bench.queue(2)
    bench.steps()
    assert len(bench.link.sent) == 3
    bench.link.connect()
    bench.link.confirming = True
    bench.steps()
    assert bench.numbers(bench.link.sent) == [0, 1, 2, 0, 1, 2, 3, 4]
    assert bench.waiting() == []
    assert bench.metrics.flow.get("messages_resent") == 3


def test_in_flight_is_bounded(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(MAX_IN_FLIGHT + 50)
    bench.steps()
    assert len(bench.link.sent) == MAX_IN_FLIGHT
    bench.link.confirm()
    bench.steps()
    assert bench.numbers(bench.link.sent) == list(range(MAX_IN_FLIGHT + 50))


def test_a_link_that_takes_no_more_is_asked_again_later(bench: Bench) -> None:
    bench.link.confirming, bench.link.room = False, 2
    bench.queue(5)
    bench.steps()
    assert bench.numbers(bench.link.sent) == [0, 1]
    for _ in range(3):
        bench.link.confirm()
        bench.steps(2)
    assert bench.numbers(bench.link.reached) == [0, 1, 2, 3, 4]


# ---- marks -----------------------------------------------------------------------------------------------------------


def test_what_is_sent_at_once_for_the_first_time_has_no_mark(bench: Bench) -> None:
    bench.queue(1)
    bench.steps()
    assert bench.link.marks == [{}]


def test_what_may_have_been_sent_before_is_marked_and_what_was_not_is_not(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(2)
    bench.steps()
    bench.link.disconnect()
    bench.queue(1)
    bench.link.connect()
    bench.steps()
    assert bench.numbers(bench.link.sent) == [0, 1, 0, 1, 2]
    assert bench.link.marks == [{}, {}, {"replayed": "true"}, {"replayed": "true"}, {}]


def test_what_waited_for_long_tells_since_when_also_where_the_clock_was_set_back(bench: Bench) -> None:
    bench.link.disconnect()
    bench.queue(1)
    queued_s = bench.clock.s
    bench.clock.s += OLD_NEWS_S
    bench.queue(1)
    bench.link.connect()
    bench.steps()
    assert bench.link.marks == [{"queued": format_time(queued_s)}, {}]
    bench.link.disconnect()
    bench.queue(1)
    later_s, bench.clock.s = bench.clock.s, bench.clock.s - 86_400
    bench.link.connect()
    bench.steps()
    assert bench.link.marks[2:] == [{"queued": format_time(later_s)}]


def test_what_an_earlier_process_left_may_have_been_sent_by_it(tmp_path: Path) -> None:
    clock = StepClock()
    with journal_at(tmp_path, clock) as journal:
        Bench(journal, clock).queue(1)
    with journal_at(tmp_path, clock) as journal:
        bench = Bench(journal, clock)
        bench.queue(1)
        bench.steps()
        assert bench.link.marks == [{"replayed": "true", "queued": format_time(clock.s)}, {}]


def test_on_a_timeless_topic_it_is_not_told_since_when_a_message_waited(tmp_path: Path) -> None:
    clock = StepClock()
    with journal_at(tmp_path, clock) as journal:
        Bench(journal, clock).queue(1, "edge/gw/question")
    with journal_at(tmp_path, clock) as journal:
        bench = Bench(journal, clock)
        bench.worker = DeliverWorker(
            link=bench.link,
            journal=journal,
            wake=bench.wake,
            metrics=bench.metrics,
            clock=clock,
            timeless=("edge/gw/question",),
        )
        bench.steps()
        assert bench.link.marks == [{"replayed": "true"}]


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["refused-not-authorized", "refused-packet-too-large", "refused-payload-format-invalid"])
def test_a_message_that_is_refused_for_good_becomes_a_dead_letter_and_the_others_go_on(bench: Bench, reason: str) -> None:
    bench.link.confirming = False
    bench.queue(1)
    bench.steps()
    bench.link.refuse(reason)
    bench.link.confirming = True
    bench.queue(1)
    bench.steps()
    assert bench.numbers(bench.link.reached) == [1]
    assert bench.waiting() == []
    assert bench.dead() == [(0, reason)]
    assert bench.metrics.flow.get(f"messages_{reason}") == 1
    assert bench.metrics.flow.get("dead_letters") == 1


def test_the_health_tells_of_a_dead_letter_for_a_day(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(1)
    bench.steps()
    bench.link.refuse("refused-not-authorized")
    bench.steps()
    (problem,) = bench.metrics.conditions.current()
    assert "1 message, the last one because of refused-not-authorized" in problem
    assert "edge-agent dead-letters" in problem
    bench.clock.s += TOLD_FOR_S
    bench.steps()
    assert bench.metrics.conditions.current() == ()


def test_a_dead_letter_that_the_journal_refuses_is_buried_later_and_not_sent_meanwhile(tmp_path: Path) -> None:
    clock = StepClock()
    with journal_at(tmp_path, clock) as journal:
        refusing = RefusingJournal(journal)
        bench = Bench(refusing.as_journal(), clock)
        bench.link.confirming = False
        bench.queue(2)
        bench.steps()
        bench.link.refuse("refused-not-authorized")
        refusing.refusals = 1
        with pytest.raises(StorageError):
            bench.steps()
        bench.link.disconnect()
        bench.link.connect()
        bench.steps()
        assert bench.dead() == [(1, "refused-not-authorized"), (0, "refused-not-authorized")]
        assert len(bench.link.sent) == 2


def test_after_a_refusal_that_may_pass_everything_rests_and_begins_with_the_oldest(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(2)
    bench.steps()
    bench.link.refuse("refused-quota-exceeded")
    bench.queue(1)
    bench.link.confirming = True
    bench.steps()
    assert len(bench.link.sent) == 2
    bench.clock.s += MIN_REST_S - 0.1
    bench.steps()
    assert len(bench.link.sent) == 2
    bench.clock.s += 0.1
    bench.steps()
    assert bench.numbers(bench.link.sent) == [0, 1, 0, 1, 2]
    assert bench.waiting() == []
    assert bench.dead() == []


def test_the_rest_grows_until_something_is_confirmed(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(1)
    rests = []
    for _ in range(9):
        bench.steps()
        before = len(bench.link.sent)
        bench.link.refuse("refused-quota-exceeded")
        bench.steps()
        rest_s = 0
        while len(bench.link.sent) == before:
            bench.clock.s += 1
            rest_s += 1
            bench.steps(2)
        rests.append(rest_s)
    assert rests == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert rests[-1] == MAX_REST_S
    bench.link.confirm()
    bench.queue(1)
    bench.steps()
    before = len(bench.link.sent)
    bench.link.refuse("refused-quota-exceeded")
    bench.clock.s += MIN_REST_S
    bench.steps()
    bench.clock.s += MIN_REST_S
    bench.steps()
    assert len(bench.link.sent) == before + 1


def test_a_newer_word_that_overtook_a_refused_one_of_its_topic_is_said_again_after_it(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(3, topic="incident/1")
    bench.steps()
    bench.link.refuse("refused-quota-exceeded", oldest=1)
    bench.link.confirm()
    bench.steps()
    assert bench.waiting() == [0, 1, 2]
    bench.clock.s += MIN_REST_S
    bench.link.confirming = True
    bench.steps()
    assert bench.numbers(bench.link.reached) == [1, 2, 0, 1, 2]
    assert bench.waiting() == []


def test_a_refusal_without_a_reason_is_final_after_a_few(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(1)
    for _ in range(UNCLEAR_REFUSALS):
        bench.steps()
        assert bench.dead() == []
        bench.link.refuse("refused-unspecified-error")
        bench.steps()
        bench.clock.s += MAX_REST_S
    assert bench.dead() == [(0, "refused-unspecified-error")]


# ---- connections that end upon a message -----------------------------------------------------------------------------


def closes_upon(bench: Bench, poison: int) -> Callable[[], None]:
    """A broker that confirms in order, up to the poison, and ends the connection upon it."""

    def turn() -> None:
        under_way = bench.numbers(bench.link.under_way)
        if poison not in under_way:
            bench.link.confirm()
            return
        bench.link.confirm(under_way.index(poison))
        bench.steps(1)
        bench.reconnect("connection-closed-upon")

    return turn


@pytest.mark.parametrize("poison", [0, 4, 11])
def test_a_message_upon_which_the_broker_closes_is_buried_and_all_others_arrive_in_order(bench: Bench, poison: int) -> None:
    bench.link.confirming = False
    bench.queue(12)
    bench.steps()
    turn = closes_upon(bench, poison)
    connections = bench.link.session
    for _ in range(40):
        turn()
        bench.steps()
    assert bench.dead() == [(poison, LOST_REPEATEDLY)]
    assert bench.waiting() == []
    assert bench.numbers(bench.link.reached) == [number for number in range(12) if number != poison]
    assert bench.link.session - connections == 5
    bench.queue(3)
    bench.steps()
    assert len(bench.link.under_way) == 3, "it is over and still one by one"


def test_a_broker_that_confirms_out_of_order_does_not_hide_the_poison(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(6)
    for _ in range(40):
        bench.steps()
        if 3 in bench.numbers(bench.link.under_way):
            bench.reconnect("connection-closed-upon")
        else:
            bench.link.confirm()
    assert bench.dead() == [(3, LOST_REPEATEDLY)]
    assert sorted(bench.numbers(bench.link.reached)) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("reason", ["connection-lost", "connection-closed"])
def test_a_network_or_a_broker_that_ends_every_connection_buries_nothing(bench: Bench, reason: str) -> None:
    bench.link.confirming = False
    bench.queue(5)
    for _ in range(100):
        bench.steps()
        bench.reconnect(reason)
    assert bench.dead() == []
    assert bench.waiting() == [0, 1, 2, 3, 4]


def test_a_connection_that_does_not_hold_by_itself_buries_nothing(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(5)
    for _ in range(100):
        bench.steps()
        bench.link.disconnect("connection-closed-upon")
        bench.steps(1)
        bench.link.connect()
        bench.steps(1)
    assert bench.dead() == []


def test_under_suspicion_messages_go_one_by_one_and_then_together_again(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(3)
    bench.steps()
    bench.reconnect("connection-closed-upon")
    bench.steps()
    assert len(bench.link.under_way) == 3
    bench.reconnect("connection-closed-upon")
    bench.steps()
    for number in range(3):
        assert bench.numbers(bench.link.under_way) == [number]
        bench.link.confirm()
        bench.steps()
    bench.queue(3)
    bench.steps()
    assert len(bench.link.under_way) == 3


def test_what_the_link_had_not_sent_yet_does_not_hide_why_the_connection_ended(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(3)
    bench.steps()
    for _ in range(2):
        bench.link.refuse("connection-closed-upon", oldest=1)
        bench.reconnect("connection-lost")
        bench.steps()
    assert bench.numbers(bench.link.under_way) == [0]


def test_what_a_new_connection_would_take_before_the_worker_knows_of_it_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = bench.journal.outbox

    def outbox(after: int, limit: int) -> list[Queued]:
        monkeypatch.undo()
        bench.link.connect()
        return read(after, limit)

    bench.link.confirming = False
    bench.queue(2)
    monkeypatch.setattr(bench.journal, "outbox", outbox)
    bench.steps(1)
    assert bench.link.sent == []
    bench.steps(1)
    assert bench.numbers(bench.link.sent) == [0, 1]


def test_under_suspicion_a_connection_must_hold_for_a_while_first(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(1)
    bench.steps()
    bench.reconnect("connection-closed-upon")
    bench.steps()
    bench.link.disconnect("connection-closed-upon")
    bench.steps()
    bench.link.connect()
    bench.steps()
    assert bench.link.under_way == []
    bench.clock.s += QUIET_S
    bench.steps()
    assert len(bench.link.under_way) == 1


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_finish_sends_what_waits(bench: Bench) -> None:
    bench.queue(5)
    bench.worker.finish()
    assert bench.numbers(bench.link.reached) == [0, 1, 2, 3, 4]


def test_finish_without_a_connection_ends_at_once(bench: Bench) -> None:
    bench.link.disconnect()
    bench.queue(1)
    bench.worker.finish()
    assert bench.waiting() == [0]


# ---- the law ---------------------------------------------------------------------------------------------------------

EVENTS = ["queue", "step", "confirm", "confirm-one", "disconnect", "connect", "refuse-one", "wait"]


@settings(max_examples=60, deadline=None)
@given(events=st.lists(st.sampled_from(EVENTS), max_size=60))
def test_whatever_happens_the_broker_hears_each_topic_in_order_up_to_repeated_ends(
    tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    """Each topic's words come for the first time in order; after a repetition all that followed is repeated too."""
    clock = StepClock()
    with journal_at(tmp_path_factory.mktemp("deliver"), clock) as journal:
        bench = Bench(journal, clock)
        bench.link.confirming = False
        for event in events:
            match event:
                case "queue":
                    bench.queue(2, topic="a")
                    bench.queue(1, topic="b")
                case "step":
                    bench.worker.step(0.0)
                case "confirm":
                    bench.link.confirm()
                case "confirm-one":
                    bench.link.confirm(1)
                case "disconnect":
                    bench.link.disconnect()
                case "refuse-one":
                    bench.link.refuse("refused-quota-exceeded", oldest=1)
                case "wait":
                    clock.s += MAX_REST_S
                case _:
                    bench.link.disconnect()
                    bench.link.connect()
        bench.link.disconnect()
        bench.link.connect()
        bench.link.confirming = True
        bench.steps(8)
        assert bench.waiting() == []
        for topic in ("a", "b"):
            reached = bench.numbers([message for message in bench.link.reached if message.topic == topic])
            assert sorted(set(reached)) == [number for number in range(bench.queued) if (number % 3 == 2) == (topic == "b")]
            follows_the_law(reached)


def follows_the_law(heard: list[int]) -> None:
    """The last word is the newest, and each word is followed, at the latest after a repetition, by its successor."""
    numbers = sorted(set(heard))
    assert heard[-1:] == numbers[-1:]
    last_heard = {number: position for position, number in enumerate(heard)}
    assert [last_heard[number] for number in numbers] == sorted(last_heard.values())
