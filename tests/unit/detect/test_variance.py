"""Roughness and runs."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.detect import variance
from edge_agent.detect.state import COUNT, FIELDS, LONGEST, REPEATS, ROUGHNESS, RUN, RUN_TIME, Floats
from tests.series import Series, white


def block_of_one() -> Floats:
    block = np.zeros((FIELDS, 1))
    variance.start(block)
    return block


def rough(steps: Series, block: Floats) -> list[float]:
    found, one = [], np.ones(1)
    for step in np.abs(steps):
        found.append(float(variance.roughness(block, np.array([step]), one)[0]))
        variance.learn(block, one)
    return found


def runs(values: list[float], block: Floats, trusted: float = 1.0) -> list[float]:
    found, one = [], np.full(1, trusted)
    for i, value in enumerate(values):
        equal = np.array([i > 0 and value == values[i - 1]])
        found.append(float(variance.repeats(block, equal, np.array([float(i)]))[0]))
        variance.learn_repeats(block, equal, one)
        block[COUNT] += 1
    return found


def test_usual_steps_have_a_roughness_of_one_and_three_times_rougher_ones_stand_out() -> None:
    block = block_of_one()
    usual = rough(white(1, 3000), block)
    assert block[ROUGHNESS, 0] == pytest.approx(1.0, abs=0.4)
    assert max(usual) < 6.0
    assert max(rough(3.0 * white(2, 30), block)) > 7.0


def test_a_smoother_stream_is_not_rough() -> None:
    assert rough(np.zeros(50), block_of_one())[-1] == 0.0


def test_a_stream_that_never_repeats_needs_few_repeats_to_be_stuck() -> None:
    block = block_of_one()
    runs([float(value) for value in white(3, 300)], block)
    found = runs([1.0] * 12, block)
    assert found[4] == 0.0
    assert found[9] < np.log(1e-6)
    assert (block[RUN, 0], block[RUN_TIME, 0]) == (11.0, 0.0)


def test_a_stream_that_often_repeats_needs_a_long_run() -> None:
    block = block_of_one()
    runs([float(value) for value in np.repeat(np.arange(40), 10)], block)
    assert block[REPEATS, 0] > 0.8
    assert block[LONGEST, 0] == 9.0
    assert min(runs([77.0] * 20, block)) == 0.0
    assert min(runs([78.0] * 300, block, trusted=0.1)) < np.log(1e-6)


def test_a_constant_stream_is_never_stuck() -> None:
    assert min(runs([5.0] * 20_000, block_of_one())) > np.log(0.05)
