"""Thresholds, the meaning of the score, opening and ending."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.detect import episodes
from edge_agent.detect.state import (
    AGE,
    CALM,
    CALM_TIME,
    CAUSE,
    COUNT,
    ERROR,
    EXPECTED,
    FIELDS,
    GROWTH,
    HABIT,
    INTERVAL,
    ONSET,
    PEAK_SIZE,
    PEAK_VALUE,
    RECENT_COUNT,
    RECENT_TIME,
    REST,
    SCALE,
    SLOW,
    SLOW_SCALE,
    Floats,
)

LN10 = float(np.log(10.0))


def block_of(columns: int = 1) -> Floats:
    block = np.zeros((FIELDS, columns))
    block[INTERVAL] = 1.0
    block[SCALE : SCALE + 4] = 1.0
    return block


def test_the_threshold_follows_from_the_allowed_alarms_and_the_pace() -> None:
    block = block_of(3)
    block[INTERVAL] = [1.0, 60.0, 86_400.0]
    chance = np.exp(episodes.thresholds(block, 0.2)) * episodes.TESTS
    assert chance == pytest.approx([0.2 / 86_400, 0.2 / 1_440, 1e-3])


def test_habit_raises_the_threshold_by_decades_and_runs_off() -> None:
    block = block_of()
    plain = episodes.thresholds(block, 0.2)[0]
    block[HABIT] = 2.0
    assert episodes.thresholds(block, 0.2)[0] == pytest.approx(plain - 2 * LN10)
    for _ in range(5000):
        episodes.relax(block)
    assert block[HABIT, 0] < 0.02


def test_the_score_is_a_half_at_the_threshold_and_a_tenth_more_for_each_decade() -> None:
    threshold = np.array([-14.0])
    decades = [float(episodes.raw_scores(threshold - n * LN10, threshold)[0]) for n in (0.0, 1.0, 3.0, 50.0)]
    assert decades == pytest.approx([0.5, 0.6, 0.8, 1.0])
    assert episodes.raw_scores(np.array([-7.0]), threshold)[0] == pytest.approx(0.25)
    assert episodes.raw_scores(np.array([-0.0]), threshold)[0] == 0.0
    assert episodes.raw_scores(np.array([-13.9999]), threshold)[0] < 0.5


def test_what_is_strange_is_trusted_less() -> None:
    assert episodes.trust(np.array([0.0, 0.2, 0.3, 0.4, 1.0])) == pytest.approx([1.0, 1.0, 0.5, 0.1, 0.1])


def test_scores_are_high_exactly_for_openings_and_for_restless_readings_of_open_anomalies() -> None:
    block = block_of(4)
    block[AGE] = [0.0, 1.0, 3.0, 0.0]
    raw = np.array([0.9, 0.9, 0.3, 0.9])
    opening = np.array([True, False, False, False])
    going_on = np.array([False, True, True, False])
    calm = np.array([False, False, True, True])
    shown = episodes.shown_scores(block, raw, opening, going_on, calm)
    assert shown == pytest.approx([0.9, 0.7, 0.3, 0.499])


def begin(cause: int, block: Floats) -> None:
    one = np.array([0])
    reading = (np.array([100.0]), np.array([7.0]), np.array([6.5]), np.array([0.8]))
    episodes.open_(block, one, np.array([cause]), (np.array([1.0]), np.array([0.5]), np.array([1])), reading)


def test_an_opening_freezes_the_prediction_it_was_judged_by() -> None:
    block = block_of()
    begin(episodes.UP, block)
    assert block[[CAUSE, AGE, EXPECTED, ERROR, ONSET, PEAK_SIZE, PEAK_VALUE], 0].tolist() == [1, 0, 1.0, 0.5, 100.0, 6.5, 7.0]
    assert block[GROWTH, 0] == 1 / 256
    assert block[HABIT, 0] > 0


def test_a_change_began_when_the_recent_mean_was_last_unremarkable() -> None:
    block = block_of()
    block[COUNT], block[RECENT_COUNT], block[RECENT_TIME], block[SLOW] = 500, 490, 90.0, 2.0
    begin(episodes.CHANGE, block)
    assert block[[ONSET, AGE, EXPECTED, ERROR], 0].tolist() == [90.0, 10.0, 2.0, 1.0]


def test_an_onset_is_never_that_of_an_earlier_anomaly() -> None:
    block = block_of()
    begin(episodes.UP, block)
    begin(episodes.UP, block)
    assert block[ONSET, 0] > 100.0


def test_an_anomaly_ends_after_enough_calm_in_a_row_and_dates_its_end_by_the_first() -> None:
    block = block_of()
    begin(episodes.UP, block)
    pattern = [False, True, True, False] + [True] * episodes.CALM_READINGS
    ends = []
    for i, calm in enumerate(pattern):
        reading = (np.array([101.0 + i]), np.array([1.0]), np.array([0.1]), np.array([0.1]))
        ends.append(bool(episodes.go_on(block, np.array([True]), np.array([calm]), reading)[0]))
    assert ends == [False] * (len(pattern) - 1) + [True]
    assert block[CALM_TIME, 0] == 105.0
    assert block[CALM, 0] == episodes.CALM_READINGS


def test_an_anomaly_that_stays_ends_when_it_is_old() -> None:
    block = block_of()
    begin(episodes.UP, block)
    restless = (np.array([101.0]), np.array([9.0]), np.array([8.0]), np.array([0.9]))
    ends = [bool(episodes.go_on(block, np.array([True]), np.array([False]), restless)[0]) for _ in range(episodes.ADOPT_AFTER)]
    assert ends == [False] * (episodes.ADOPT_AFTER - 1) + [True]
    assert block[[PEAK_SIZE, PEAK_VALUE], 0].tolist() == [8.0, 9.0]


def test_the_frozen_prediction_grows_uncertain_up_to_the_slow_scale() -> None:
    block = block_of()
    block[SLOW_SCALE] = 2.0
    begin(episodes.UP, block)
    block[GROWTH] = 1.0
    scales = []
    for age in (0.0, 2.0, 1000.0):
        block[AGE] = age
        expected, scale, _ = episodes.expectation(block, np.array([True]), np.array([1e-9]))
        assert expected[0] == 1.0
        scales.append(float(scale[0]))
    assert scales == pytest.approx([0.5 * 2**0.5, 1.0, 2.0])


def test_rest_runs_off_by_the_reading() -> None:
    block = block_of()
    block[REST] = 2.0
    left = []
    for _ in range(3):
        episodes.relax(block)
        left.append(float(block[REST, 0]))
    assert left == [1.0, 0.0, 0.0]
