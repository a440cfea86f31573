"""Budgets: set aside before, corrected after, one window of 24 hours at a time, whatever clocks and crashes do."""

from __future__ import annotations

import math

import msgspec
import pytest

from edge_agent.config.settings import EscalationSettings
from edge_agent.escalate import budget
from edge_agent.escalate.budget import Limits, Spent
from edge_agent.escalate.contract import Usage
from edge_agent.escalate.state import DAY_S, MOST, Moment

NOW_S = 1_900_000_000.0
LIMITS = Limits(requests=3, tokens=1_000, bytes=10_000, money=1.0)
SMALL = Usage(tokens=100, bytes=1_000, money=0.1)


def at(seconds: float, *, wall_s: float = NOW_S, boot: str = "boot-1") -> Moment:
    return Moment(wall_s, seconds, boot)


def reserved(spent: Spent, usage: Usage = SMALL, limits: Limits = LIMITS, now: Moment = at(0.0)) -> Spent:  # noqa: B008 - frozen
    result = budget.reserve(spent, limits, usage, now)
    assert isinstance(result, Spent), result
    return result


def test_the_settings_are_the_limits() -> None:
    assert budget.limits_of(EscalationSettings(requests_per_day=7, money_per_day=0.5)) == Limits(
        requests=7, tokens=400_000, bytes=4_000_000, money=0.5
    )


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        (Usage(tokens=1_001), "budget-tokens"),
        (Usage(bytes=10_001), "budget-bytes"),
        (Usage(money=1.01), "budget-money"),
        (Usage(money=math.nan), "budget-money"),
        (Usage(money=math.inf), "budget-money"),
    ],
)
def test_each_limit_has_its_reason(usage: Usage, reason: str) -> None:
    assert budget.reserve(Spent(), LIMITS, usage, at(0.0)) == reason
    assert budget.never_fits(LIMITS, usage) == reason


def test_requests_are_counted() -> None:
    spent = reserved(reserved(reserved(Spent())))
    assert budget.reserve(spent, LIMITS, Usage(), at(0.0)) == "budget-requests"
    assert budget.never_fits(LIMITS, SMALL) is None


def test_exactly_the_limit_is_within_it() -> None:
    spent = reserved(Spent(), Usage(tokens=1_000, bytes=10_000, money=1.0))
    assert (spent.tokens, spent.bytes, spent.money) == (1_000, 10_000, 1.0)


def test_ten_tenths_are_one() -> None:
    spent, limits = Spent(), Limits(requests=20, tokens=0, bytes=0, money=1.0)
    for _ in range(10):
        spent = reserved(spent, Usage(money=0.1), limits)
    assert budget.reserve(spent, limits, Usage(money=0.1), at(0.0)) == "budget-money"


def test_a_limit_of_zero_allows_none_and_what_costs_nothing_needs_none() -> None:
    free = Limits(requests=1, tokens=100, bytes=1_000, money=0.0)
    assert isinstance(budget.reserve(Spent(), free, Usage(tokens=100, bytes=1_000), at(0.0)), Spent)
    assert budget.reserve(Spent(), free, SMALL, at(0.0)) == "budget-money"
    none = Limits(requests=0, tokens=100, bytes=1_000, money=1.0)
    assert budget.reserve(Spent(), none, Usage(), at(0.0)) == "budget-requests"


def test_a_window_begins_with_the_first_question_and_ends_a_day_later() -> None:
    spent = reserved(Spent(), now=at(50_000.0))
    assert budget.renews_in_s(Spent(), at(50_000.0)) == 0.0
    assert budget.renews_in_s(spent, at(50_060.0)) == DAY_S - 60.0
    assert budget.at(spent, at(50_000.0 + DAY_S - 1)).requests == 1
    assert budget.at(spent, at(50_000.0 + DAY_S)).requests == 0
    again = reserved(spent, now=at(50_000.0 + DAY_S))
    assert (again.requests, again.window) == (1, 2)


def test_a_restart_and_a_stepped_clock_give_no_new_window() -> None:
    spent = budget.decode(budget.encode(reserved(Spent())), at(5.0))
    assert budget.at(spent, at(10.0, wall_s=NOW_S + 400 * DAY_S)).requests == 1  # same boot
    assert budget.at(spent, at(1.0, wall_s=60.0, boot="boot-2")).requests == 1  # boots at 1970
    assert budget.at(spent, at(1.0, wall_s=NOW_S - 1e6, boot="boot-2")).requests == 1  # set back
    assert budget.at(spent, at(1.0, wall_s=NOW_S + 2 * DAY_S, boot="boot-2")).requests == 0  # was off for two days


