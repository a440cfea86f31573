"""Is the stream rougher than usual, or does it not move at all?

Roughness is the recent mean size of the steps from reading to reading, in units of the usual step, against its own robust
scale. Standing still is judged by the length of the run of equal values: a run longer than twice the longest usual one has a
probability that falls with the usual share of repeats, as a geometric law. A stream that often repeats itself (coarse
resolution, a switch, an idle counter) therefore needs a long run, one that never does needs eight equal readings.

Rules: elementwise over streams.
"""

from __future__ import annotations

import numpy as np

from edge_agent.detect.state import (
    COUNT,
    LONGEST,
    REPEATS,
    ROUGHNESS,
    ROUGHNESS_SCALE,
    RUN,
    RUN_TIME,
    Floats,
    Mask,
)

ROUGHNESS_GAIN = 1 / 16
_SCALE_GAIN = 1 / 128
_FIRST_SCALE = 0.15
_CLIP = 4.0
_ABS_TO_SIGMA = 1.2533141373155001
_REPEATS_GAIN = 1 / 256
_LONGEST_KEPT = 0.98  # of the longest run, at each end of a run: it is forgotten over some fifty runs
_FREE_REPEATS = 4.0  # repeats that are never held against a stream


def roughness(block: Floats, steps: Floats, mask: Floats) -> Floats:
    """Take in the size of the step, in usual steps, where `mask` is 1; returns how much rougher than usual it is, >= 0."""
    level = block[ROUGHNESS]
    level += ROUGHNESS_GAIN * mask * (_ABS_TO_SIGMA * np.minimum(steps, _CLIP) - level)
    excess: Floats = np.maximum(level - 1.0, 0.0) / np.maximum(block[ROUGHNESS_SCALE], 0.05)
    return excess


def learn(block: Floats, mask: Floats) -> None:
    """Learn how much the roughness usually varies."""
    scale = block[ROUGHNESS_SCALE]
    seen = _ABS_TO_SIGMA * np.minimum(np.abs(block[ROUGHNESS] - 1.0), 4.0 * np.maximum(scale, 0.05))
    block[ROUGHNESS_SCALE] = scale + _SCALE_GAIN * mask * (seen - scale)


def repeats(block: Floats, equal: Mask, times: Floats) -> Floats:
    """Take in whether the reading repeats the one before; returns the log-probability of a run this long, <= 0."""
    run = np.where(equal, block[RUN] + 1.0, 0.0)
    ended = block[RUN] * ~equal
    block[LONGEST] = np.where(ended > 0, np.maximum(_LONGEST_KEPT * block[LONGEST], ended), block[LONGEST])
    block[RUN] = run
    block[RUN_TIME] = np.where(equal, block[RUN_TIME], times)
    # Neither 0 nor 1 can be known from so many readings; a stream that was always constant is never improbable.
    unseen = 1.0 / (block[COUNT] + 2.0)
    share = np.minimum(block[REPEATS] + unseen, 1.0 - 0.5 * unseen)
    beyond = np.maximum(run - 2.0 * block[LONGEST] - _FREE_REPEATS, 0.0)
    log_probability: Floats = beyond * np.log(share)
    return log_probability


def learn_repeats(block: Floats, equal: Mask, mask: Floats) -> None:
    """Learn the usual share of repeats."""
    pace = np.maximum(_REPEATS_GAIN, 1.0 / (block[COUNT] + 1.0)) * mask
    block[REPEATS] += pace * (equal - block[REPEATS])


def start(block: Floats) -> None:
    """Set what a stream begins with."""
    fresh = block[COUNT] == 0
    block[ROUGHNESS] = np.where(fresh, 1.0, block[ROUGHNESS])
    block[ROUGHNESS_SCALE] = np.where(fresh, _FIRST_SCALE, block[ROUGHNESS_SCALE])
