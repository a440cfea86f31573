"""How long to wait after a failure, for one backend as a whole: a cloud that is down is down for every question.

Exponential backoff with full jitter: the wait is uniform between zero and a ceiling that doubles with each failure in a row,
so that a fleet that lost the same server at the same second does not come back at the same second (M. Brooker, "Exponential
Backoff And Jitter", AWS Architecture Blog, 2015). What the other side asks for (`Retry-After`) is the least that is waited,
up to a day.

Rules: pure; chance comes in as `rng`, the caller keeps the state. A state that cannot be read waits the longest once.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta, Struct

from edge_agent.errors import TryLaterError
from edge_agent.escalate.state import DAY_S, MOST, Moment, Timer, read, started

ANSWERED = frozenset({"bad-answer", "too-long"})
"""Reasons, besides every `status-...`, that mean that the other side did answer, though not usably."""
_MAX_DOUBLINGS = 62
"""Beyond, a float has no use for more."""


class Uniform(Protocol):
    """The one method of `random.Random` that is needed."""

    def uniform(self, a: float, b: float) -> float:
        """A number between `a` and `b`."""


class Backoff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The wait after the last failure."""

    version: Literal[1] = 1
    failures: Annotated[int, Meta(ge=0)] = 0
    """In a row."""
    wait_s: Annotated[float, Meta(ge=0, le=DAY_S)] = 0.0
    timer: Timer | None = None
    """Since the last failure; None when there is none."""


def failed(
    backoff: Backoff, minimum_s: float, maximum_s: float, now: Moment, rng: Uniform, retry_after_s: float | None = None
) -> Backoff:
    """One more failure in a row, for which the other side asks to be left alone for `retry_after_s`."""
    failures = min(backoff.failures + 1, MOST)
    drawn_s = rng.uniform(0.0, ceiling_s(failures, minimum_s, maximum_s))
    asked_s = retry_after_s if retry_after_s is not None and not math.isnan(retry_after_s) else 0.0
    return Backoff(failures=failures, wait_s=min(max(drawn_s, asked_s, 0.0), DAY_S), timer=started(now))


def succeeded() -> Backoff:
    """The backend answered: nothing is waited for."""
    return Backoff()


def ceiling_s(failures: int, minimum_s: float, maximum_s: float) -> float:
    """The longest wait that may be drawn after so many failures in a row, which are at least one."""
    doublings = min(failures - 1, _MAX_DOUBLINGS)
    return float(min(max(minimum_s, maximum_s), minimum_s * 2**doublings))


def remaining_s(backoff: Backoff, now: Moment) -> float:
    """How long is still to be waited."""
    return 0.0 if backoff.timer is None else max(backoff.wait_s - backoff.timer.at(now).elapsed_s, 0.0)


def counts_as_attempt(error: TryLaterError) -> bool:
    """Whether a failure brings its question nearer to being given up.

    Only an answer does: one that says "later" (`status-429`, `status-503`), or one that cannot be used. No answer at all says
    nothing about the question: an outage of weeks must not use up the attempts of whatever happens to be asked in it; its age
    bounds it.
    """
    return error.reason.startswith("status-") or error.reason in ANSWERED


def at(backoff: Backoff, now: Moment) -> Backoff:
    """The state with its timer carried on, to be kept again."""
    return backoff if backoff.timer is None else msgspec.structs.replace(backoff, timer=backoff.timer.at(now))


def encode(backoff: Backoff) -> bytes:
    """The state as JSON."""
    return msgspec.json.encode(backoff)


def decode(data: bytes | None, maximum_s: float, now: Moment) -> Backoff:
    """The state that was kept; nothing to wait for where there is none, `maximum_s` once where it cannot be read."""
    if data is None:
        return Backoff()
    backoff = read(data, Backoff) or Backoff(failures=1, wait_s=min(maximum_s, DAY_S), timer=started(now))
    return at(backoff, now)
