"""This host's own live metrics, read from the kernel's files: load, processor, memory, disk, network, temperature.

Rules: nothing but /proc, /sys and the file system is asked, so that the demo needs no further library; what this host
does not have (a container often has no temperature) is left out, never made up. Rates are over the time between two
reads, so the first read has none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

ASSET = "host"
UNITS: dict[str, str] = {
    "load": "",
    "cpu": "%",
    "memory": "%",
    "disk": "%",
    "network-in": "kB/s",
    "network-out": "kB/s",
    "temperature": "°C",
}
"""Every metric this module knows, and its unit. `load` is the one-minute load average, which has none."""


class Counters(Struct, frozen=True):
    """The kernel's counters that only grow; a rate is what they grew by."""

    at_s: float
    busy_ticks: int
    all_ticks: int
    bytes_in: int
    bytes_out: int


class HostMetrics:
    """Reads the metrics of the machine whose root folder is `root`. One owner: it remembers the last counters."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._last: Counters | None = None

    def read(self, monotonic_s: float) -> dict[str, float]:
        """Metric name -> value, in the units of `UNITS`; only what this host has, and rates from the second read on."""
        values = dict(self._levels())
        counters = self._counters(monotonic_s)
        if counters is not None and self._last is not None:
            values.update(_rates(self._last, counters))
        self._last = counters
        return values

    def _levels(self) -> Iterator[tuple[str, float]]:
        loadavg = self._text("proc/loadavg").split()
        if loadavg:
            yield "load", float(loadavg[0])
        meminfo = dict(line.split(":", 1) for line in self._text("proc/meminfo").splitlines() if ":" in line)
        if "MemTotal" in meminfo and "MemAvailable" in meminfo:
            total, available = (float(meminfo[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
            yield "memory", 100.0 * (1.0 - available / total)
        disk = os.statvfs(self._root)
        if disk.f_blocks:
            yield "disk", 100.0 * (1.0 - disk.f_bavail / disk.f_blocks)
        temperatures = [int(text) / 1000.0 for text in self._thermal_zones()]
        if temperatures:
            yield "temperature", max(temperatures)

    def _thermal_zones(self) -> Iterator[str]:
        for path in sorted((self._root / "sys/class/thermal").glob("thermal_zone*/temp")):
            text = self._text(str(path.relative_to(self._root))).strip()
            if text.lstrip("-").isdigit():
                yield text

    def _counters(self, monotonic_s: float) -> Counters | None:
        stat = self._text("proc/stat").splitlines()
        lines = [line.replace(":", " ").split() for line in self._text("proc/net/dev").splitlines()[2:]]
        network = [line for line in lines if len(line) > 9 and line[0] != "lo"]
        if not stat or not stat[0].startswith("cpu "):
            return None
        ticks = [int(number) for number in stat[0].split()[1:9]]
        return Counters(
            at_s=monotonic_s,
            busy_ticks=sum(ticks) - ticks[3] - ticks[4],  # all but idle and iowait
            all_ticks=sum(ticks),
            bytes_in=sum(int(line[1]) for line in network),
            bytes_out=sum(int(line[9]) for line in network),
        )

    def _text(self, name: str) -> str:
        try:
            return (self._root / name).read_text(encoding="ascii", errors="replace")
        except OSError:
            return ""


def _rates(last: Counters, now: Counters) -> Iterator[tuple[str, float]]:
    elapsed_s = now.at_s - last.at_s
    ticks = now.all_ticks - last.all_ticks
    if ticks > 0:
        yield "cpu", 100.0 * (now.busy_ticks - last.busy_ticks) / ticks
    if elapsed_s > 0:
        yield "network-in", max(0, now.bytes_in - last.bytes_in) / elapsed_s / 1000.0
        yield "network-out", max(0, now.bytes_out - last.bytes_out) / elapsed_s / 1000.0
