"""Has the level changed? The recent mean of the deviation from the slow level, against how far it usually strays.

The deviations are clipped before they are averaged, so that one wild reading cannot look like a change; the statistic is
divided by its own robust scale, so that streams that wander or have a daily course are measured by their own habit
(an exponentially weighted moving-average chart, Roberts 1959, with a learnt control limit).

Rules: elementwise over streams.
"""

from __future__ import annotations

import numpy as np

from edge_agent.detect.state import COUNT, RECENT, RECENT_COUNT, RECENT_SCALE, RECENT_TIME, Floats

RECENT_GAIN = 1 / 16
_SCALE_GAIN = 1 / 128
_CLIP = 4.0
_FIRST_SCALE = 0.2  # of the mean of white noise: sqrt(gain / (2 - gain)) = 0.18
_UNREMARKABLE = 1.0
_ABS_TO_SIGMA = 1.2533141373155001


def statistic(block: Floats, deviation: Floats, times: Floats, mask: Floats) -> Floats:
    """Take in the deviation from the slow level, in slow scales, where `mask` is 1; returns the size of the change, >= 0."""
    block[RECENT] += RECENT_GAIN * mask * (np.minimum(np.maximum(deviation, -_CLIP), _CLIP) - block[RECENT])
    size = np.abs(block[RECENT]) / np.maximum(block[RECENT_SCALE], 0.25 * _FIRST_SCALE)
    quiet = size < _UNREMARKABLE
    block[RECENT_TIME] = np.where(quiet, times, block[RECENT_TIME])
    block[RECENT_COUNT] = np.where(quiet, block[COUNT], block[RECENT_COUNT])
    return np.asarray(size)


def learn(block: Floats, mask: Floats) -> None:
    """Learn how far the recent mean usually strays."""
    scale = block[RECENT_SCALE]
    seen = _ABS_TO_SIGMA * np.minimum(np.abs(block[RECENT]), 4.0 * scale)
    block[RECENT_SCALE] = scale + _SCALE_GAIN * mask * (seen - scale)


def start(block: Floats) -> None:
    """Set what a stream begins with."""
    block[RECENT_SCALE] = np.where(block[COUNT] == 0, _FIRST_SCALE, block[RECENT_SCALE])
