"""Suspicion: a message that ends connections is found, a bad network condemns nothing."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.mqtt import Fate
from edge_agent.workers.poison import ALONE, MAX_COUNTED, UNCLEAR_REFUSALS, WITHIN_S, Suspicion


def end(suspicion: Suspicion, under_way: Collection[int], fate: Fate = "closed-upon", within_s: float = 0.1) -> int | None:
    return suspicion.ended(under_way, fate, sent_s=100.0, ended_s=100.0 + within_s)


def careful_about(*under_way: int) -> Suspicion:
    suspicion = Suspicion()
    assert end(suspicion, under_way) is None
    assert not suspicion.careful
    assert end(suspicion, under_way) is None
    assert suspicion.careful
    return suspicion


def test_a_message_that_ends_five_connections_in_a_row_is_condemned() -> None:
    suspicion = careful_about(7, 8, 9)
    assert [end(suspicion, [7]) for _ in range(ALONE)] == [None, None, 7]
    suspicion.settled(7)
    assert suspicion.careful, "8 and 9 were under suspicion as well"
    suspicion.settled(8)
    suspicion.settled(9)
    assert not suspicion.careful


def test_the_poison_need_not_be_the_oldest() -> None:
    suspicion = careful_about(7, 8, 9)
    suspicion.settled(7)
    suspicion.settled(8)
    assert [end(suspicion, [9]) for _ in range(ALONE)] == [None, None, 9]


def test_connections_that_end_with_different_oldest_messages_make_progress() -> None:
    suspicion = Suspicion()
    for number in range(1, 50):
        assert end(suspicion, [number, number + 1]) is None
    assert not suspicion.careful


def test_what_is_newer_and_confirmed_does_not_clear_the_oldest() -> None:
    suspicion = Suspicion()
    end(suspicion, [5, 6])
    suspicion.settled(6)
    end(suspicion, [5, 7])
    assert suspicion.careful
    suspicion = Suspicion()
    end(suspicion, [5, 6])
    suspicion.settled(5)
    end(suspicion, [5, 7])
    assert not suspicion.careful


def test_a_network_that_breaks_counts_for_nothing() -> None:
    suspicion = Suspicion()
    for _ in range(50):
        assert end(suspicion, [7], "lost") is None
    assert not suspicion.careful
    suspicion = careful_about(7)
    for _ in range(50):
        assert end(suspicion, [7], "lost") is None


def test_a_broker_that_ends_every_connection_makes_us_careful_and_condemns_nothing() -> None:
    suspicion = Suspicion()
    for _ in range(50):
        assert end(suspicion, [7], "closed") is None
    assert suspicion.careful


def test_an_end_long_after_sending_counts_for_nothing() -> None:
    suspicion = careful_about(7)
    for _ in range(50):
        assert end(suspicion, [7], within_s=WITHIN_S + 0.1) is None


def test_connections_that_also_end_by_themselves_condemn_nothing() -> None:
    suspicion = careful_about(7)
    for _ in range(50):
        assert end(suspicion, [7]) is None
        assert end(suspicion, []) is None
        assert not suspicion.careful
        end(suspicion, [7])
        end(suspicion, [7])


def test_strikes_count_in_a_row_and_for_one_message() -> None:
    suspicion = careful_about(7, 8)
    assert end(suspicion, [7]) is None
    assert end(suspicion, [7]) is None
    suspicion.settled(7)
    assert end(suspicion, [8]) is None
    assert end(suspicion, [8]) is None
    assert end(suspicion, [8]) == 8


def test_more_than_one_under_way_condemns_none() -> None:
    suspicion = careful_about(7, 8)
    for _ in range(50):
        assert end(suspicion, [7, 8]) is None


def test_a_message_beyond_the_suspects_ends_the_care_even_if_they_were_dropped() -> None:
    suspicion = careful_about(7, 8)
    suspicion.settled(12)
    assert not suspicion.careful


def test_refusals_without_a_reason_condemn_after_a_few() -> None:
    suspicion = Suspicion()
    assert [suspicion.refused(7) for _ in range(UNCLEAR_REFUSALS)] == [False] * (UNCLEAR_REFUSALS - 1) + [True]
    suspicion.settled(7)
    assert not suspicion.refused(7)


def test_counts_of_refusals_are_bounded() -> None:
    suspicion = Suspicion()
    for number in range(10 * MAX_COUNTED):
        suspicion.refused(number)
    assert len(suspicion._refusals) <= MAX_COUNTED


@settings(max_examples=100)
@given(st.integers(1, 20), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_every_message_but_the_poison_is_delivered_whatever_else_ends_connections(
    poison: int, network: list[tuple[bool, bool]]
) -> None:
    """A broker that ends the connection on one message of twenty, on a network that now and then ends it too."""
    suspicion = Suspicion()
    waiting = list(range(1, 21))
    for step in range(200):
        lost, idle = network[step] if step < len(network) else (False, False)
        if not waiting:
            break
        window = waiting[:1] if suspicion.careful else waiting[:8]
        if idle:
            condemned = end(suspicion, [])
        elif lost:
            condemned = end(suspicion, window, "lost")
        else:
            taken = window[: window.index(poison)] if poison in window else window
            for number in taken:
                waiting.remove(number)
                suspicion.settled(number)
            if poison not in window:
                continue
            condemned = end(suspicion, [number for number in window if number not in taken])
        if condemned is not None:
            assert condemned == poison
            waiting.remove(condemned)
            suspicion.settled(condemned)
    assert waiting == []
