"""The change statistic: silent on noise, loud on a shift, deaf to one wild reading."""

from __future__ import annotations

import numpy as np

from edge_agent.detect import change
from edge_agent.detect.state import COUNT, FIELDS, RECENT_COUNT, RECENT_TIME, Floats
from tests.series import Series, white


def sizes(deviations: Series, block: Floats) -> list[float]:
    found, one = [], np.ones(1)
    for i, deviation in enumerate(deviations):
        if i == 0:
            change.start(block)
        found.append(float(change.statistic(block, np.array([deviation]), np.array([float(i)]), one)[0]))
        change.learn(block, one)
        block[COUNT] += 1
    return found


def test_white_noise_stays_within_a_few_of_its_own_scales() -> None:
    found = sizes(white(1, 5000), np.zeros((FIELDS, 1)))
    assert 0.5 < float(np.mean(found)) < 1.2
    assert max(found) < 6.0


def test_a_shift_of_two_spreads_is_seen_within_some_fifteen_readings_and_dated() -> None:
    block = np.zeros((FIELDS, 1))
    deviations = white(2, 520)
    deviations[500:] += 2.0
    found = sizes(deviations, block)
    assert max(found[500:516]) > 4.5
    assert 490 <= block[RECENT_TIME, 0] <= 506
    assert block[RECENT_COUNT, 0] == block[RECENT_TIME, 0]


def test_one_wild_reading_is_no_change() -> None:
    deviations = white(3, 501)
    deviations[500] = 1e6
    assert sizes(deviations, np.zeros((FIELDS, 1)))[500] < 4.0


def test_nothing_is_taken_in_where_masked() -> None:
    block = np.zeros((FIELDS, 1))
    change.start(block)
    assert change.statistic(block, np.array([9.0]), np.array([1.0]), np.zeros(1))[0] == 0.0
