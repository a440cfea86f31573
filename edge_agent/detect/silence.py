"""Has a stream stopped coming? Judged on the caller's steady clock, never on the readings' own times.

A stream is silent after `silence_factor` times its usual interval, and never before half as long again as its longest recent
pause, nor before the pause that an irregular stream (exponential gaps) reaches as rarely as false alarms are allowed. Pauses
are measured between the calls that brought something, so a device that delivers a minute's readings at once has a usual
pause of a minute.

The steady clock is the sum of the steps between calls. Without a monotonic time from the caller a step is taken from the
wall clock, and a step that goes back or is implausibly long (the clock was set, the machine slept) counts as none: setting
the clock from 1970 to today silences no stream.

Rules: no stream is silent before `LEAST_GAPS` pauses are known.
"""

from __future__ import annotations

import numpy as np

from edge_agent.config.settings import DetectSettings
from edge_agent.detect.state import (
    GAP,
    GAP_LONGEST,
    GAP_SPREAD,
    GAPS,
    HEARD,
    INTERVAL,
    SILENT_SINCE,
    Floats,
    Mask,
)

LEAST_GAPS = 8.0
_GAP_GAIN = 1 / 32
_LONGEST_KEPT = 0.99
_PAUSE_MARGIN = 1.5
_DEVIATION_TO_MEAN = 1.36  # e / 2: of exponential gaps, mean over mean absolute deviation
_CLIP = 4.0
_STEP_MARGIN = 16.0
_LEAST_JUMP_S = 60.0


class SteadyClock:
    """Seconds that have passed for certain, whatever the wall clock did. One owner: the bank."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self._last_wall_s: float | None = None
        self._last_monotonic_s: float | None = None
        self._usual_step_s = 0.0

    def advance(self, wall_s: float, monotonic_s: float | None) -> float:
        """Take in the caller's clocks; returns seconds passed since the first call."""
        if monotonic_s is not None:
            if self._last_monotonic_s is not None:
                self.elapsed_s += max(0.0, monotonic_s - self._last_monotonic_s)
            self._last_monotonic_s = monotonic_s
            return self.elapsed_s
        if self._last_wall_s is not None:
            step_s = wall_s - self._last_wall_s
            if 0.0 <= step_s <= max(_LEAST_JUMP_S, _STEP_MARGIN * self._usual_step_s):
                self.elapsed_s += step_s
                self._usual_step_s += (step_s - self._usual_step_s) / 16.0
        self._last_wall_s = wall_s
        return self.elapsed_s


def heard(block: Floats, elapsed_s: float) -> None:
    """Learn from the pauses that end now, and restart the wait. Readings of one call are one delivery: no pause between them."""
    gap = elapsed_s - block[HEARD]
    paused = (gap > 0) & (block[HEARD] >= 0)
    known = block[GAPS] > 0
    clipped = np.where(known, np.minimum(gap, _CLIP * np.maximum(block[GAP], block[INTERVAL])), gap)
    gain = np.where(paused, np.maximum(_GAP_GAIN, 1.0 / (block[GAPS] + 1.0)), 0.0)
    block[GAP_SPREAD] += gain * (np.abs(clipped - block[GAP]) * known - block[GAP_SPREAD])
    block[GAP] += gain * (clipped - block[GAP])
    block[GAP_LONGEST] = np.where(paused, np.maximum(_LONGEST_KEPT * block[GAP_LONGEST], gap), block[GAP_LONGEST])
    block[GAPS] += paused
    block[HEARD] = elapsed_s


def limits(block: Floats, settings: DetectSettings) -> Floats:
    """After how many seconds without a reading each stream is silent; infinite while too little is known."""
    usual = np.maximum(block[INTERVAL], block[GAP])
    chance = np.clip(settings.false_alarms_per_stream_day * usual / 86_400.0, 1e-9, 1e-3)
    irregular = block[GAP] - np.log(chance) * _DEVIATION_TO_MEAN * block[GAP_SPREAD]
    limit = np.maximum(settings.silence_factor * usual, np.maximum(irregular, _PAUSE_MARGIN * block[GAP_LONGEST]))
    return np.where(block[GAPS] >= LEAST_GAPS, np.maximum(limit, settings.silence_min_s), np.inf)


def opening(block: Floats, settings: DetectSettings, elapsed_s: float) -> Mask:
    """Which streams become silent now."""
    return np.asarray((elapsed_s - block[HEARD] >= limits(block, settings)) & np.isnan(block[SILENT_SINCE]))
