"""Tokens: each message that is taken comes back exactly once, as published or as lost."""

from __future__ import annotations

import select
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.mqtt.fates import LOST
from edge_agent.mqtt.outgoing import Outgoing, Waker
from edge_agent.values import Message

MESSAGE = Message(topic="a", payload=b"1")


def test_nothing_is_taken_without_a_connection() -> None:
    outgoing = Outgoing()
    assert outgoing.take(MESSAGE) is None
    outgoing.begin(9)
    assert outgoing.take(MESSAGE) == 1
    outgoing.end()
    assert outgoing.take(MESSAGE) is None


def test_what_is_taken_keeps_its_properties() -> None:
    outgoing = Outgoing()
    outgoing.begin(9)
    outgoing.take(MESSAGE)
    outgoing.take(MESSAGE, (("replayed", "true"),))
    assert outgoing.next() == (1, MESSAGE, ())
    assert outgoing.next() == (2, MESSAGE, (("replayed", "true"),))
    assert outgoing.next() is None


def test_takes_no_more_than_the_limit_until_outcomes_make_room() -> None:
    outgoing = Outgoing()
    outgoing.begin(2)
    assert [outgoing.take(MESSAGE) for _ in range(3)] == [1, 2, None]
    outgoing.resolve(1)
    assert outgoing.take(MESSAGE) == 3


def test_what_is_queued_when_a_connection_ends_is_lost_and_not_sent_on_the_next() -> None:
    outgoing = Outgoing()
    outgoing.begin(9)
    token = outgoing.take(MESSAGE)
    outgoing.end()
    outgoing.drop()
    outgoing.begin(9)
    assert outgoing.next() is None
    assert outgoing.lost() == [(token, LOST)]


def test_waiting_for_outcomes_ends_with_a_published_or_a_lost_one() -> None:
    for failure in ("", "refused-not-authorized"):
        outgoing = Outgoing()
        outgoing.begin(9)
        token = outgoing.take(MESSAGE)
        assert token is not None
        timer = threading.Timer(0.01, outgoing.resolve, (token, failure))
        timer.start()
        published = outgoing.published(30.0)
        timer.join()
        assert published == ([] if failure else [token])
        assert outgoing.lost() == ([(token, failure)] if failure else [])


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["take", "send", "refuse", "reconnect"]), max_size=60))
def test_every_token_comes_back_exactly_once_and_in_order_of_taking(steps: list[str]) -> None:
    outgoing = Outgoing()
    outgoing.begin(5)
    taken: list[int] = []
    for step in steps:
        if step == "take":
            token = outgoing.take(MESSAGE)
            taken += [token] if token is not None else []
        elif step == "reconnect":
            outgoing.end()
            outgoing.drop()
            outgoing.begin(5)
        else:
            while waiting := outgoing.next():
                outgoing.resolve(waiting.token, "refused-quota-exceeded" if step == "refuse" else "")
    outgoing.drop()
    published, lost = outgoing.published(0.0), [token for token, _ in outgoing.lost()]
    assert published == sorted(published)
    assert lost == sorted(lost)
    assert sorted(published + lost) == taken


def test_the_waker_wakes_once_for_many_calls_and_again_after_it_was_cleared() -> None:
    waker = Waker()

    def is_awake() -> bool:
        return bool(select.select([waker.fileno()], [], [], 0)[0])

    assert not is_awake()
    for _ in range(100_000):
        waker.wake()
    assert is_awake()
    waker.clear()
    assert not is_awake()
    waker.wake()
    assert is_awake()
