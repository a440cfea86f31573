"""What the demo publishes, and when: the simulated line with this host's metrics, or a recording.

Rules: a source knows nothing of MQTT or of clocks; it is asked for what is due after so many seconds, and answers with
(topic, payload) pairs, each once. Topics are `sensors/<asset>/<measure>`, payloads are numbers as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from edge_agent.demo.host import ASSET, UNITS, HostMetrics
from edge_agent.demo.pump import SENSORS, PumpLine

HOST_INTERVAL_S = 0.5
LOAD_EVERY = 10
"""The kernel computes its load every 5 s; read more often, it would be a staircase."""
RATE_HZ = 10.0


class Source(Protocol):
    """Something to publish."""

    def due(self, elapsed_s: float) -> list[tuple[str, bytes]]:
        """What is to be published by `elapsed_s` seconds after the start and was not given out before."""

    def next_s(self) -> float | None:
        """When there is more, in seconds after the start; None when there is no more."""

    def units(self) -> dict[str, str]:
        """The last level of each topic, and the unit of what is published there."""

    def readings_each(self) -> int:
        """How many readings each stream had so far, the fewest of the fast ones: how far the warm-up is."""


class LiveSource:
    """The pump line at `RATE_HZ` and this host at `1 / HOST_INTERVAL_S`."""

    def __init__(self, line: PumpLine, host: HostMetrics) -> None:
        self._line = line
        self._host = host
        self._tick = 0
        self._host_reads = 0

    def due(self, elapsed_s: float) -> list[tuple[str, bytes]]:
        """See `Source.due`."""
        return [*self._pumps(elapsed_s), *self._metrics(elapsed_s)]

    def _pumps(self, elapsed_s: float) -> Iterator[tuple[str, bytes]]:
        while self._tick / RATE_HZ <= elapsed_s:
            for step in self._line.step(self._tick):
                if step.value is not None:
                    yield f"sensors/{step.stream}", b"%.3f" % step.value
            self._tick += 1

    def _metrics(self, elapsed_s: float) -> Iterator[tuple[str, bytes]]:
        # Unlike the simulation, what the host showed at a time that has passed cannot be read any more.
        due = int(elapsed_s / HOST_INTERVAL_S) + 1
        if self._host_reads < due:
            self._host_reads = due
            values = self._host.read(elapsed_s)
            if (due - 1) % LOAD_EVERY:
                values.pop("load", None)
            for name, value in values.items():
                yield f"sensors/{ASSET}/{name}", b"%.3f" % value

    def next_s(self) -> float | None:
        """See `Source.next_s`."""
        return min(self._tick / RATE_HZ, self._host_reads * HOST_INTERVAL_S)

    def units(self) -> dict[str, str]:
        """See `Source.units`."""
        # Both know a temperature, in the same unit.
        return {**{sensor.name: sensor.unit for sensor in SENSORS}, **UNITS}

    def readings_each(self) -> int:
        """See `Source.readings_each`."""
        return self._tick
