"""Tokens: each message that is taken comes back exactly once, as published or as lost."""

from __future__ import annotations

import select
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.mqtt.outgoing import LOST, Outgoing, Waker
from edge_agent.values import Message

MESSAGE = Message(topic="a", payload=b"1")


def test_takes_no_more_than_the_limit_until_outcomes_make_room() -> None:
    outgoing = Outgoing()
    tokens = [outgoing.take(MESSAGE, 1, 2) for _ in range(3)]
    assert tokens == [1, 2, None]
    outgoing.resolve(1)
    assert outgoing.take(MESSAGE, 1, 2) == 3


def test_messages_of_an_earlier_connection_are_lost_not_sent() -> None:
    outgoing = Outgoing()
    old, new = outgoing.take(MESSAGE, 1, 9), outgoing.take(MESSAGE, 2, 9)
    assert [token for token, _ in outgoing.next_of(2)] == [new]
    assert outgoing.lost() == [(old, LOST)]


def test_waiting_for_outcomes_ends_with_a_published_or_a_lost_one() -> None:
    for failure in ("", "refused-not-authorized"):
        outgoing = Outgoing()
        token = outgoing.take(MESSAGE, 1, 9)
        assert token is not None
        timer = threading.Timer(0.01, outgoing.resolve, (token, failure))
        timer.start()
        published = outgoing.published(30.0)
        timer.join()
        assert published == ([] if failure else [token])
        assert outgoing.lost() == ([(token, failure)] if failure else [])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=40), st.integers(1, 3))
def test_every_token_comes_back_exactly_once(messages: list[tuple[int, bool]], session: int) -> None:
    outgoing = Outgoing()
    taken = [token for number, _ in messages if (token := outgoing.take(MESSAGE, number, 1_000)) is not None]
    for (token, _), (_, refused) in zip(list(outgoing.next_of(session)), messages, strict=False):
        outgoing.resolve(token, "refused-quota-exceeded" if refused else "")
    back = outgoing.published(0.0) + [token for token, _ in outgoing.lost()]
    assert sorted(back) == taken
    assert len(outgoing) == 0


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
