"""The queue between the network thread and the screen worker."""

from __future__ import annotations

import threading

import pytest

from edge_agent.mqtt.inbox import MAX_UNACKNOWLEDGED, Inbox, Request, own_topic
from edge_agent.values import Arrival


def arrival(number: int, qos: int = 0, session: int = 1) -> Arrival:
    return Arrival("a/b", b"%d" % number, float(number), qos, number, session)


def test_an_empty_inbox_returns_nothing_after_the_timeout() -> None:
    assert Inbox(1_000).drain(10, 0.0) == []
    assert Inbox(1_000).drain(10, 0.01) == []


def test_drains_in_order_and_no_more_than_asked() -> None:
    inbox = Inbox(1_000)
    inbox.arrivals.extend(arrival(number) for number in range(10))
    assert [item.mid for item in inbox.drain(4, 0.0)] == [0, 1, 2, 3]
    assert [item.mid for item in inbox.drain(100, 0.0)] == [4, 5, 6, 7, 8, 9]


def test_a_waiting_reader_is_woken_by_the_first_arrival() -> None:
    inbox, got = Inbox(1_000), list[Arrival]()
    reader = threading.Thread(target=lambda: got.extend(inbox.drain(100, 120.0)))
    reader.start()
    inbox.arrivals.append(arrival(1))
    inbox.announce()
    reader.join(40.0)
    assert not reader.is_alive()
    assert [item.mid for item in got] == [1]


def test_everything_comes_through_once_and_in_order_with_a_writer_and_a_reader() -> None:
    inbox, got, count = Inbox(1_000_000), list[int](), 20_000

    def write() -> None:
        for number in range(count):
            inbox.arrivals.append(arrival(number))
            if number % 7 == 0:
                inbox.announce()
        inbox.announce()

    writer = threading.Thread(target=write)
    writer.start()
    while len(got) < count:
        batch = inbox.drain(500, 5.0)
        assert batch, "the reader was not woken"
        got.extend(item.mid for item in batch)
    writer.join()
    assert got == list(range(count))


def test_qos_1_of_a_session_that_the_broker_resumed_is_left_to_its_redelivery() -> None:
    inbox = Inbox(1_000)
    inbox.arrivals.extend([arrival(1, qos=1, session=1), arrival(2, qos=0, session=1), arrival(1, qos=1, session=2)])
    inbox.redelivered_from = 2
    assert [(item.qos, item.session) for item in inbox.drain(10, 0.0)] == [(0, 1), (1, 2)]


def test_only_qos_1_of_the_given_session_is_acknowledged() -> None:
    inbox = Inbox(1_000)
    request = Request("status", b"", 0.0, qos=1, mid=9, session=2)
    items: list[Arrival | Request] = [arrival(1, 1, 1), arrival(2, 1, 2), arrival(3, 0, 2), request]
    assert inbox.ack(items, 2)
    assert list(inbox.acks) == [(2, (2, 9))]
    assert not inbox.ack([arrival(4, 0, 2)], 2)


def test_the_limit_on_unacknowledged_never_exceeds_the_capacity() -> None:
    assert Inbox(1_000).max_unacknowledged == 1_000
    assert Inbox(1_000_000).max_unacknowledged == MAX_UNACKNOWLEDGED


def test_requests_are_handed_out_once() -> None:
    inbox = Inbox(1_000)
    inbox.requests.append(Request("status", b"{}", 1.0))
    assert [request.command for request in inbox.drain_requests()] == ["status"]
    assert inbox.drain_requests() == []


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("edge/gw/request/status", ("request", "status")),
        ("edge/gw/request/", ("", "")),
        ("edge/gw/request", ("", "")),
        ("edge/gw/canary", ("canary", "")),
        ("edge/gw/canary/x", ("", "")),
        ("edge/gw/anomaly/pump/x", ("output", "")),
        ("edge/gw/summary", ("output", "")),
        ("edge/gw/drops", ("output", "")),
        ("edge/gw/question", ("output", "")),
        ("edge/gw/telemetry", ("output", "")),
        ("edge/gw/sensor/x", ("", "")),
        ("edge/gw-2/request/status", ("", "")),
        ("plant/edge/gw/canary", ("", "")),
    ],
)
def test_own_topics_are_told_from_readings(topic: str, expected: tuple[str, str]) -> None:
    assert own_topic(topic, "edge/gw/") == expected
