"""Time and chance for tests of sources: both stand where they are put."""

from __future__ import annotations


class At:
    """A clock that is put forward by hand."""

    def __init__(self, now_s: float = 1.7e9) -> None:
        self.wall_s = now_s
        self.s = 100.0

    def now_s(self) -> float:
        return self.wall_s

    def monotonic_s(self) -> float:
        return self.s


class Longest:
    """Chance that always draws the most."""

    def uniform(self, a: float, b: float) -> float:
        return b
