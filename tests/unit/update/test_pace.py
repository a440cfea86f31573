"""When to ask next: after the usual pause, sooner after a hint, later after failures, whatever the wall clock does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.pace import FIRST_S, HINT_GAP_S, JITTER, Pace
from tests.unit.update.clocks import At, Longest


def _pace(clock: At, every_s: float = 3_600.0) -> Pace:
    pace = Pace(clock, Longest(), every_s, retry_min_s=30.0, retry_max_s=3_600.0)
    clock.s += FIRST_S
    return pace


def _asks(pace: Pace, clock: At) -> None:
    assert pace.is_due()
    pace.asks()


def test_the_first_time_is_drawn() -> None:
    clock = At()
    pace = Pace(clock, Longest(), 3_600.0, retry_min_s=30.0, retry_max_s=3_600.0)
    assert pace.left_s() == FIRST_S
    clock.s += FIRST_S
    assert pace.is_due()


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    clock = At()
    pace = _pace(clock)
    _asks(pace, clock)
    pace.answered()
    for wall_s in (0.0, 4e9, -1.0):
        clock.wall_s = wall_s
        assert pace.left_s() == pytest.approx(3_600.0 * (1 + JITTER))


def test_the_wait_after_failures_doubles_up_to_its_most_and_an_answer_forgets_them() -> None:
    clock = At()
    pace = _pace(clock)
    waits = []
    for _ in range(9):
        _asks(pace, clock)
        pace.failed()
        waits.append(pace.left_s())
        clock.s += pace.left_s()
    assert waits == [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1_920.0, 3_600.0, 3_600.0]
    _asks(pace, clock)
    pace.answered()
    clock.s += pace.left_s()
    _asks(pace, clock)
    pace.failed()
    assert pace.left_s() == 30.0


def test_a_fetch_that_went_well_for_hours_is_taken_up_again_soon() -> None:
    clock = At()
    pace = _pace(clock)
    for _ in range(5):
        _asks(pace, clock)
        pace.failed()
        clock.s += pace.left_s()
    _asks(pace, clock)
    clock.s += 3_600.0
    pace.failed()
    assert pace.left_s() == 30.0


def test_what_the_other_side_asks_for_is_the_least() -> None:
    clock = At()
    pace = _pace(clock)
    _asks(pace, clock)
    pace.failed(least_s=500.0)
    assert pace.left_s() == 500.0
    pace.rests(400.0)
    assert pace.left_s() == 500.0
    pace.rests(600.0)
    assert pace.left_s() == 600.0


def test_a_hint_makes_it_due_but_not_too_often() -> None:
    clock = At()
    pace = _pace(clock)
    _asks(pace, clock)
    pace.answered()
    pace.hint()
    assert pace.left_s() == HINT_GAP_S
    clock.s += HINT_GAP_S
    _asks(pace, clock)


@given(st.integers(0, 2**32), st.lists(st.booleans(), max_size=100), st.floats(1.0, 1e5))
def test_it_is_always_due_again_within_the_longest_pause(seed: int, answers: list[bool], every_s: float) -> None:
    clock = At()
    pace = Pace(clock, random.Random(seed), every_s, retry_min_s=1.0, retry_max_s=every_s)
    for answered in answers:
        assert 0.0 <= pace.left_s() <= every_s * (1 + JITTER) + 1e-6
        clock.s += pace.left_s() + 1e-3
        _asks(pace, clock)
        pace.answered() if answered else pace.failed()
