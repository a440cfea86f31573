"""Tails: calibrated on a normal stream, adapted to a heavy one, not blinded by one anomaly."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.detect import tails
from edge_agent.detect.state import COUNT, FIELDS, TAIL_MEAN, TAIL_PEAK, TAIL_START, Floats
from tests.series import Series, white

ONE, NONE = np.ones(1), np.array([False])


def fresh() -> Floats:
    block = np.zeros((FIELDS, 1))
    tails.start(block)
    return block


def four(value: float) -> Floats:
    return np.full((tails.STATISTICS, 1), value)


def learn(block: Floats, series: Series) -> Floats:
    for value in series:
        tails.learn(block, tails.compress(four(value)), ONE, NONE)
    return block


def threshold(block: Floats, probability: float) -> float:
    """The statistic that is as rare as `probability`."""
    grid = np.linspace(0.0, 200.0, 20_001)
    found = np.array([tails.log_probability(block, four(value))[tails.UP, 0] for value in grid[::20]])
    return float(grid[::20][int(np.argmax(found <= np.log(probability)))])


def test_a_new_stream_is_judged_like_a_normal_one_somewhat_carefully() -> None:
    assert 3.5 < threshold(fresh(), 1e-4) < 5.5
    assert 5.0 < threshold(fresh(), 1e-6) < 9.0


def test_probabilities_fall_with_the_statistic_and_stay_below_one() -> None:
    block = learn(fresh(), np.abs(white(1, 500)))
    found = [float(tails.log_probability(block, four(value))[tails.UP, 0]) for value in (0.0, 1.0, 2.0, 3.0, 10.0, 1e6)]
    assert found[0] == 0.0
    assert found == sorted(found, reverse=True)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_start_settles_where_two_in_a_hundred_are_beyond(seed: int) -> None:
    series = np.maximum(white(seed, 20_000), 0.0)
    block = learn(fresh(), series)
    assert np.mean(series > block[TAIL_START + tails.UP, 0]) == pytest.approx(0.02, abs=0.012)
    assert np.mean(series > block[TAIL_START + tails.CHANGE, 0]) == pytest.approx(0.02, abs=0.012)


def test_the_probability_of_one_in_ten_thousand_is_about_right_on_normal_noise() -> None:
    block = learn(fresh(), np.maximum(white(7, 20_000), 0.0))
    beyond = np.mean(white(8, 400_000) > threshold(block, 1e-3))
    assert 1e-5 < beyond < 1e-3


def test_a_heavy_tail_raises_the_threshold() -> None:
    heavy = np.abs(np.random.default_rng(1).standard_t(3, 5000))
    assert threshold(learn(fresh(), heavy), 1e-6) > 1.5 * threshold(learn(fresh(), np.abs(white(1, 5000))), 1e-6)


def test_an_excursion_is_learnt_once_and_when_it_is_over() -> None:
    block = fresh()
    before = float(block[TAIL_MEAN, 0])
    for value in (3.0, 4.0, 5.0):
        tails.learn(block, four(value), ONE, NONE)
    assert block[TAIL_MEAN, 0] == before
    assert block[TAIL_PEAK, 0] == 5.0
    tails.learn(block, four(0.5), ONE, NONE)
    assert block[TAIL_MEAN, 0] > before
    assert block[TAIL_PEAK, 0] == 0.0


def test_one_huge_anomaly_does_not_blind() -> None:
    block = learn(fresh(), np.abs(white(1, 1000)))
    before = threshold(block, 1e-6)
    tails.learn(block, tails.compress(four(1e9)), np.zeros(1), np.array([True]))
    assert threshold(block, 1e-6) < 1.6 * before


def test_compression_is_linear_then_logarithmic_and_continuous() -> None:
    found = [float(tails.compress(four(value))[0, 0]) for value in (0.0, 5.0, 8.0, 8.001, 1000.0)]
    assert found == pytest.approx([0.0, 5.0, 8.0, 8.001, 46.626], abs=1e-3)


def test_what_is_infinitely_far_stays_a_number() -> None:
    far = tails.compress(np.array([np.inf, np.finfo(np.float64).max, 1e300]))
    assert np.isfinite(far).all()
    assert far[0] == far[1] > far[2]


def test_the_start_sets_only_streams_without_readings() -> None:
    block = np.zeros((FIELDS, 2))
    block[COUNT] = [0.0, 5.0]
    tails.start(block)
    assert block[TAIL_START, 0] > 0
    assert block[TAIL_START, 1] == 0
