"""When to ask somebody next: now and then, later after failures, and never in step with the rest of the fleet.

Exponential backoff with full jitter: the wait after a failure is uniform between zero and a ceiling that doubles with each
failure in a row (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). The usual pause varies by a tenth.

Rules: only the clock that never goes back counts, so that a wall clock that is set changes nothing. Nothing is kept over a
restart: the first time of asking is drawn, which spreads a fleet that gets its power back at the same second.
"""

from __future__ import annotations

from typing import Protocol

from edge_agent.clock import Clock

FIRST_S = 60.0
"""The first time of asking is drawn from so long a time, or from the usual pause where that is shorter."""
JITTER = 0.1
HINT_GAP_S = 5.0
"""However often there are hints, it is asked no sooner after the last time."""
_MAX_DOUBLINGS = 32


class Uniform(Protocol):
    """The one method of `random.Random` that is needed."""

    def uniform(self, a: float, b: float) -> float:
        """A number between `a` and `b`."""


class Pace:
    """When one thing is due. One owner."""

    def __init__(self, clock: Clock, rng: Uniform, every_s: float, *, retry_min_s: float, retry_max_s: float) -> None:
        """Due every `every_s`; after failures within a time that grows from `retry_min_s` to `retry_max_s`."""
        self._clock = clock
        self._rng = rng
        self.every_s = every_s
        """The usual pause; may be changed, and counts from the next time on."""
        self._retry_min_s = retry_min_s
        self._retry_max_s = max(retry_min_s, retry_max_s)
        self._failures = 0
        self._asked_s: float | None = None
        self._due_s = clock.monotonic_s() + rng.uniform(0.0, min(every_s, FIRST_S))

    def is_due(self) -> bool:
        """Whether it is time."""
        return self._clock.monotonic_s() >= self._due_s

    @property
    def is_failing(self) -> bool:
        """Whether nobody answered the last time."""
        return self._failures > 0

    def left_s(self) -> float:
        """How long until it is time; 0 where it is."""
        return max(0.0, self._due_s - self._clock.monotonic_s())

    def asks(self) -> None:
        """Asking begins now."""
        self._asked_s = self._clock.monotonic_s()

    def answered(self) -> None:
        """There was an answer."""
        self._failures = 0
        self._due_s = self._clock.monotonic_s() + self.every_s * self._rng.uniform(1.0 - JITTER, 1.0 + JITTER)

    def failed(self, least_s: float = 0.0) -> None:
        """There was none. `least_s`: so long at least the other side wants to be left alone."""
        now_s = self._clock.monotonic_s()
        if self._asked_s is not None and now_s - self._asked_s > self._ceiling_s():
            self._failures = 0  # it went well for longer than would be waited
        wait_s = self._rng.uniform(0.0, self._ceiling_s())
        self._failures += 1
        self._due_s = now_s + max(wait_s, least_s)

    def rests(self, least_s: float) -> None:
        """The other side wants to be left alone so long at least."""
        self._due_s = max(self._due_s, self._clock.monotonic_s() + least_s)

    def hint(self) -> None:
        """It may be worth asking soon."""
        now_s = self._clock.monotonic_s()
        soonest_s = now_s if self._asked_s is None else max(now_s, self._asked_s + HINT_GAP_S)
        self._due_s = min(self._due_s, soonest_s)

    def _ceiling_s(self) -> float:
        return ceiling_s(self._failures, self._retry_min_s, self._retry_max_s)


def ceiling_s(failures: int, retry_min_s: float, retry_max_s: float) -> float:
    """The longest wait after one more failure than `failures` in a row: it doubles with each, up to `retry_max_s`."""
    return min(retry_max_s, retry_min_s * 2.0 ** min(failures, _MAX_DOUBLINGS))
