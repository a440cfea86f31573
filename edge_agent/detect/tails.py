"""How rare is a statistic for this stream? Peaks over threshold with a generalised Pareto tail, learnt online.

Each statistic's 98 % quantile is followed by stochastic approximation (Robbins and Monro 1951) and the excesses over it give a
generalised Pareto distribution by the method of moments (Hosking and Wallis 1987), the streaming form of SPOT (Siffer et al.,
KDD 2017). A new stream starts from what a normal stream would show, weighted like twenty excesses, so that a threshold exists
at once and gives way to the stream's own habit. The shape is kept in [0.001, 0.4]: never a bounded tail.

Rules: elementwise over streams and statistics; an excess is clipped when it is learnt, and more tightly where it opened an
anomaly, so that a fault that comes again is told again.
"""

from __future__ import annotations

import numpy as np

from edge_agent.detect.state import COUNT, HABIT, TAIL_COUNT, TAIL_MEAN, TAIL_PEAK, TAIL_SQUARE, TAIL_START, Floats, Mask

STATISTICS = 4
UP, DOWN, CHANGE, NOISE = range(STATISTICS)
BEYOND = 0.02
"""Share of readings beyond the tail's start."""
_LOG_BEYOND = float(np.log(BEYOND))
_LINEAR = 8.0
_FIRST_START = np.array([2.05, 2.05, 2.33, 2.05])[:, None]
_FIRST_MEAN = np.array([0.40, 0.40, 0.40, 0.45])[:, None]
_FIRST_WEIGHT = 20.0
_MOST_WEIGHT = 100.0
_START_GAIN = np.array([0.1, 0.1, 0.01, 0.01])[:, None]  # slower for the two that remember some sixteen readings
_SHAPE_PRIOR, _SHAPE_WEIGHT = 0.08, 60.0
_LEAST_SHAPE, _MOST_SHAPE = 0.001, 0.4
_MOST = float(np.finfo(np.float64).max)
_LEAST_START, _LEAST_MEAN = 0.5, 0.05
_LEARNT_EXCESS = 8.0  # in mean excesses
_OPENING_EXCESS = 2.0  # the same for what opened an anomaly: its like must still be told the next time,
_OPENING_HABIT = 2.0  # but what comes again and again is learnt faster, and becomes usual


def compress(statistics: Floats) -> Floats:
    """Linear to 8, logarithmic beyond: a step of 1,000 spreads counts like one of 47, so a few recurrences make it usual.

    Always finite: a wild value in a stream that never moved is infinitely many spreads away, and infinity times nothing would
    stay in the state as not a number.
    """
    statistics = np.minimum(statistics, _MOST)
    beyond = np.maximum(statistics, _LINEAR)
    return np.where(statistics > _LINEAR, _LINEAR * (1.0 + np.log(beyond / _LINEAR)), statistics)


def log_probability(block: Floats, statistics: Floats) -> Floats:
    """Natural log of the probability that a usual reading reaches `statistics` (4, m), <= 0."""
    begin = block[TAIL_START : TAIL_START + 4]
    mean = block[TAIL_MEAN : TAIL_MEAN + 4]
    excess = np.maximum(statistics - begin, 0.0)
    variance = np.maximum(block[TAIL_SQUARE : TAIL_SQUARE + 4] - mean * mean, 1e-12)
    weight = block[TAIL_COUNT : TAIL_COUNT + 4]
    shape = 0.5 * (1.0 - mean * mean / variance)
    shape = (weight * shape + _SHAPE_WEIGHT * _SHAPE_PRIOR) / (weight + _SHAPE_WEIGHT)
    shape = np.minimum(np.maximum(shape, _LEAST_SHAPE), _MOST_SHAPE)
    tail = np.log1p(shape * excess / (mean * (1.0 - shape))) / shape
    body = _LOG_BEYOND * np.minimum(statistics / begin, 1.0)
    return np.asarray(body - tail)


def learn(block: Floats, statistics: Floats, usual: Floats, opening: Mask) -> None:
    """Take in the statistics (4, m) of readings where `usual` is 1, and the excursions that end there or open an anomaly.

    Runs declustering: an excursion beyond the start counts once, with its highest value; otherwise a statistic that climbs over
    many readings would be learnt while it climbs and never be called rare.
    """
    begin = block[TAIL_START : TAIL_START + 4]
    mean = block[TAIL_MEAN : TAIL_MEAN + 4]
    square = block[TAIL_SQUARE : TAIL_SQUARE + 4]
    weight = block[TAIL_COUNT : TAIL_COUNT + 4]
    peak = block[TAIL_PEAK : TAIL_PEAK + 4]
    beyond = statistics > begin
    taken = np.maximum(usual, opening)
    np.maximum(peak, np.where(beyond, statistics * taken, 0.0), out=peak)
    ended = (peak > 0) & (~beyond | opening)
    opened = np.minimum(_OPENING_EXCESS + _OPENING_HABIT * block[HABIT], _LEARNT_EXCESS)
    most = np.where(opening, opened, _LEARNT_EXCESS) * mean
    excess = np.minimum(np.maximum(peak - begin, 0.0), most)
    gain = np.where(ended, 1.0 / (weight + 1.0), 0.0)
    begin += _START_GAIN * usual * mean * (beyond - BEYOND)
    np.maximum(begin, _LEAST_START, out=begin)
    square += gain * (excess * excess - square)
    mean += gain * (excess - mean)
    np.maximum(mean, _LEAST_MEAN, out=mean)
    weight += ended & (weight < _MOST_WEIGHT)
    peak *= ~ended


def start(block: Floats) -> None:
    """Set what a stream begins with."""
    fresh = block[COUNT] == 0
    for row, first in (
        (TAIL_START, _FIRST_START),
        (TAIL_MEAN, _FIRST_MEAN),
        (TAIL_SQUARE, 2.0 * _FIRST_MEAN**2),
        (TAIL_COUNT, np.full((STATISTICS, 1), _FIRST_WEIGHT)),
    ):
        block[row : row + STATISTICS] = np.where(fresh, first, block[row : row + STATISTICS])
