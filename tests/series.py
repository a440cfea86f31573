"""Seeded synthetic series for the tests of detection, and a bank that takes them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.config.settings import DetectSettings
from edge_agent.detect.bank import DetectorBank
from edge_agent.detect.contract import Classifier
from edge_agent.values import Anomaly, Reading

Series = NDArray[np.float64]


def white(seed: int, count: int, level: float = 0.0, spread: float = 1.0) -> Series:
    return level + spread * np.random.default_rng(seed).normal(size=count)


def autoregressive(seed: int, count: int, memory: float = 0.9) -> Series:
    noise, series = white(seed, count), np.zeros(count)
    for i in range(1, count):
        series[i] = memory * series[i - 1] + noise[i]
    return series


def walk(seed: int, count: int) -> Series:
    return np.cumsum(white(seed, count))


def seasonal(seed: int, count: int, period: int = 200, height: float = 5.0) -> Series:
    wave: Series = height * np.sin(2 * np.pi * np.arange(count) / period)
    return wave + white(seed, count)


def feed(
    series: Mapping[str, Sequence[float] | Series],
    *,
    interval_s: float = 1.0,
    start_s: float = 1_700_000_000.0,
    settings: DetectSettings | None = None,
    classifier: Classifier | None = None,
    batch: int = 0,
) -> tuple[dict[str, list[float]], list[Anomaly]]:
    """Feed series of equal pace, `batch` readings at a time (0: one of each stream); scores a stream, and all that was told."""
    bank = DetectorBank(settings or DetectSettings(), classifier)
    readings = [
        Reading(name, start_s + i * interval_s, float(values[i]))
        for i in range(max(len(values) for values in series.values()))
        for name, values in series.items()
        if i < len(values)
    ]
    size = batch or len(series)
    scores: dict[str, list[float]] = {name: [] for name in series}
    told: list[Anomaly] = []
    for begin in range(0, len(readings), size):
        part = readings[begin : begin + size]
        detected = bank.update(part)
        for reading, score in zip(part, detected.scores, strict=True):
            scores[reading.stream].append(float(score))
        told += detected.anomalies
    return scores, told


def final(told: Sequence[Anomaly]) -> list[Anomaly]:
    """Each anomaly as it was told last, by onset."""
    return sorted({anomaly.key: anomaly for anomaly in told}.values(), key=lambda anomaly: anomaly.onset_s)
