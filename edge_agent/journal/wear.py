"""How much the journal has written in the last day of running time, and whether that is enough: flash memory wears.

Rules: measured, not estimated. `/proc/thread-self/io` of the writer thread counts what it made the file system write:
`write_bytes` whole pages of the page cache when they become dirty, which is what ext4 and f2fs send to the flash memory apart
from their own bookkeeping; where that stays zero (tmpfs, some overlays and network file systems) `wchar`, the bytes given to
`write`, which SQLite's log and its folding in are. A day is 24 hours in which the agent ran, in steps of an hour, by the
monotonic clock, so that neither a restart nor a clock that is set begins a new one.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec
from msgspec import Struct

from edge_agent.clock import Clock

METER: Final = "journal-wear"
SAVE_BYTES: Final = 1 << 20
"""The most that a power cut may take from the count."""
_HOURS: Final = 24
_IO: Final = "/proc/thread-self/io"


class _Saved(Struct, frozen=True):
    running_s: float
    hours: list[int]
    """Bytes by hour of running time, the current hour's last."""


class Wear:
    """The count of one journal. One owner, the writer thread, after it was made; others read `day_bytes` and `spent`."""

    def __init__(self, clock: Clock, limit_bytes: int) -> None:
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._start_s = clock.monotonic_s()
        self._before_s = 0.0
        self._hours = [0] * _HOURS
        self._hour = 0
        self._io: int | None = None
        self._read = (0, 0)
        self._to_flash = False
        self._unsaved = 0
        self.day_bytes = 0
        self.total_bytes = 0
        """Since the journal was opened."""

    @property
    def spent(self) -> bool:
        """Whether the day's limit is reached."""
        return 0 < self._limit_bytes <= self.day_bytes

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._unsaved >= SAVE_BYTES

    def load(self, saved: bytes | None) -> None:
        """Go on from what was saved."""
        try:
            state = msgspec.json.decode(saved or b"", type=_Saved)
        except msgspec.DecodeError:
            return
        self._before_s = max(0.0, state.running_s)
        self._hour = int(self._before_s // 3600)
        self._hours = ([0] * _HOURS + [max(0, count) for count in state.hours])[-_HOURS:]
        self.day_bytes = sum(self._hours)

    def measure(self) -> None:
        """Take in what the calling thread has written since the last call; the first call begins. The writer thread only."""
        written = self._written()
        hour = int(self._running_s() // 3600)
        passed = min(_HOURS, max(0, hour - self._hour))
        self._hours = (self._hours + [0] * passed)[-_HOURS:]
        self._hour = max(hour, self._hour)
        self._hours[-1] += written
        self.total_bytes += written
        self._unsaved += written
        self.day_bytes = sum(self._hours)

    def body(self) -> bytes:
        """The state to be saved; it counts as saved."""
        self._unsaved = 0
        return msgspec.json.encode(_Saved(self._running_s(), self._hours))

    def close(self) -> None:
        """Give back what reading takes. The writer thread has ended."""
        if self._io is not None:
            os.close(self._io)
            self._io = None

    def _running_s(self) -> float:
        return self._before_s + max(0.0, self._clock.monotonic_s() - self._start_s)

    def _written(self) -> int:
        """Bytes since the last call; 0 where the system does not count."""
        try:
            if self._io is None:
                self._io = os.open(_IO, os.O_RDONLY | os.O_CLOEXEC)
                self._read = _figures(self._io)
            flash, calls = _figures(self._io)
        except OSError:
            return 0
        (flash_before, calls_before), self._read = self._read, (flash, calls)
        self._to_flash = self._to_flash or flash > flash_before
        return flash - flash_before if self._to_flash else calls - calls_before


def _figures(io: int) -> tuple[int, int]:
    """`write_bytes` and `wchar` of the thread that opened the file."""
    lines = os.pread(io, 1_024, 0).split(b"\n")
    figures = {name: int(value) for name, _, value in (line.partition(b": ") for line in lines) if value}
    return figures.get(b"write_bytes", 0), figures.get(b"wchar", 0)
