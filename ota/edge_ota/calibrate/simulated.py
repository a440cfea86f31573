"""Incidents as the device's own detection makes them: simulated sensors with faults, screened and grouped by the device's code.

Rules: seeded; one reading a second and stream; each asset has its own book of incidents, so that a busy world is no storm.
Of every incident one published revision is kept, drawn with equal chance: a summary is written for each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.config.settings import DetectSettings, IncidentSettings
from edge_agent.detect.bank import DetectorBank
from edge_agent.detect.contract import Classifier
from edge_agent.incidents import IncidentBook
from edge_agent.values import Incident, Kind, Reading

ASSETS = 12
TICKS = 1_200
_QUIET_TICKS = 240
_EPISODE_TICKS = (150, 330)
_NOISE_MEMORY = 0.3

Grid = NDArray[np.float64]


class Sensor(Struct, frozen=True):
    """What a sensor of the simulated plant usually shows."""

    name: str
    unit: str
    level: float
    noise: float


SENSORS: tuple[Sensor, ...] = (
    Sensor("vibration", "mm/s", 2.4, 0.10),
    Sensor("temperature", "°C", 62.0, 0.25),
    Sensor("pressure", "bar", 5.8, 0.05),
    Sensor("current", "A", 14.2, 0.18),
    Sensor("flow", "m³/h", 41.0, 0.35),
    Sensor("speed", "1/min", 1480.0, 3.0),
    Sensor("humidity", "%", 47.0, 0.4),
    Sensor("leakage", "mA", 0.0031, 0.0001),
    Sensor("queue", "", 120.0, 2.0),
    Sensor("power", "W", 5_400.0, 40.0),
)
_FAULTS: tuple[tuple[Kind, float], ...] = (
    ("spike", 0.22),
    ("dip", 0.16),
    ("shift", 0.22),
    ("drift", 0.12),
    ("stuck", 0.08),
    ("noise", 0.10),
    ("silence", 0.10),
)


def incidents(seed: int, classifier: Classifier | None) -> Iterator[Incident]:
    """An endless stream of incidents, one simulated world after the other."""
    world = 0
    while True:
        yield from _world(np.random.default_rng([seed, world]), seed * 1_000 + world, classifier)
        world += 1


def _world(random: np.random.Generator, number: int, classifier: Classifier | None) -> Iterator[Incident]:
    """All incidents of twenty simulated minutes on `ASSETS` assets."""
    streams: list[tuple[str, Sensor]] = []
    for asset in range(ASSETS):
        chosen = sorted(random.choice(len(SENSORS), size=int(random.integers(2, 6)), replace=False))
        streams += [(f"unit-{number % 100}-{asset}/{SENSORS[k].name}", SENSORS[k]) for k in chosen]
    grid = _readings(random, streams)
    start_s = 1_767_225_600.0 + float(random.integers(0, 300 * 86_400)) + 0.25
    bank = DetectorBank(DetectSettings(), classifier)
    books = {name.partition("/")[0]: IncidentBook(IncidentSettings(), salt=f"world-{number}") for name, _ in streams}
    revisions: dict[str, list[Incident]] = {}
    for tick in range(TICKS):
        now_s = start_s + tick
        told = bank.tick(now_s, now_s)
        told += bank.update(
            [
                Reading(name, now_s, float(value), sensor.unit)
                for (name, sensor), value in zip(streams, grid[tick], strict=True)
                if np.isfinite(value)
            ]
        ).anomalies
        for name, book in books.items():
            for incident in book.update([a for a in told if a.stream.startswith(f"{name}/")], now_s):
                revisions.setdefault(incident.id, []).append(incident)
    for found in revisions.values():
        yield found[int(random.integers(len(found)))]


def _readings(random: np.random.Generator, streams: list[tuple[str, Sensor]]) -> Grid:
    """Readings of shape (TICKS, streams); NaN where a sensor is silent."""
    noise = random.normal(size=(TICKS, len(streams))) * np.sqrt(1 - _NOISE_MEMORY**2)
    for tick in range(1, TICKS):
        noise[tick] += _NOISE_MEMORY * noise[tick - 1]
    scale = np.array([sensor.noise for _, sensor in streams])
    grid: Grid = np.array([sensor.level for _, sensor in streams]) + noise * scale
    by_asset: dict[str, list[int]] = {}
    for column, (name, _) in enumerate(streams):
        by_asset.setdefault(name.partition("/")[0], []).append(column)
    for columns in by_asset.values():
        tick = _QUIET_TICKS + int(random.integers(0, 60))
        while tick < TICKS - 60:
            _episode(random, grid, columns, tick, scale)
            tick += int(random.integers(*_EPISODE_TICKS))
    return grid


def _episode(random: np.random.Generator, grid: Grid, columns: list[int], tick: int, scale: Grid) -> None:
    """Faults that belong together: one or several streams, often the same fault in all, sometimes one after the other."""
    count = min(len(columns), int(random.choice([1, 2, 3, 4], p=[0.45, 0.3, 0.15, 0.1])))
    alike = random.random() < 0.5
    apart = int(random.choice([1, 4, 40]))
    kinds, weights = zip(*_FAULTS, strict=True)
    kind: Kind = random.choice(kinds, p=weights)
    sign = float(random.choice([-1.0, 1.0]))
    for column in random.choice(columns, size=count, replace=False):
        begin = tick + int(random.integers(0, apart + 1))
        _fault(random, grid[begin:, column], kind, sign, float(scale[column]))
        if not alike:
            kind, sign = random.choice(kinds, p=weights), float(random.choice([-1.0, 1.0]))


def _fault(random: np.random.Generator, values: Grid, kind: Kind, sign: float, noise: float) -> None:
    """Change a stream's readings in place, from now on."""
    lasts = min(len(values), int(random.choice([25, 50, 90, 150, 100_000], p=[0.25, 0.25, 0.25, 0.15, 0.1])))
    size = noise * float(random.uniform(9, 40))
    match kind:
        case "spike" | "dip":
            values[: int(random.integers(1, 4))] += size * (1 if kind == "spike" else -1) * 1.5
        case "shift":
            values[:lasts] += sign * size
        case "drift":
            values[:lasts] += sign * size * np.arange(1, lasts + 1) / min(lasts, 120)
        case "stuck":
            values[:lasts] = values[0]
        case "noise":
            values[:lasts] += random.normal(size=lasts) * noise * float(random.uniform(5, 10))
        case _:
            values[:lasts] = np.nan
