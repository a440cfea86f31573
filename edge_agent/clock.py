"""Time for the shell: wall clock and monotonic clock behind one small interface that tests can replace.

Rules: the core never asks for the time, it is given; every deadline and heartbeat uses `monotonic_s`, because the wall
clock of a gateway may stand at 1970 and jump by decades when it is set.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks and a way to wait."""

    def now_s(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z by the system clock, which may be wrong and may jump."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""


class SystemClock:
    """The machine's own clocks."""

    def now_s(self) -> float:
        """See `Clock.now_s`."""
        return time.time()

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return time.monotonic()