def test_a_clock_that_is_set_after_a_reboot_gives_no_new_window() -> None:
    spent = budget.decode(budget.encode(reserved(Spent())), at(1.0, boot="boot-2"))
    assert budget.at(spent, at(60.0, wall_s=NOW_S + 400 * DAY_S, boot="boot-2")).requests == 1


def test_a_gateway_that_never_gets_the_time_is_not_locked_out() -> None:
    """Reboots every 20 hours at 1970: the running time adds up, because the state is kept again now and then."""
    spent = reserved(Spent(), now=at(0.0, wall_s=0.0))
    spent = budget.at(spent, at(72_000.0, wall_s=72_000.0))
    spent = budget.at(spent, at(1.0, wall_s=1.0, boot="boot-2"))
    assert spent.requests == 1
    assert budget.at(spent, at(14_401.0, wall_s=14_401.0, boot="boot-2")).requests == 0


def test_what_it_took_takes_the_place_of_what_was_set_aside() -> None:
    spent = reserved(reserved(Spent()))
    less = budget.correct(spent, spent.window, SMALL, Usage(tokens=40, bytes=900, money=0.02))
    assert (less.requests, less.tokens, less.bytes) == (2, 140, 1_900)
    assert less.money == pytest.approx(0.12)
    more = budget.correct(spent, spent.window, SMALL, Usage(tokens=5_000, bytes=1_000, money=3.0))
    assert more.tokens == 5_100
    assert more.money == pytest.approx(3.1)
    assert budget.reserve(more, LIMITS, Usage(), at(0.0)) == "budget-tokens"


def test_a_correction_that_lies_does_no_harm() -> None:
    spent = reserved(Spent())
    negative = budget.correct(spent, spent.window, SMALL, Usage(tokens=-9_999, bytes=-1, money=-5.0))
    assert (negative.tokens, negative.bytes, negative.money) == (0, 0, 0.0)
    huge = budget.correct(spent, spent.window, SMALL, Usage(tokens=10**30, bytes=10**30, money=math.inf))
    assert (huge.tokens, huge.bytes, huge.money) == (MOST, MOST, 0.1)
    assert budget.decode(budget.encode(huge), at(0.0)) == huge
    assert budget.correct(spent, spent.window, SMALL, Usage(tokens=100, bytes=1_000, money=math.nan)) == spent


def test_a_correction_does_not_reach_into_another_window() -> None:
    old = reserved(Spent())
    spent = reserved(old, now=at(DAY_S))
    assert budget.correct(spent, old.window, SMALL, Usage()) == spent
    assert budget.correct(budget.at(old, at(DAY_S)), old.window, SMALL, Usage(tokens=7)).tokens == 0


def test_a_crash_leaves_what_was_set_aside_spent() -> None:
    kept = budget.encode(reserved(Spent()))
    assert budget.decode(kept, at(1.0, boot="boot-2")).tokens == 100


@pytest.mark.parametrize(
    "data", [b"", b"{}x", b"{", b'{"version":2}', b'{"requests":-1}', b'{"window":1,"colour":"red"}', b"[1]"]
)
def test_a_damaged_state_spends_nothing_until_a_day_has_passed(data: bytes) -> None:
    spent = budget.decode(data, at(100.0))
    assert budget.reserve(spent, LIMITS, Usage(), at(100.0)) == "budget-unreadable"
    kept = budget.decode(budget.encode(spent), at(200.0))
    assert budget.renews_in_s(kept, at(100.0 + 3_600.0)) == DAY_S - 3_600.0
    assert isinstance(budget.reserve(kept, LIMITS, SMALL, at(100.0 + DAY_S)), Spent)


def test_a_first_start_has_a_full_budget() -> None:
    assert budget.decode(None, at(0.0)) == Spent()


def test_the_state_stays_small() -> None:
    spent = msgspec.structs.replace(reserved(Spent()), window=MOST, requests=MOST, tokens=MOST, bytes=MOST, money=float(MOST))
    assert len(budget.encode(spent)) < 400
