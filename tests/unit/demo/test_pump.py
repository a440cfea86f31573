"""The simulated pump line: repeatable, faults where the truth says, and nothing unusual elsewhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge_agent.demo.pump import SENSORS, Fault, PumpLine
from edge_agent.values import KINDS

RATE_HZ = 10.0
LENGTH_S = 120.0


def run(line: PumpLine) -> dict[str, list[float | None]]:
    values: dict[str, list[float | None]] = {stream: [] for stream in line.streams}
    for tick in range(int(LENGTH_S * RATE_HZ)):
        for step in line.step(tick):
            values[step.stream].append(step.value)
    return values


def span(values: list[float | None], fault: Fault) -> list[float | None]:
    return values[int(np.ceil(fault.start_s * RATE_HZ)) : int(np.ceil(fault.end_s * RATE_HZ))]


@pytest.fixture(scope="module")
def line() -> PumpLine:
    return PumpLine(seed=1, length_s=LENGTH_S)


@pytest.fixture(scope="module")
def values(line: PumpLine) -> dict[str, list[float | None]]:
    return run(line)


def test_the_same_seed_gives_the_same_readings_and_another_gives_others(values: dict[str, list[float | None]]) -> None:
    assert run(PumpLine(seed=1, length_s=LENGTH_S)) == values
    assert run(PumpLine(seed=2, length_s=LENGTH_S)) != values


def test_every_kind_of_fault_is_shown_and_every_kind_is_known(line: PumpLine) -> None:
    assert {fault.kind for fault in line.faults} == set(KINDS)


def test_faults_come_after_the_quiet_start_and_never_two_on_one_stream(line: PumpLine) -> None:
    assert min(fault.start_s for fault in line.faults) >= 14.0
    for one, other in itertools.combinations(line.faults, 2):
        assert one.stream != other.stream or one.end_s < other.start_s or other.end_s < one.start_s


def test_each_fault_is_in_the_readings(line: PumpLine, values: dict[str, list[float | None]]) -> None:
    sensors = {sensor.name: sensor for sensor in SENSORS}
    for fault in (fault for fault in line.faults if fault.end_s < LENGTH_S):
        sensor = sensors[fault.stream.partition("/")[2]]
        there = span(values[fault.stream], fault)
        if fault.kind == "silence":
            assert set(there) == {None}
            continue
        numbers = np.array(there, dtype=float)
        moved = (numbers - sensor.level) / sensor.noise
        if fault.kind == "stuck":
            assert len(set(there)) == 1
        elif fault.kind == "noise":
            assert np.std(numbers) > 4 * sensor.noise
        elif fault.direction == "up":
            assert moved.max() > 8
        else:
            assert moved.min() < -8


def test_outside_of_faults_nothing_is_unusual(line: PumpLine, values: dict[str, list[float | None]]) -> None:
    for stream, sensor in zip(line.streams, SENSORS * 3, strict=True):
        series = list(values[stream])
        for fault in (fault for fault in line.faults if fault.stream == stream):
            first, last = int(fault.start_s * RATE_HZ), int(np.ceil(fault.end_s * RATE_HZ))
            series[first:last] = [None] * len(series[first:last])
        quiet = np.array([value for value in series if value is not None])
        assert np.abs(quiet - sensor.level).max() < sensor.swing + 6 * sensor.noise
