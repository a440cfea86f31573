"""Laws of what bounds escalation: no budget is overspent and none is locked for ever, whatever clocks, crashes and servers do."""

from __future__ import annotations

import itertools
import math
import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.escalate import backoff, breaker, budget
from edge_agent.escalate.backoff import Backoff
from edge_agent.escalate.breaker import Breaker
from edge_agent.escalate.budget import Limits, Spent
from edge_agent.escalate.contract import Usage
from edge_agent.escalate.state import CLOCK_SET_S, DAY_S, Moment, elapsed_s
from edge_agent.escalate.windows import open_now, opens_in_s, parse

LAWS = settings(max_examples=100, deadline=None)
wall = st.floats(-1e9, 4e9) | st.sampled_from((0.0, CLOCK_SET_S, 1.9e9))
moments = st.builds(Moment, wall, st.floats(0, 1e7), st.sampled_from(("a", "b")))
usages = st.builds(Usage, tokens=st.integers(0, 600), bytes=st.integers(0, 6_000), money=st.floats(0, 0.7))
ROUNDING_S = 1e-3
LIMITS = Limits(requests=4, tokens=1_000, bytes=10_000, money=1.0)


class Gateway:
    """True time, and the two clocks that the gateway has of it."""

    def __init__(self) -> None:
        self.true_s = 0.0
        self.offset_s = 1.9e9
        self.booted_s = 0.0
        self.boots = 0

    def now(self) -> Moment:
        return Moment(self.true_s + self.offset_s, self.true_s - self.booted_s, f"boot-{self.boots}")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), usages),
        st.tuples(st.just("wait"), st.floats(0, 40_000)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("reboot"), st.floats(0, 40_000)),
        st.tuples(st.just("reboot-at-1970"), st.floats(0, 40_000)),
        st.tuples(st.just("step"), st.floats(-1e9, 1e9)),
    ),
    max_size=40,
)


@LAWS
@given(steps)
def test_in_no_window_more_is_set_aside_than_the_limit_and_windows_do_not_come_faster_than_days(
    taken: list[tuple[str, object]],
) -> None:
    """Steps of the clock within a boot gain nothing; only a reboot under a wrong clock can, and there are none such here."""
    gateway, spent, asked = Gateway(), Spent(), dict[int, list[Usage]]()
    began_s = dict[int, float]()
    for what, value in taken:
        if what == "ask" and isinstance(value, Usage):
            result = budget.reserve(spent, LIMITS, value, gateway.now())
            if isinstance(result, Spent):
                spent = result
                asked.setdefault(spent.window, []).append(value)
                began_s.setdefault(spent.window, gateway.true_s)
        elif what == "wait" and isinstance(value, float):
            gateway.true_s += value
        elif what == "restart":
            spent = budget.decode(budget.encode(spent), gateway.now())
        elif what == "reboot" and isinstance(value, float):
            _reboot(gateway, value, 1.9e9)
            spent = budget.decode(budget.encode(spent), gateway.now())
        elif what == "reboot-at-1970" and isinstance(value, float):
            _reboot(gateway, value, -gateway.true_s - value)
            spent = budget.decode(budget.encode(spent), gateway.now())
        elif what == "step" and isinstance(value, float):
            gateway.offset_s += value
            spent = budget.at(spent, gateway.now())
            # It is right again before the next reboot, or that would gain a day.
            gateway.offset_s = 1.9e9
            spent = budget.at(spent, gateway.now())
    for questions in asked.values():
        assert len(questions) <= LIMITS.requests
        assert sum(one.tokens for one in questions) <= LIMITS.tokens
        assert sum(one.bytes for one in questions) <= LIMITS.bytes
        assert math.fsum(one.money for one in questions) <= LIMITS.money + 1e-6
    starts = [began_s[window] for window in sorted(began_s)]
    assert all(later - earlier >= DAY_S - ROUNDING_S for earlier, later in itertools.pairwise(starts))


def _reboot(gateway: Gateway, off_s: float, offset_s: float) -> None:
    gateway.true_s += off_s
    gateway.offset_s = offset_s
    gateway.booted_s = gateway.true_s
    gateway.boots += 1


@LAWS
@given(moments, moments)
def test_time_between_two_moments_is_never_negative_and_over_a_reboot_never_more_than_a_day(a: Moment, b: Moment) -> None:
    passed_s = elapsed_s(a, b)
    assert passed_s >= 0.0
    assert passed_s <= DAY_S or (a.boot == b.boot and passed_s == b.monotonic_s - a.monotonic_s)


