"""One connection against a broker that sends what it should not, and against one that refuses."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from paho.mqtt.client import Client

from edge_agent.mqtt import MqttLink
from edge_agent.values import Message
from tests.mqtt_client import wait_until
from tests.mqtt_links import ONLINE, drain_until, new_link, running, settings_for
from tests.strict_broker import Answer, StrictBroker
from tests.unit.mqtt.scripted import CONNACK, CONNACK_V5, Closing, ScriptedBroker, publish

GOOD = publish(b"plant/1", b"42")


def link_to(broker: ScriptedBroker, birth: Callable[[], Sequence[Message]] = tuple, **changes: Any) -> MqttLink:
    """A link that publishes nothing by itself: a scripted broker confirms nothing, and `stop` would wait for it."""
    return new_link(settings_for(broker.port, **{"protocol": "3.1.1", **changes}), birth=birth, farewell=tuple)


def test_a_topic_that_is_not_utf_8_is_counted_and_the_next_message_comes_through() -> None:
    with ScriptedBroker([CONNACK + publish(b"plant/\xff\xfe", b"1") + GOOD]) as broker, running(link_to(broker)) as link:
        assert [item.topic for item in drain_until(link, 1)] == ["plant/1"]
        assert link.counters.dropped == {"bad-topic": 1}
        assert link.counters.received == 2


def test_a_payload_too_large_is_counted_and_acknowledged_so_that_it_does_not_come_back() -> None:
    script = CONNACK + publish(b"plant/big", bytes(1_001), qos=1, mid=7) + GOOD
    with ScriptedBroker([script]) as broker, running(link_to(broker, max_payload_bytes=1_000)) as link:
        assert [item.topic for item in drain_until(link, 1)] == ["plant/1"]
        assert link.counters.dropped == {"too-large": 1}
        wait_until(lambda: b"\x40\x02\x00\x07" in broker.sent_to_us[0], what="PUBACK of the message set aside")


def test_a_payload_of_exactly_the_limit_is_accepted() -> None:
    with (
        ScriptedBroker([CONNACK + publish(b"plant/1", bytes(1_000))]) as broker,
        running(link_to(broker, max_payload_bytes=1_000)) as link,
    ):
        assert len(drain_until(link, 1)[0].payload) == 1_000


def test_qos_0_beyond_the_capacity_is_dropped_and_counted() -> None:
    script = CONNACK + b"".join(publish(b"plant/1", b"%d" % number) for number in range(1_500))
    with ScriptedBroker([script]) as broker, running(link_to(broker, max_queued_arrivals=1_000)) as link:
        wait_until(lambda: link.counters.received == 1_500)
        assert link.counters.dropped == {"queue-full": 500}
        got = drain_until(link, 1_000)
        assert [item.payload for item in got] == [b"%d" % number for number in range(1_000)]


def test_qos_1_beyond_the_limit_is_not_read_until_some_are_acknowledged_and_none_is_lost() -> None:
    script = CONNACK + b"".join(publish(b"plant/1", b"%d" % number, 1, number) for number in range(1, 2_501))
    with ScriptedBroker([script]) as broker, running(link_to(broker, max_queued_arrivals=1_000)) as link:
        seen = 0
        for expected in (1_000, 2_000, 2_500):
            batch = drain_until(link, expected - seen)
            seen += len(batch)
            assert seen == expected, "more than the limit were read before any was acknowledged"
            assert [item.mid for item in batch] == list(range(seen - len(batch) + 1, seen + 1))
            link.ack(batch)
        assert link.counters.dropped == {}
        wait_until(lambda: broker.sent_to_us[0].count(b"\x40\x02") >= 2_500, what="2,500 PUBACKs")


def test_malformed_bytes_end_the_connection_and_the_next_one_works() -> None:
    broken = CONNACK + b"\x30\x02\x00\x50"  # a topic longer than its packet
    with ScriptedBroker([broken, CONNACK + GOOD]) as broker, running(link_to(broker)) as link:
        assert drain_until(link, 1)[0].session == 2
        assert sum(link.counters.disconnects.values()) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [(4, "refused-bad-user-name-or-password"), (5, "refused-not-authorized"), (3, "refused-server-unavailable")],
)
def test_a_refusal_is_counted_under_its_reason_and_tried_again(code: int, reason: str) -> None:
    with ScriptedBroker([bytes([0x20, 2, 0, code]), CONNACK]) as broker, running(link_to(broker)) as link:
        assert link.counters.disconnects == {reason: 1}


def test_mqtt_5_that_is_refused_by_return_code_1_is_followed_by_3_1_1_at_once() -> None:
    with (
        ScriptedBroker([b"\x20\x02\x00\x01", CONNACK]) as broker,
        running(link_to(broker, protocol="auto", backoff_min_s=60.0, backoff_max_s=60.0)) as link,
    ):
        assert link.counters.disconnects == {"refused-unsupported-protocol-version": 1}
        assert b"MQTT\x05" in broker.sent_to_us[0]
        assert b"MQTT\x04" in broker.sent_to_us[1]


def test_mqtt_5_that_ends_in_silence_is_followed_by_3_1_1_and_that_is_remembered() -> None:
    with (
        ScriptedBroker([None, CONNACK + b"\x30\x02\x00\x50", CONNACK]) as broker,
        running(link_to(broker, protocol="auto")) as link,
    ):
        wait_until(lambda: link.counters.connects == 2)
        assert [b"MQTT\x05" in sent for sent in broker.sent_to_us] == [True, False, False]


def test_the_reason_that_a_broker_gives_when_it_disconnects_is_counted() -> None:
    server_busy = b"\xe0\x01\x89"
    with (
        ScriptedBroker([CONNACK_V5 + server_busy, CONNACK_V5]) as broker,
        running(link_to(broker, protocol="5"), connect=False) as link,
    ):
        wait_until(lambda: link.counters.connects == 2 or sum(link.counters.disconnects.values()) == 1)
        wait_until(lambda: link.connected)
        assert link.counters.disconnects == {"broker-server-busy": 1}


def test_a_subscription_that_the_broker_refuses_is_reported_by_its_filter() -> None:
    with ScriptedBroker([CONNACK]) as broker, running(link_to(broker)) as link:
        wait_until(lambda: b"plant/#" in broker.sent_to_us[0], what="SUBSCRIBE")
        assert link.counters.refused_subscriptions == {}
    refused = b"\x90\x05\x00\x01\x80\x01\x00"  # SUBACK of packet 1: the first filter failed
    with ScriptedBroker([CONNACK + refused]) as broker, running(link_to(broker)) as link:
        wait_until(lambda: list(link.counters.refused_subscriptions) == ["plant/#"], what="the refused filter")


def test_a_retained_request_is_not_carried_out() -> None:
    script = CONNACK + publish(b"edge/gw/request/status", b"{}", retain=True) + publish(b"edge/gw/request/check", b"{}")
    with ScriptedBroker([script]) as broker, running(link_to(broker)) as link:
        wait_until(lambda: link.counters.received == 2)
        assert [request.command for request in link.requests()] == ["check"]
        assert link.counters.dropped == {"retained-request": 1}


def test_more_requests_than_fit_are_counted() -> None:
    script = CONNACK + publish(b"edge/gw/request/status", b"{}") * 100
    with ScriptedBroker([script]) as broker, running(link_to(broker)) as link:
        wait_until(lambda: link.counters.received == 100)
        assert len(link.requests()) + link.counters.dropped["request-queue-full"] == 100


def test_own_outputs_that_come_back_are_ignored_and_other_topics_below_our_own_are_readings() -> None:
    back = b"".join(publish(b"edge/gw/" + name, b"1") for name in (b"status", b"anomaly/p/x", b"summary/1", b"health"))
    with ScriptedBroker([CONNACK + back + publish(b"edge/gw/sensor/x", b"1")]) as broker, running(link_to(broker)) as link:
        assert [item.topic for item in drain_until(link, 1)] == ["edge/gw/sensor/x"]
        assert link.counters.dropped == {}


def test_a_birth_that_raises_does_not_end_the_link() -> None:
    def birth() -> tuple[()]:
        raise RuntimeError("health is not ready")

    with ScriptedBroker([CONNACK + GOOD]) as broker, running(link_to(broker, birth)) as link:
        assert drain_until(link, 1)
        assert link.counters.dropped == {"callback-error": 1}
        assert link.connected


def test_a_message_that_cannot_be_published_is_lost_with_its_reason_and_later_ones_go_out() -> None:
    with ScriptedBroker([CONNACK]) as broker, running(link_to(broker)) as link:
        bad = link.publish(Message(topic="edge/+/status", payload=b"1", qos=0))
        good = link.publish(Message(topic="edge/gw/health", payload=b"1", qos=0))
        assert bad is not None
        assert good is not None
        wait_until(lambda: b"edge/gw/health" in broker.sent_to_us[0])
        assert link.lost() == [(bad, "refused-invalid")]
        assert link.published() == [good]


def test_a_message_larger_than_the_broker_takes_is_refused_here_and_the_connection_lives() -> None:
    at_most_1000_bytes = b"\x20\x08\x00\x00\x05\x27\x00\x00\x03\xe8"
    with ScriptedBroker([at_most_1000_bytes]) as broker, running(link_to(broker, protocol="5")) as link:
        large = link.publish(Message(topic="edge/gw/info", payload=bytes(1_000), qos=0))
        small = link.publish(Message(topic="edge/gw/info", payload=bytes(500), qos=0))
        wait_until(lambda: link.published(0.1) == [small])
        assert link.lost() == [(large, "refused-packet-too-large")]
        assert link.connected


def test_a_message_of_exactly_the_size_that_the_broker_takes_is_sent() -> None:
    # A PUBLISH of QoS 0: 3 bytes, 2 + 12 of the topic, 1 for no properties, and the payload.
    at_most_1000_bytes = b"\x20\x08\x00\x00\x05\x27\x00\x00\x03\xe8"
    with ScriptedBroker([at_most_1000_bytes]) as broker, running(link_to(broker, protocol="5")) as link:
        fits = link.publish(Message(topic="edge/gw/info", payload=bytes(1_000 - 18), qos=0))
        wait_until(lambda: link.published(0.1) == [fits])
        too_large = link.publish(Message(topic="edge/gw/info", payload=bytes(1_000 - 17), qos=0))
        wait_until(lambda: link.lost() == [(too_large, "refused-packet-too-large")])


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_user_properties_go_out_where_the_protocol_has_them(version: str) -> None:
    marks = (("replayed", "true"), ("queued", "2026-11-22T10:00:00Z"))
    with (
        StrictBroker(lambda message: "confirm") as broker,
        running(new_link(settings_for(broker.port, protocol=version), birth=tuple, farewell=tuple)) as link,
    ):
        token = link.publish(Message(topic="edge/gw/info", payload=b"1"), marks)
        wait_until(lambda: link.published(0.1) == [token])
        assert broker.taken[0].marks == (dict(marks) if version == "5" else {})
        assert broker.taken[0].payload == b"1"


def lost_from(link: MqttLink) -> list[tuple[int, str]]:
    lost: list[tuple[int, str]] = []

    def is_lost() -> bool:
        lost.extend(link.lost())
        return bool(lost)

    wait_until(is_lost)
    return lost


@pytest.mark.parametrize("answer", ["close", "reset"])
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_broker_that_ends_the_connection_upon_a_message(version: str, answer: Answer) -> None:
    with (
        StrictBroker(lambda message: answer if message.topic == "edge/gw/forbidden" else "confirm") as broker,
        running(new_link(settings_for(broker.port, protocol=version), farewell=tuple)) as link,
    ):
        good = link.publish(Message(topic="edge/gw/good", payload=b"1"))
        wait_until(lambda: link.published(0.1) == [good])
        bad = link.publish(Message(topic="edge/gw/forbidden", payload=b"1"))
        assert lost_from(link) == [(bad, "connection-closed-upon")]


def test_a_broker_that_confirms_not_even_that_we_are_online_is_told_from_one_that_forbids_a_message() -> None:
    with (
        StrictBroker(lambda message: "silence" if message.topic == ONLINE.topic else "close") as broker,
        running(new_link(settings_for(broker.port), farewell=tuple)) as link,
    ):
        token = link.publish(Message(topic="edge/gw/info", payload=b"1"))
        assert lost_from(link) == [(token, "connection-closed")]


@pytest.mark.parametrize("raising", [False, True], ids=["this paho", "paho that raises"])
def test_a_broker_whose_refusal_cannot_be_read(monkeypatch: pytest.MonkeyPatch, raising: bool) -> None:
    """0x95 is no reason code of a PUBACK; mosquitto 2.0 sends it for a payload beyond its `message_size_limit`."""
    with (
        StrictBroker(lambda message: 0x95 if message.topic == "edge/gw/large" else "confirm") as broker,
        running(new_link(settings_for(broker.port, protocol="5"), farewell=tuple)) as link,
    ):
        good = link.publish(Message(topic="edge/gw/good", payload=b"1"))
        wait_until(lambda: link.published(0.1) == [good])
        reads = Client.loop_read

        def raise_as_older_ones_do(client: Client) -> object:
            if broker.heard[-1].topic == "edge/gw/large":
                raise ValueError("Expected exactly one name, found []")
            return reads(client)

        if raising:
            monkeypatch.setattr(Client, "loop_read", raise_as_older_ones_do)
        bad = link.publish(Message(topic="edge/gw/large", payload=b"1"))
        assert lost_from(link) == [(bad, "connection-closed-upon")]
        monkeypatch.undo()
        wait_until(lambda: link.counters.connects == 2)
        assert set(link.counters.disconnects) == {"lost-protocol-error"}


def test_a_large_message_upon_which_the_broker_closes_while_it_is_written() -> None:
    with (
        StrictBroker(lambda message: "confirm", max_packet_bytes=10_000) as broker,
        running(new_link(settings_for(broker.port, protocol="3.1.1"), farewell=tuple)) as link,
    ):
        small = link.publish(Message(topic="edge/gw/good", payload=b"1"))
        wait_until(lambda: link.published(0.1) == [small])
        large = link.publish(Message(topic="edge/gw/large", payload=bytes(10_000_000)))
        assert lost_from(link) == [(large, "connection-closed-upon")]


def test_a_broker_that_takes_few_unconfirmed_messages_gets_no_more() -> None:
    receive_maximum_10 = b"\x20\x06\x00\x00\x03\x21\x00\x0a"
    with ScriptedBroker([receive_maximum_10]) as broker, running(link_to(broker, protocol="5")) as link:
        tokens = [link.publish(Message(topic="edge/gw/info", payload=b"1")) for _ in range(200)]
        assert 10 < sum(token is not None for token in tokens) < 200, "what waits has no bound"
        wait_until(lambda: b"edge/gw/info" in broker.sent_to_us[0])
        link.stop(0.3)
        assert 1 <= broker.sent_to_us[0].count(b"edge/gw/info") <= 10


@pytest.mark.parametrize("receive_maximum", [1, 5, 20, 1000])
def test_what_waits_behind_the_unconfirmed_follows_them_in_order(receive_maximum: int) -> None:
    with (
        StrictBroker(lambda message: "confirm", receive_maximum=receive_maximum) as broker,
        running(new_link(settings_for(broker.port, protocol="5"), farewell=tuple)) as link,
    ):
        sent = 0
        confirmed: list[int] = []
        while len(confirmed) < 500:
            while sent < 500 and link.publish(Message(topic="edge/gw/info", payload=b"%d" % sent)) is not None:
                sent += 1
            confirmed += link.published(1.0)
        taken = [int(message.payload) for message in broker.taken if message.topic == "edge/gw/info"]
        assert taken == list(range(500))


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_garbage_from_the_broker_never_ends_the_link(version: str) -> None:
    rng = random.Random(20)
    accepted = CONNACK_V5 if version == "5" else CONNACK
    good = accepted + (b"\x30\x0a\x00\x07plant/1\x00" if version == "5" else b"\x30\x09\x00\x07plant/1")
    garbage: list[bytes | None] = []
    for number in range(40):
        noise = rng.randbytes(rng.randrange(1, 60))
        if number % 4 == 3:  # a sound packet with one byte changed, which gets further into the decoder than noise does
            sound = bytearray(good[len(accepted) :])
            sound[rng.randrange(len(sound))] = rng.randrange(256)
            noise = bytes(sound)
        garbage.append(Closing((accepted if number % 2 else b"") + noise))
    with (
        ScriptedBroker([*garbage, good]) as broker,
        running(link_to(broker, protocol=version, backoff_min_s=0.001, backoff_max_s=0.001), connect=False) as link,
    ):
        wait_until(lambda: link.session > len(garbage), what="the end of all broken connections")
        assert [item.topic for item in drain_until(link, 1)][-1] == "plant/1"
        assert link.connected
        assert "internal-error" not in link.counters.disconnects
