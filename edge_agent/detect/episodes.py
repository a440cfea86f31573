"""From score to anomaly: when one opens, goes on and ends, for all streams at once.

An anomaly opens when the rarest statistic passes the stream's threshold. From then on the stream's prediction and learning
stand still; it ends when `CALM_READINGS` readings in a row are well inside the threshold (hysteresis), or when it has
`stayed` for `ADOPT_AFTER` readings: then the new behaviour is the usual one. After an end a stream rests for `REST_READINGS`.
Each anomaly raises its stream's threshold for a while (habit), so that a stream that cries often must cry louder.

The threshold follows from the allowed false alarms a day and the stream's own rate of readings. The score has a fixed
meaning: 0.5 is as rare as allowed, each 0.1 above is ten times rarer, and below 0.5 it falls with the logarithm of the
probability to 0. A reading scores 0.5 or more exactly when it belongs to an open anomaly. What is above 0.5 halves with every
reading that an anomaly goes on, and with every recent anomaly of the stream: the score of a reading says how much it is news.
The score of an anomaly is not so lessened.

Rules: elementwise over streams.
"""

from __future__ import annotations

import numpy as np

from edge_agent.detect import level
from edge_agent.detect.state import (
    AGE,
    BEST,
    CALM,
    CALM_TIME,
    CAUSE,
    COUNT,
    ERROR,
    EXPECTED,
    GROWTH,
    HABIT,
    INTERVAL,
    ONSET,
    PEAK_SIZE,
    PEAK_TIME,
    PEAK_VALUE,
    RECENT_COUNT,
    RECENT_TIME,
    REST,
    RUN,
    RUN_TIME,
    SLOPE,
    SLOW,
    SLOW_SCALE,
    TREND,
    Floats,
    Indices,
    Mask,
)

NONE, UP, DOWN, CHANGE, NOISE, STUCK = range(6)
"""What opened an anomaly: nothing, or 1 + the index of the statistic."""
TESTS = 5
CALM_READINGS = 6
ADOPT_AFTER = 128
REST_READINGS = 8
CALM_SHARE = 0.6
_HABIT_STEP = 0.25
_HABIT_KEPT = 1.0 - 1.0 / 1024
_MOST_HABIT = 8.0
_LN10 = float(np.log(10.0))
_LEAST_CHANCE, _MOST_CHANCE = 1e-9, 1e-3
_BELOW = 0.499
_LEAST_STEP_S = 1e-3


def thresholds(block: Floats, false_alarms_per_day: float) -> Floats:
    """Natural log of the probability at which each stream alarms, shared out over the tests."""
    chance = np.minimum(np.maximum(false_alarms_per_day / 86_400.0 * block[INTERVAL], _LEAST_CHANCE), _MOST_CHANCE)
    return np.asarray(np.log(chance / TESTS) - _LN10 * block[HABIT])


def expectation(block: Floats, is_open: Mask, least: Floats) -> tuple[Floats, Floats, Indices]:
    """What each stream should read next, the scale of that prediction's error, and which prediction it is.

    While an anomaly is open its frozen prediction holds, with an error that grows with its age up to the slow scale.
    """
    chosen = level.best(block)
    places = np.arange(len(chosen))
    ahead = level.predictions(block)[chosen, places]
    scale = np.maximum(level.scales(block)[chosen, places], least)
    if not is_open.any():
        return ahead, scale, chosen
    age = block[AGE] + 1.0
    grown = block[ERROR] * np.sqrt(1.0 + block[GROWTH] * age)
    frozen_scale = np.minimum(grown, np.maximum(block[ERROR], block[SLOW_SCALE]))
    expected = np.where(is_open, block[EXPECTED] + block[SLOPE] * age, ahead)
    return expected, np.where(is_open, frozen_scale, scale), chosen


def raw_scores(log_probability: Floats, threshold: Floats) -> Floats:
    """Score of a log-probability against the stream's threshold (both < 0)."""
    above = 0.5 + 0.1 * (threshold - log_probability) / _LN10
    below = 0.5 * log_probability / threshold
    return np.where(log_probability <= threshold, np.minimum(above, 1.0), np.maximum(np.minimum(below, _BELOW), 0.0))


