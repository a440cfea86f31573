"""Predictions: each kind of stream gets the one that serves it, and an outlier moves none far."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.detect import level
from edge_agent.detect.state import COUNT, FIELDS, LAST, QUANTUM, SCALE, SLOW, TREND, Floats
from tests.series import Series, walk, white

SLOW_ONE, LAST_ONE, TREND_ONE = 0, 2, 3


def learnt(series: Series) -> Floats:
    block = np.zeros((FIELDS, 1))
    ones = np.ones(1)
    for i, value in enumerate(series):
        values = np.array([value])
        if i == 0:
            level.start(block, values, np.array([True]))
        level.learn_quantum(block, np.abs(values - block[LAST]))
        level.learn(block, values, values - level.predictions(block), level.floor(block), ones, ones)
        block[COUNT] += 1
    return block


def test_a_steady_stream_is_predicted_by_its_slow_level() -> None:
    block = learnt(white(1, 2000, level=40.0, spread=2.0))
    assert level.best(block)[0] in (SLOW_ONE, 1)
    assert block[SLOW, 0] == pytest.approx(40.0, abs=0.5)
    assert block[SCALE, 0] == pytest.approx(2.0, rel=0.15)


def test_a_walk_is_predicted_by_its_last_value() -> None:
    assert level.best(learnt(walk(2, 2000)))[0] == LAST_ONE


def test_a_climb_is_predicted_by_its_trend() -> None:
    block = learnt(3.0 * np.arange(1000.0) + white(3, 1000))
    assert level.best(block)[0] == TREND_ONE
    assert block[TREND, 0] == pytest.approx(3.0, rel=0.05)


def test_an_outlier_moves_the_slow_level_by_three_scales_of_a_step_at_most() -> None:
    series = white(4, 500)
    before = learnt(series)
    after = learnt(np.append(series, 1e9))
    moved = abs(after[SLOW, 0] - before[SLOW, 0])
    assert moved <= 3.0 * before[SCALE, 0] * level.SLOW_GAIN * 1.001
    assert after[SCALE, 0] <= before[SCALE, 0] * 1.05


def test_nothing_is_learnt_where_told_not_to_but_the_last_value() -> None:
    block = learnt(white(5, 100))
    before = block.copy()
    values, none = np.array([50.0]), np.zeros(1)
    level.learn(block, values, values - level.predictions(block), level.floor(block), none, none)
    assert block[LAST, 0] == 50.0
    block[LAST] = before[LAST]
    assert (block == before).all()


def test_the_quantum_is_the_smallest_change_seen() -> None:
    assert learnt(np.array([5.0, 5.0, 5.0]))[QUANTUM, 0] == 0.0
    assert learnt(np.array([5.0, 6.0, 6.25, 8.0]))[QUANTUM, 0] == 0.25


def test_the_error_is_never_believed_smaller_than_the_resolution() -> None:
    assert level.floor(learnt(np.full(10, 200.0)))[0] == 2.0
    assert level.floor(learnt(np.array([200.0, 200.5] * 5)))[0] == 0.25
    assert level.floor(learnt(np.zeros(5)))[0] == level.TINY


def test_median_and_deviation_leave_gaps_out_and_resist_outliers() -> None:
    centre, spread = level.robust(np.array([[np.nan, 1.0, 2.0, 3.0, 4.0, 500.0]]))
    assert (centre[0], spread[0]) == (3.0, 1.4826)


def test_the_scale_of_steps() -> None:
    assert level.step_scale(white(6, 20_000)[None, :])[0] == pytest.approx(2**0.5, rel=0.02)
