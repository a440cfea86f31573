"""A simulated pump line whose faults are known: several pumps, five sensors each, seven kinds of fault.

Rules: the same seed gives the same readings and the same faults; the truth is kept apart from the readings and is shown
to nobody before the end. A reading is a usual level, a slow swing of the load that the whole line shares, noise that
remembers a little of itself, and the fault of the moment, if any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from edge_agent.values import Direction, Kind


class Sensor(Struct, frozen=True):
    """What one sensor of a pump usually shows."""

    name: str
    unit: str
    level: float
    swing: float
    """How far the line's load moves it, up and down."""
    noise: float
    """Standard deviation of its noise."""


SENSORS: tuple[Sensor, ...] = (
    Sensor("vibration", "mm/s", 2.4, 0.08, 0.10),
    Sensor("temperature", "°C", 62.0, 0.8, 0.25),
    Sensor("pressure", "bar", 5.8, 0.06, 0.05),
    Sensor("current", "A", 14.2, 0.30, 0.18),
    Sensor("flow", "m³/h", 41.0, 0.60, 0.35),
)
SWING_PERIOD_S = 45.0
NOISE_MEMORY = 0.3
"""How much of one noise value is left in the next."""


class Fault(Struct, frozen=True, kw_only=True):
    """One fault of one stream, as it really is. Times are seconds since the simulation's start."""

    stream: str
    kind: Kind
    direction: Direction
    start_s: float
    end_s: float
    size: float
    """Times the sensor's noise; 0 where the kind has no size."""


class Step(Struct, frozen=True):
    """One reading of the simulation; `value` is None while the sensor is silent."""

    stream: str
    value: float | None


# stream's sensor, kind, direction, length in seconds, size: what happens, in this order, one pump after the other.
_SCRIPT: tuple[tuple[tuple[str, Kind, Direction, float, float], ...], ...] = (
    (("vibration", "spike", "up", 0.3, 30.0),),
    (("pressure", "shift", "down", 12.0, 14.0), ("flow", "shift", "down", 12.0, 12.0), ("current", "shift", "up", 12.0, 10.0)),
    (("flow", "silence", "none", 10.0, 0.0),),
    (("current", "noise", "none", 10.0, 7.0),),
    (("pressure", "dip", "down", 0.3, 30.0),),
    (("temperature", "drift", "up", 15.0, 24.0),),
    (("vibration", "stuck", "none", 12.0, 0.0),),
    (("vibration", "shift", "up", 12.0, 16.0), ("temperature", "drift", "up", 14.0, 16.0)),
)
GAP_S = 8.0
"""From one fault's start to the next one's, on another pump."""


class PumpLine:
    """The simulation: `step(tick)` must be called for tick 0, 1, 2, ... in order. One owner."""

    def __init__(
        self, *, seed: int = 1, pumps: int = 3, rate_hz: float = 10.0, quiet_s: float = 14.0, length_s: float = 600.0
    ) -> None:
        self._rate_hz = rate_hz
        self._random = np.random.default_rng(seed)
        self._sensors = [(f"pump-{number}/{sensor.name}", sensor) for number in range(1, pumps + 1) for sensor in SENSORS]
        self._noise = dict.fromkeys(self.streams, 0.0)
        self._held: dict[str, float] = {}
        self.faults = tuple(_schedule(seed, pumps, quiet_s, length_s))
        """The truth."""

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of all streams, `pump-1/vibration` and so on."""
        return tuple(stream for stream, _ in self._sensors)

    def step(self, tick: int) -> list[Step]:
        """One reading of every stream."""
        now_s = tick / self._rate_hz
        swing = math.sin(2.0 * math.pi * now_s / SWING_PERIOD_S)
        active = {fault.stream: fault for fault in self.faults if fault.start_s <= now_s < fault.end_s}
        return [Step(stream, self._value(stream, sensor, swing, active.get(stream), now_s)) for stream, sensor in self._sensors]

    def _value(self, stream: str, sensor: Sensor, swing: float, fault: Fault | None, now_s: float) -> float | None:
        fresh = float(self._random.normal()) * math.sqrt(1.0 - NOISE_MEMORY**2)
        self._noise[stream] = NOISE_MEMORY * self._noise[stream] + fresh
        noise = self._noise[stream]
        if fault is not None and fault.kind == "noise":
            noise *= fault.size
        value = sensor.level + sensor.swing * swing + sensor.noise * noise
        if fault is None:
            self._held[stream] = value
            return value
        if fault.kind == "silence":
            return None
        if fault.kind == "stuck":
            return self._held.setdefault(stream, value)
        return value + sensor.noise * _offset(fault, now_s)


def _offset(fault: Fault, now_s: float) -> float:
    """What the fault adds, in times of the sensor's noise."""
    if fault.kind == "noise":
        return 0.0
    sign = -1.0 if fault.direction == "down" else 1.0
    grown = (now_s - fault.start_s) / (fault.end_s - fault.start_s) if fault.kind == "drift" else 1.0
    return sign * fault.size * grown


def _schedule(seed: int, pumps: int, quiet_s: float, length_s: float) -> Iterator[Fault]:
    """The script over and over until `length_s`, each turn on the next pump; sizes vary a little with the seed."""
    random = np.random.default_rng([seed, pumps])
    turn = 0
    while (start_s := quiet_s + turn * GAP_S) < length_s:
        pump = turn % pumps + 1
        for sensor, kind, direction, lasts_s, size in _SCRIPT[turn % len(_SCRIPT)]:
            yield Fault(
                stream=f"pump-{pump}/{sensor}",
                kind=kind,
                direction=direction,
                start_s=start_s,
                end_s=start_s + lasts_s,
                size=size * float(random.uniform(0.9, 1.2)),
            )
        turn += 1
