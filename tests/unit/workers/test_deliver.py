"""The deliver worker with a real journal: nothing leaves the outbox unconfirmed, and order holds over reconnects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.journal import Journal
from edge_agent.metrics import Metrics
from edge_agent.values import Message
from edge_agent.workers.deliver import MAX_IN_FLIGHT, DeliverWorker
from tests.unit.workers.parts import MemoryLink, open_journal


class Bench:
    """A deliver worker and everything around it."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.link, self.metrics = journal, MemoryLink(), Metrics()
        self.wake = threading.Event()
        self.worker = DeliverWorker(link=self.link, journal=journal, wake=self.wake, metrics=self.metrics)
        self.queued = 0

    def queue(self, count: int) -> None:
        messages = [Message(topic=f"t/{self.queued + n}", payload=b"%d" % (self.queued + n)) for n in range(count)]
        self.queued += count
        self.journal.record([], messages)
        self.wake.set()

    def steps(self, count: int = 6) -> None:
        for _ in range(count):
            self.worker.step(0.0)

    def numbers(self, messages: list[Message]) -> list[int]:
        return [int(message.payload) for message in messages]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_journal(tmp_path) as journal:
        yield Bench(journal)


def test_what_is_confirmed_leaves_the_outbox(bench: Bench) -> None:
    bench.queue(450)
    bench.steps()
    assert bench.numbers(bench.link.reached) == list(range(450))
    assert bench.journal.outbox(0, 10) == []
    assert bench.metrics.flow.get("messages_delivered") == 450


def test_what_is_not_confirmed_stays_and_is_sent_once_a_connection(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(3)
    bench.steps()
    assert bench.numbers(bench.link.sent) == [0, 1, 2]
    assert len(bench.journal.outbox(0, 10)) == 3


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
    assert bench.journal.outbox(0, 10) == []
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


def test_a_refused_message_is_counted_stays_and_does_not_block(bench: Bench) -> None:
    bench.link.confirming = False
    bench.queue(1)
    bench.steps()
    bench.link.refuse("refused-not-authorized")
    bench.link.confirming = True
    bench.queue(1)
    bench.steps()
    assert bench.numbers(bench.link.reached) == [1]
    assert bench.metrics.flow.get("messages_refused-not-authorized") == 1
    assert bench.numbers([message for _, message in bench.journal.outbox(0, 10)]) == [0]


def test_finish_sends_what_waits(bench: Bench) -> None:
    bench.queue(5)
    bench.worker.finish()
    assert bench.numbers(bench.link.reached) == [0, 1, 2, 3, 4]


def test_finish_without_a_connection_ends_at_once(bench: Bench) -> None:
    bench.link.disconnect()
    bench.queue(1)
    bench.worker.finish()
    assert len(bench.journal.outbox(0, 10)) == 1


@settings(max_examples=25, deadline=None)
@given(events=st.lists(st.sampled_from(["queue", "step", "confirm", "disconnect", "connect"]), max_size=40))
def test_whatever_happens_each_message_is_confirmed_at_least_once_and_first_times_are_in_order(
    tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    with open_journal(tmp_path_factory.mktemp("deliver")) as journal:
        bench = Bench(journal)
        bench.link.confirming = False
        for event in events:
            match event:
                case "queue":
                    bench.queue(3)
                case "step":
                    bench.worker.step(0.0)
                case "confirm":
                    bench.link.confirm()
                case "disconnect":
                    bench.link.disconnect()
                case _:
                    bench.link.disconnect()
                    bench.link.connect()
        bench.link.disconnect()
        bench.link.connect()
        bench.link.confirming = True
        bench.steps()
        reached = bench.numbers(bench.link.reached)
        assert list(dict.fromkeys(reached)) == list(range(bench.queued))
        assert journal.outbox(0, 10) == []
