"""How long messages have waited, whatever the system's clock does: a count of seconds that only goes forward.

Rules: while the agent runs, time is what the monotonic clock says, so that a clock that is set by years, forward or back,
changes nothing. While it did not run, time is what the system's clock says has passed since the count was last saved, if
both readings are believable, and never more than a quarter of the age limit at once: a first reading from before the clock
was set cannot make old what was queued a minute ago. What is not saved when the power fails is lost from the count.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from edge_agent.clock import Clock

METER: Final = "journal-age"
SAVE_S: Final = 600.0
"""The most that a power cut may take from the count."""
_EARLIEST_S: Final = 1_735_689_600.0
"""2025-01-01: a clock that says less has not been set."""


class _Saved(Struct, frozen=True):
    lived_s: float
    wall_s: float


class Ageing:
    """The count of one journal. `lived_s` is where it stands."""

    def __init__(self, clock: Clock, max_credit_s: float) -> None:
        self._clock = clock
        self._max_credit_s = max_credit_s
        self._start_s = clock.monotonic_s()
        self._before_s = 0.0
        self._saved_s = 0.0

    def load(self, saved: bytes | None, newest_s: float) -> None:
        """Go on from what was saved; from `newest_s`, the newest message's count, where nothing was."""
        try:
            state = msgspec.json.decode(saved or b"", type=_Saved)
        except msgspec.DecodeError:
            self._before_s = self._saved_s = newest_s
            return
        away_s = self._clock.now_s() - state.wall_s if state.wall_s >= _EARLIEST_S else 0.0
        self._before_s = state.lived_s + max(0.0, min(away_s, self._max_credit_s))
        self._saved_s = state.lived_s

    @property
    def lived_s(self) -> float:
        """Seconds counted so far."""
        return self._before_s + max(0.0, self._clock.monotonic_s() - self._start_s)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self.lived_s - self._saved_s >= SAVE_S

    def body(self) -> bytes:
        """The state to be saved; it counts as saved."""
        self._saved_s = self.lived_s
        return msgspec.json.encode(_Saved(self._saved_s, self._clock.now_s()))