def trust(raw: Floats) -> Floats:
    """How much of a reading is learnt as usual: all below a score of 0.2, a tenth from 0.4 on.

    Otherwise a change that gathers over many readings would be learnt while it gathers, and never be called one.
    """
    return np.minimum(np.maximum((0.4 - raw) / 0.2, 0.1), 1.0)


def shown_scores(block: Floats, raw: Floats, opening: Mask, going_on: Mask, calm: Mask) -> Floats:
    """The score of each reading as it is given out; see the module's rules."""
    news = np.exp2(-block[HABIT] / _HABIT_STEP)
    first = 0.5 + (raw - 0.5) * news
    fading = 0.5 + (np.maximum(raw, 0.5) - 0.5) * news * np.exp2(-block[AGE])
    return np.where(opening, first, np.where(going_on & ~calm, fading, np.minimum(raw, _BELOW)))


def open_(
    block: Floats, at: Indices, cause: Indices, frozen: tuple[Floats, Floats, Indices], reading: tuple[Floats, ...]
) -> None:
    """Begin an anomaly in the columns `at` of the block; the other arguments are for these columns only.

    `frozen` is what `expectation` gave, `reading` is times, values, sizes (in error scales), scores.
    """
    expected, error, chosen = frozen
    times, values, sizes, scores = reading
    gradual, stuck = cause == CHANGE, cause == STUCK
    from_slow = gradual | stuck
    trended = ~from_slow & (chosen == 3)
    onset = np.where(gradual, block[RECENT_TIME, at], np.where(stuck, block[RUN_TIME, at], times))
    age = np.where(gradual, block[COUNT, at] - block[RECENT_COUNT, at], np.where(stuck, block[RUN, at], 0.0))
    block[ONSET, at] = np.maximum(np.minimum(onset, times), block[ONSET, at] + _LEAST_STEP_S)
    block[AGE, at] = np.minimum(age, ADOPT_AFTER / 2)
    block[CAUSE, at] = cause
    block[CALM, at] = 0.0
    block[CALM_TIME, at] = times
    block[EXPECTED, at] = np.where(from_slow, block[SLOW, at], expected)
    block[SLOPE, at] = np.where(trended, block[TREND, at], 0.0)
    block[ERROR, at] = np.where(from_slow, np.maximum(block[SLOW_SCALE, at], error), error)
    block[GROWTH, at] = np.where(from_slow, level.VARIANCE_GROWTH[0], level.VARIANCE_GROWTH[chosen])
    block[PEAK_SIZE, at] = np.where(from_slow, np.abs(values - block[SLOW, at]) / block[ERROR, at], sizes)
    block[PEAK_VALUE, at] = values
    block[PEAK_TIME, at] = times
    block[BEST, at] = scores
    block[HABIT, at] = np.minimum(block[HABIT, at] + _HABIT_STEP, _MOST_HABIT)


def go_on(block: Floats, going_on: Mask, calm: Mask, reading: tuple[Floats, ...]) -> Mask:
    """Take one reading into open anomalies; `reading` is times, values, sizes, raw scores. Returns which of them end."""
    times, values, sizes, scores = reading
    block[AGE] += going_on
    higher = going_on & (sizes > block[PEAK_SIZE])
    for row, now in ((PEAK_SIZE, sizes), (PEAK_VALUE, values), (PEAK_TIME, times)):
        block[row] = np.where(higher, now, block[row])
    block[BEST] = np.where(going_on, np.maximum(block[BEST], scores), block[BEST])
    block[CALM_TIME] = np.where(calm & (block[CALM] == 0), times, block[CALM_TIME])
    block[CALM] = np.where(calm, block[CALM] + 1.0, 0.0)
    return np.asarray(going_on & ((block[CALM] >= CALM_READINGS) | (block[AGE] >= ADOPT_AFTER)))


def relax(block: Floats) -> None:
    """Let habit and rest run off by one reading."""
    block[HABIT] *= _HABIT_KEPT
    block[REST] = np.maximum(block[REST] - 1.0, 0.0)