@LAWS
@given(moments, moments, usages)
def test_a_budget_is_open_again_after_a_day_of_running_whatever_the_clock_says(
    began: Moment, rebooted: Moment, usage: Usage
) -> None:
    spent = budget.reserve(Spent(), LIMITS, usage, began)
    assert isinstance(spent, Spent)
    later = Moment(rebooted.wall_s, rebooted.monotonic_s + DAY_S + ROUNDING_S, rebooted.boot)
    assert budget.at(budget.at(spent, rebooted), later).requests == 0
    assert 0.0 <= budget.renews_in_s(spent, rebooted) <= DAY_S


@LAWS
@given(st.integers(), st.integers(), st.floats(), usages, moments)
def test_whatever_a_server_says_it_took_the_state_stays_one_that_can_be_kept(
    tokens: int, size: int, money: float, usage: Usage, now: Moment
) -> None:
    spent = budget.reserve(Spent(), LIMITS, usage, now)
    assert isinstance(spent, Spent)
    corrected = budget.correct(spent, spent.window, usage, Usage(tokens=tokens, bytes=size, money=money))
    assert corrected.tokens >= 0
    assert corrected.bytes >= 0
    assert corrected.money >= 0
    assert budget.decode(budget.encode(corrected), now) == corrected


@LAWS
@given(
    st.binary(max_size=200) | st.recursive(st.integers() | st.text(), st.lists).map(lambda value: str(value).encode()), moments
)
def test_any_bytes_are_some_state_that_can_be_kept(data: bytes, now: Moment) -> None:
    spent, state, wait = budget.decode(data, now), breaker.decode(data, now), backoff.decode(data, 900.0, now)
    assert budget.decode(budget.encode(spent), now) == spent
    assert breaker.decode(breaker.encode(state), now) == state
    assert backoff.decode(backoff.encode(wait), 900.0, now) == wait


@LAWS
@given(st.lists(st.tuples(st.sampled_from(("failed", "broke", "succeeded", "trying")), moments), max_size=30), moments)
def test_a_breaker_is_never_shut_for_longer_than_a_day_of_running(events: list[tuple[str, Moment]], now: Moment) -> None:
    state = Breaker()
    for what, moment in events:
        match what:
            case "failed":
                state = breaker.failed(state, 3, 300.0, "timeout", moment)
            case "broke":
                state = breaker.broke(state, 300.0, "status-401", moment)
            case "succeeded":
                state = breaker.succeeded(state)
            case _:
                state = breaker.trying(state, moment)
    assert 0.0 <= breaker.remaining_s(state, now) <= DAY_S
    rested = breaker.at(state, now)
    assert breaker.remaining_s(rested, Moment(now.wall_s, now.monotonic_s + DAY_S + ROUNDING_S, now.boot)) == 0.0
    assert breaker.state(breaker.succeeded(state), now) == "closed"


@LAWS
@given(
    st.integers(0, 200),
    st.floats(0.01, 1e5),
    st.floats(0.01, 1e9),
    st.none() | st.floats(),
    st.randoms(use_true_random=False),
    moments,
)
def test_a_wait_is_never_less_than_asked_for_nor_longer_than_a_day(
    failures: int, minimum_s: float, maximum_s: float, asked_s: float | None, rng: random.Random, now: Moment
) -> None:
    state = backoff.failed(Backoff(failures=failures), minimum_s, maximum_s, now, rng, asked_s)
    assert 0.0 <= state.wait_s <= DAY_S
    if asked_s is not None and not math.isnan(asked_s):
        assert state.wait_s >= min(asked_s, DAY_S)


ZONES = (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns"), ZoneInfo("Australia/Lord_Howe"))
clock_times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


@LAWS
@given(
    st.lists(st.builds("{}-{}".format, clock_times, clock_times), max_size=3),
    st.sampled_from(ZONES),
    st.floats(CLOCK_SET_S, datetime(2040, 1, 1, tzinfo=UTC).timestamp()),
)
def test_when_a_window_is_said_to_open_it_is_open(texts: list[str], zone: ZoneInfo, now_s: float) -> None:
    windows = parse(texts)
    waits_s = opens_in_s(windows, zone, now_s, 0.0)
    assert open_now(windows, zone, now_s + waits_s + 1e-3, 0.0)
    assert 0.0 <= waits_s <= 2 * DAY_S
    if waits_s > 1.0:
        assert not open_now(windows, zone, now_s + waits_s - 1.0, 0.0)
