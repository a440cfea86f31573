"""Ages by a wall clock that jumps."""

from __future__ import annotations

from edge_agent.workers.waiting import Waiting
from tests.journals import T0_S, TwoClocks

HOUR_S = 3_600.0
WEEK_S = 7 * 86_400.0


def test_time_that_passes_makes_things_old() -> None:
    clock = TwoClocks(T0_S)
    waiting = Waiting(clock, WEEK_S)
    clock.pass_s(WEEK_S + 1)
    assert waiting.is_too_old(T0_S)
    assert not waiting.is_too_old(T0_S + 2)
    assert waiting.rest_s(T0_S + WEEK_S, HOUR_S) == HOUR_S - 1


def test_a_clock_that_is_set_makes_nothing_old() -> None:
    clock = TwoClocks(5.0)
    waiting = Waiting(clock, WEEK_S)
    clock.pass_s(60)
    clock.wall_s = T0_S
    assert waiting.age_s(5.0) == 60
    clock.pass_s(HOUR_S)
    assert waiting.age_s(5.0) == HOUR_S + 60
    assert waiting.age_s(T0_S) == HOUR_S


def test_what_was_dated_by_the_right_clock_before_a_start_at_1970_keeps_its_date() -> None:
    clock = TwoClocks(5.0)
    waiting = Waiting(clock, WEEK_S)
    assert waiting.age_s(T0_S) == 0
    clock.pass_s(30)
    clock.wall_s = T0_S + HOUR_S
    assert waiting.age_s(T0_S) == HOUR_S


def test_a_clock_that_is_set_back_keeps_nothing_for_ever() -> None:
    clock = TwoClocks(T0_S)
    waiting = Waiting(clock, WEEK_S)
    clock.wall_s = 5.0
    waiting.look()
    clock.pass_s(WEEK_S + 1)
    assert waiting.is_too_old(T0_S)


def test_several_jumps_are_taken_out_one_after_the_other() -> None:
    clock = TwoClocks(5.0)
    waiting = Waiting(clock, WEEK_S)
    clock.pass_s(10)
    clock.wall_s = T0_S
    waiting.look()
    clock.pass_s(10)
    clock.wall_s = T0_S - 86_400
    waiting.look()
    clock.pass_s(10)
    assert waiting.age_s(5.0) == 30
    assert waiting.age_s(T0_S) == 20


def test_what_an_earlier_start_dated_in_the_future_grows_old_by_running_time() -> None:
    clock = TwoClocks(T0_S)
    waiting = Waiting(clock, WEEK_S)
    future_s = T0_S + 80 * 365 * 86_400.0
    assert waiting.rest_s(future_s, HOUR_S) == HOUR_S
    clock.pass_s(HOUR_S)
    assert waiting.rest_s(future_s, HOUR_S) == 0
    assert not waiting.is_too_old(future_s)
    clock.pass_s(WEEK_S)
    assert waiting.is_too_old(future_s)


def test_a_clock_that_goes_back_a_little_makes_nothing_old() -> None:
    clock = TwoClocks(T0_S)
    waiting = Waiting(clock, WEEK_S)
    clock.pass_s(2 * WEEK_S)
    now_s = T0_S + 2 * WEEK_S
    assert waiting.age_s(now_s) == 0
    clock.wall_s = now_s - 5
    assert waiting.age_s(now_s) == 0
