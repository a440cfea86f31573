"""What a stream is expected to read next: four simple predictions, of which each stream uses the one that serves it best.

A slow level suits a stream that stays where it is, a middle average one that wanders, the last value one that walks, and a
level with trend one that climbs (counters, batteries, tanks). Each learns with Huber-clipped steps (Huber 1964), so that an
outlier moves it by three usual errors at most; the first readings are averaged unclipped.

Rules: elementwise over streams; nothing here changes while a stream's anomaly is open (`learn` is told where).
"""

from __future__ import annotations

import numpy as np

from edge_agent.detect.state import (
    COUNT,
    LAST,
    MIDDLE,
    PREDICTION,
    QUANTUM,
    SCALE,
    SLOW,
    TREND,
    TRENDED,
    Floats,
    Indices,
    Mask,
)

SLOW_GAIN = 1 / 128
LEVEL_GAINS = np.array([SLOW_GAIN, 1 / 16, 1.0, 0.15])[:, None]
SCALE_GAINS = np.array([1 / 128, 1 / 64, 1 / 64, 1 / 64])[:, None]
TREND_GAIN = 0.01
VARIANCE_GROWTH = np.array([SLOW_GAIN**2, 1 / 256, 1.0, 0.05])
"""By how much the variance of a prediction's error grows a reading ahead (exponential smoothing, Hyndman et al. 2008, ch. 6)."""
UNCLIPPED = 8
"""The first readings of a stream are averaged as they are: there is no scale yet to clip by."""
_HUBER = 3.0
_ABS_TO_SIGMA = 1.2533141373155001  # sqrt(pi / 2): mean absolute deviation to standard deviation of a normal
_ROUNDING = 1e-9  # differences below this share of the value are taken for rounding
_FIRST_CHANGE = 0.01  # a stream that never changed is taken to be steady within this share of its value
TINY = 1e-290


def floor(block: Floats) -> Floats:
    """The smallest error scale worth believing: half the stream's resolution, and never below rounding.

    While a stream has never changed its resolution is unknown; one per cent of its value stands in.
    """
    size = np.abs(block[SLOW])
    share = np.where(block[QUANTUM] > 0, _ROUNDING, _FIRST_CHANGE) * size
    return np.asarray(np.maximum(np.maximum(0.5 * block[QUANTUM], share), TINY))


def predictions(block: Floats) -> Floats:
    """The four predictions of the next reading, shape (4, m)."""
    ahead = block[PREDICTION : PREDICTION + 4].copy()
    ahead[3] += block[TREND]
    return ahead


def scales(block: Floats) -> Floats:
    """The robust standard deviations of the four predictions' errors, shape (4, m); a view."""
    return block[SCALE : SCALE + 4]


def best(block: Floats) -> Indices:
    """Which prediction has the smallest error so far, for each stream."""
    return np.asarray(scales(block).argmin(axis=0))


def learn(block: Floats, values: Floats, errors: Floats, least: Floats, usual: Floats, trusted: Floats) -> None:
    """Move the predictions by what was read. `errors` (4, m) are value minus prediction.

    `usual` is 1 where to learn and 0 where not; `trusted` is how much of it the slow level and the scales take, from 0 to 1.
    """
    count = block[COUNT]
    first_gain = 1.0 / (count + 1.0)
    scales = np.maximum(block[SCALE : SCALE + 4], least)
    sizes = np.abs(errors)
    young = count < UNCLIPPED
    bound = np.where(young, np.inf, _HUBER * scales)
    steps = np.minimum(np.maximum(errors, -bound), bound)
    gains = np.maximum(LEVEL_GAINS, first_gain) * np.stack((trusted, usual, usual, usual))
    block[TRENDED] += block[TREND] * usual
    block[PREDICTION : PREDICTION + 4] += gains * steps
    block[TREND] += np.where(count > 1, TREND_GAIN * usual, 0.0) * steps[3]
    block[LAST] = values
    spread = _ABS_TO_SIGMA * np.minimum(sizes, np.where(young, np.inf, 4.0 * scales)) - block[SCALE : SCALE + 4]
    # The first reading has no prediction to miss: scales start with the second.
    pace = np.maximum(SCALE_GAINS, 1.0 / np.maximum(count, 1.0)) * trusted
    block[SCALE : SCALE + 4] += np.where(count > 0, pace, 0.0) * spread


def learn_quantum(block: Floats, steps: Floats) -> None:
    """Keep the smallest change of value seen; `steps` are the absolute changes."""
    known = block[QUANTUM]
    seen = np.where(steps > _ROUNDING * np.abs(block[LAST]), steps, np.inf)
    smallest = np.minimum(np.where(known > 0, known, np.inf), seen)
    block[QUANTUM] = np.where(np.isfinite(smallest), smallest, 0.0)


def start(block: Floats, values: Floats, fresh: Mask) -> None:
    """Set all predictions of streams that have their first reading."""
    for row in (SLOW, MIDDLE, LAST, TRENDED):
        block[row] = np.where(fresh, values, block[row])


def robust(windows: Floats) -> tuple[Floats, Floats]:
    """Median and normal-consistent median absolute deviation of each window (NaN places are left out), each of shape (m,)."""
    centre = np.nanmedian(windows, axis=1)
    spread = 1.4826 * np.nanmedian(np.abs(windows - centre[:, None]), axis=1)
    return centre, spread


def step_scale(windows: Floats) -> Floats:
    """Robust standard deviation of the changes from reading to reading in each window, shape (m,)."""
    return np.asarray(_ABS_TO_SIGMA * np.nanmean(np.abs(np.diff(windows, axis=1)), axis=1))
