"""The breaker: opens after failures in a row, tries one, and closes when one is answered."""

from __future__ import annotations

import pytest

from edge_agent.escalate import breaker
from edge_agent.escalate.breaker import Breaker
from edge_agent.escalate.state import DAY_S, Moment

NOW_S = 1_900_000_000.0
MOST, PAUSE_S = 3, 300.0


def at(seconds: float, *, wall_s: float = NOW_S, boot: str = "boot-1") -> Moment:
    return Moment(wall_s, seconds, boot)


def failures(count: int, state: Breaker | None = None, seconds: float = 0.0) -> Breaker:
    state = state or Breaker()
    for _ in range(count):
        state = breaker.failed(state, MOST, PAUSE_S, "timeout", at(seconds))
    return state


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    assert breaker.state(failures(2), at(0.0)) == "closed"
    opened = failures(3)
    assert (breaker.state(opened, at(299.0)), breaker.remaining_s(opened, at(100.0))) == ("open", 200.0)
    assert (breaker.state(opened, at(300.0)), breaker.remaining_s(opened, at(300.0))) == ("half-open", 0.0)
    assert opened.reason == "timeout"


def test_a_success_between_them_begins_the_count_anew() -> None:
    assert breaker.state(failures(2, breaker.succeeded(failures(2))), at(0.0)) == "closed"


def test_a_trial_that_succeeds_closes_it_and_one_that_fails_opens_it_again() -> None:
    tried = breaker.trying(failures(3), at(300.0))
    assert breaker.state(tried, at(300.0)) == "open"  # one at a time
    assert breaker.succeeded(tried) == Breaker()
    again = breaker.failed(tried, MOST, PAUSE_S, "timeout", at(310.0))
    assert breaker.remaining_s(again, at(310.0)) == PAUSE_S


def test_a_crash_in_a_trial_counts_as_a_failure() -> None:
    kept = breaker.encode(breaker.trying(failures(3), at(300.0)))
    assert breaker.state(breaker.decode(kept, at(302.0)), at(302.0)) == "open"


def test_closed_nothing_is_noted_of_a_question_that_leaves() -> None:
    assert breaker.trying(failures(2), at(9.0)) == failures(2)


def test_a_refusal_of_everything_opens_at_once_for_ever_longer_up_to_a_day() -> None:
    state, pauses = Breaker(), []
    for _ in range(11):
        state = breaker.broke(state, PAUSE_S, "status-401", at(0.0))
        pauses.append(state.pause_s)
    assert pauses == [min(PAUSE_S * 2**n, DAY_S) for n in range(1, 12)]
    assert pauses[-1] == DAY_S


def test_a_lesser_failure_of_a_trial_does_not_shorten_that_pause() -> None:
    broken = breaker.broke(breaker.broke(Breaker(), PAUSE_S, "status-401", at(0.0)), PAUSE_S, "status-401", at(0.0))
    assert breaker.failed(broken, MOST, PAUSE_S, "timeout", at(2_000.0)).pause_s == 4 * PAUSE_S


def test_another_configuration_closes_it_and_the_same_does_not() -> None:
    opened = breaker.broke(breaker.configured(Breaker(), "a"), PAUSE_S, "status-401", at(0.0))
    assert breaker.configured(opened, "a") == opened
    assert breaker.configured(opened, "b") == Breaker(fingerprint="b")
    assert breaker.succeeded(opened).fingerprint == "a"


def test_a_fingerprint_tells_parts_apart() -> None:
    assert breaker.fingerprint([b"ab", b"c"]) != breaker.fingerprint([b"a", b"bc"])
    assert breaker.fingerprint([b"ab"]) == breaker.fingerprint([b"ab"])
    assert len(breaker.fingerprint([b"x" * 10_000])) == 32


def test_a_pause_survives_restarts_and_stepped_clocks() -> None:
    kept = breaker.decode(breaker.encode(failures(3)), at(0.0))
    assert breaker.remaining_s(kept, at(100.0, wall_s=0.0)) == 200.0
    assert breaker.remaining_s(kept, at(1.0, wall_s=NOW_S + 100, boot="boot-2")) == 200.0
    assert breaker.remaining_s(kept, at(1.0, wall_s=NOW_S - 1e8, boot="boot-2")) == PAUSE_S
    assert breaker.remaining_s(kept, at(1.0, wall_s=60.0, boot="boot-2")) == PAUSE_S
    assert breaker.remaining_s(kept, at(1.0, wall_s=NOW_S + 1e9, boot="boot-2")) == 0.0


def test_a_pause_that_is_kept_again_goes_on_over_reboots_without_a_clock() -> None:
    half = breaker.at(failures(3), at(250.0))
    assert breaker.remaining_s(half, at(30.0, wall_s=0.0, boot="boot-2")) == 50.0
    assert breaker.remaining_s(breaker.at(half, at(0.0, wall_s=0.0, boot="boot-2")), at(30.0, boot="boot-2")) == 20.0
    assert breaker.at(Breaker(), at(1.0)) == Breaker()


@pytest.mark.parametrize("data", [b"", b"{", b'{"version":9}', b'{"pause_s":1e9}', b'{"failures":-1}', b'{"reason":7}'])
def test_a_damaged_state_tries_one_question(data: bytes) -> None:
    state = breaker.configured(breaker.decode(data, at(0.0)), "a")
    assert breaker.state(state, at(0.0)) == "half-open"
    assert breaker.state(failures(1, state), at(0.0)) == "open"
    assert breaker.state(breaker.succeeded(state), at(0.0)) == "closed"


def test_a_first_start_is_closed() -> None:
    assert breaker.decode(None, at(0.0)) == Breaker()


def test_counts_end_somewhere() -> None:
    state = Breaker(failures=1 << 53, breaks=32)
    state = breaker.failed(breaker.broke(state, 1e300, "x" * 99, at(0.0)), MOST, 1e300, "x" * 99, at(0.0))
    assert breaker.decode(breaker.encode(state), at(0.0)) == state
    assert state.pause_s == DAY_S
