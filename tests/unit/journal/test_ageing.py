"""`edge_agent.journal.ageing`: time that only goes forward, whatever the system's clock says."""

from __future__ import annotations

import pytest

from edge_agent.journal.ageing import SAVE_S, Ageing
from tests.journals import T0_S, TwoClocks

CREDIT_S = 1_000.0


def begun(clock: TwoClocks, saved: bytes | None = None, newest_s: float = 0.0) -> Ageing:
    ageing = Ageing(clock, CREDIT_S)
    ageing.load(saved, newest_s)
    return ageing


@pytest.mark.parametrize("step_s", [-1.7e9, -60.0, 0.0, 60.0, 1.7e9])
def test_a_clock_that_is_set_while_running_changes_nothing(step_s: float) -> None:
    clock = TwoClocks()
    ageing = begun(clock)
    clock.pass_s(30.0)
    clock.wall_s += step_s
    clock.pass_s(12.0)
    assert ageing.lived_s == 42.0


def test_time_away_counts_as_the_clock_says_and_is_bounded() -> None:
    clock = TwoClocks()
    ageing = begun(clock)
    clock.pass_s(100.0)
    saved = ageing.body()
    assert begun(TwoClocks(T0_S + 100.0 + 400.0), saved).lived_s == 500.0
    assert begun(TwoClocks(T0_S + 1e9), saved).lived_s == 100.0 + CREDIT_S


@pytest.mark.parametrize(("before_s", "after_s"), [(0.0, T0_S), (T0_S, 0.0), (3600.0, 7200.0), (T0_S, T0_S - 5.0)])
def test_readings_that_cannot_be_right_count_nothing(before_s: float, after_s: float) -> None:
    clock = TwoClocks(before_s)
    ageing = begun(clock)
    clock.running_s += 100.0
    assert begun(TwoClocks(after_s), ageing.body()).lived_s == 100.0


def test_without_a_saved_count_it_goes_on_from_the_newest_message() -> None:
    assert begun(TwoClocks(), None, 77.0).lived_s == 77.0
    assert begun(TwoClocks(), b"{", 77.0).lived_s == 77.0


def test_saving_is_due_now_and_then() -> None:
    clock = TwoClocks()
    ageing = begun(clock)
    assert not ageing.due
    clock.pass_s(SAVE_S)
    assert ageing.due
    ageing.body()
    assert not ageing.due
