"""How long something has waited, by a wall clock that may be wrong and may jump.

What waits is dated by the wall clock, because it must survive a restart. A jump of that clock while the agent runs is seen
against the monotonic clock and taken out again, so that the clock being set from 1970 to today makes nothing old, and one
that is set back keeps nothing for ever. A jump between two starts cannot be told from time that passed, unless something is
dated later than the clock has shown since this start: that has waited since the start at least.

Rules: one owner; `look` is called now and then, more often than what is measured lasts.
"""

from __future__ import annotations

from edge_agent.clock import Clock

STEP_S = 60.0
"""A difference between the clocks that is taken for a jump."""
MAX_STEPS = 16


class Waiting:
    """Ages by the wall clock without its jumps. `max_age_s` is what `is_too_old` goes by."""

    def __init__(self, clock: Clock, max_age_s: float) -> None:
        self._clock = clock
        self._max_age_s = max_age_s
        self._wall_s = clock.now_s()
        self._started_s = self._monotonic_s = clock.monotonic_s()
        self._latest_s = self._wall_s
        """The latest that the wall clock showed since the start."""
        self._steps: list[tuple[float, float]] = []
        """Each jump: the wall time before it, and how far it went."""

    def look(self) -> None:
        """Notice a jump since the last look."""
        wall_s, monotonic_s = self._clock.now_s(), self._clock.monotonic_s()
        expected_s = self._wall_s + (monotonic_s - self._monotonic_s)
        if abs(wall_s - expected_s) > STEP_S:
            self._steps = [*self._steps, (expected_s, wall_s - expected_s)][-MAX_STEPS:]
        self._wall_s, self._monotonic_s = wall_s, monotonic_s
        self._latest_s = max(self._latest_s, wall_s)

    def age_s(self, since_s: float) -> float:
        """Seconds since the wall clock showed `since_s`, never negative."""
        self.look()
        if since_s > self._latest_s:
            return self._monotonic_s - self._started_s
        for before_s, step_s in self._steps:
            # What was dated before the jump, by the clock as it was then.
            if since_s <= before_s:
                since_s += step_s
        return max(0.0, self._wall_s - since_s)

    def rest_s(self, since_s: float, lasts_s: float) -> float:
        """How much is left of `lasts_s` seconds that began when the wall clock showed `since_s`; never more than all of it."""
        return max(0.0, lasts_s - self.age_s(since_s))

    def is_too_old(self, since_s: float) -> bool:
        """Whether that is longer ago than `max_age_s`."""
        return self.age_s(since_s) > self._max_age_s
