"""Backoff: full jitter under a ceiling that doubles, never less than was asked for, kept over restarts."""

from __future__ import annotations

import math
import random

import pytest

from edge_agent.errors import TryLaterError
from edge_agent.escalate import backoff
from edge_agent.escalate.backoff import Backoff
from edge_agent.escalate.state import DAY_S, Moment

NOW_S = 1_900_000_000.0


class Highest:
    """Draws the ceiling."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Lowest:
    """Draws the floor."""

    def uniform(self, a: float, b: float) -> float:
        return a


def at(seconds: float, *, wall_s: float = NOW_S, boot: str = "boot-1") -> Moment:
    return Moment(wall_s, seconds, boot)


def test_the_ceiling_doubles_from_the_least_to_the_most() -> None:
    state, waits = Backoff(), []
    for _ in range(6):
        state = backoff.failed(state, 2.0, 20.0, at(0.0), Highest())
        waits.append(state.wait_s)
    assert waits == [2.0, 4.0, 8.0, 16.0, 20.0, 20.0]
    assert backoff.ceiling_s(10_000, 2.0, 20.0) == 20.0


def test_the_wait_is_drawn_from_zero_on() -> None:
    assert backoff.failed(Backoff(failures=5), 2.0, 900.0, at(0.0), Lowest()).wait_s == 0.0
    rng = random.Random(1)
    waits = [backoff.failed(Backoff(failures=5), 2.0, 900.0, at(0.0), rng).wait_s for _ in range(200)]
    assert min(waits) < 6.4 < 57.6 < max(waits) <= 64.0


@pytest.mark.parametrize(
    ("asked_s", "waits_s"),
    [(None, 0.0), (120.0, 120.0), (-5.0, 0.0), (1e12, DAY_S), (math.inf, DAY_S), (math.nan, 0.0)],
)
def test_what_the_other_side_asks_for_is_the_least(asked_s: float | None, waits_s: float) -> None:
    assert backoff.failed(Backoff(), 2.0, 900.0, at(0.0), Lowest(), asked_s).wait_s == waits_s


def test_a_longer_wait_of_our_own_stands() -> None:
    assert backoff.failed(Backoff(failures=5), 2.0, 900.0, at(0.0), Highest(), 1.0).wait_s == 64.0


def test_a_success_ends_it() -> None:
    assert backoff.remaining_s(backoff.succeeded(), at(0.0)) == 0.0


def test_the_wait_survives_restarts_and_stepped_clocks() -> None:
    state = backoff.failed(Backoff(), 2.0, 900.0, at(0.0), Lowest(), 100.0)
    kept = backoff.decode(backoff.encode(state), 900.0, at(0.0))
    assert backoff.remaining_s(kept, at(30.0, wall_s=0.0)) == 70.0
    assert backoff.remaining_s(kept, at(1.0, wall_s=NOW_S + 40, boot="boot-2")) == 60.0
    assert backoff.remaining_s(kept, at(1.0, wall_s=60.0, boot="boot-2")) == 100.0
    assert backoff.remaining_s(backoff.at(kept, at(90.0)), at(5.0, wall_s=60.0, boot="boot-2")) == 10.0
    assert backoff.remaining_s(kept, at(1.0, wall_s=NOW_S + 1e9, boot="boot-2")) == 0.0
    assert backoff.at(Backoff(), at(9.0)) == Backoff()


@pytest.mark.parametrize("data", [b"", b"{", b'{"version":9}', b'{"wait_s":1e9}', b'{"wait_s":-1}', b'{"x":1}'])
def test_a_damaged_state_waits_the_longest_once(data: bytes) -> None:
    state = backoff.decode(data, 900.0, at(0.0))
    assert backoff.remaining_s(state, at(0.0)) == 900.0
    assert backoff.decode(backoff.encode(state), 900.0, at(0.0)) == state


def test_a_first_start_waits_for_nothing() -> None:
    assert backoff.decode(None, 900.0, at(0.0)) == Backoff()


@pytest.mark.parametrize(
    ("reason", "counts"),
    [
        ("status-429", True),
        ("status-503", True),
        ("bad-answer", True),
        ("too-long", True),
        ("connection", False),
        ("timeout", False),
        ("reset", False),
        ("folder", False),
        ("format-unsupported", False),
    ],
)
def test_only_an_answer_counts_as_an_attempt(reason: str, counts: bool) -> None:
    assert backoff.counts_as_attempt(TryLaterError(reason)) is counts
