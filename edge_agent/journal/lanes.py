"""The numbers of the waiting messages by priority, in memory: what is given up first is found without looking at the file.

Rules: one owner, the writer thread; changes belong to the transaction under way and are kept or undone with it. Nine bytes
a message: an index in the file would cost a page more in every commit, and a search through the outbox grows with it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

_SLACK: Final = 1_024
"""Entries of removed messages that a lane may hold beyond as many as are alive."""


class Lane:
    """Numbers in ascending order, such as of one priority, and whether each is still there."""

    def __init__(self) -> None:
        self.numbers = array("q")
        self.alive = bytearray()
        self.count = 0
        self.start = 0
        """Everything before it is gone."""

    def set(self, number: int, alive: bool) -> bool:
        """Note that a number is there or gone; False if that was known."""
        newest = not self.numbers or number > self.numbers[-1]
        place = len(self.numbers) if newest else bisect_left(self.numbers, number, self.start)
        found = place < len(self.numbers) and self.numbers[place] == number
        if (bool(self.alive[place]) if found else False) == alive:
            return False
        if found:
            self.alive[place] = alive
        else:
            self.numbers.insert(place, number)
            self.alive.insert(place, 1)
        self.count += 1 if alive else -1
        return True

    def trim(self) -> None:
        """Pass over what is gone at the start, and forget what is gone altogether when it is more than what is there."""
        while self.start < len(self.alive) and not self.alive[self.start]:
            self.start += 1
        if len(self.numbers) > 2 * self.count + _SLACK:
            self.numbers = array("q", self)
            self.alive = bytearray(b"\1" * self.count)
            self.start = 0

    def __iter__(self) -> Iterator[int]:
        for place in range(self.start, len(self.numbers)):
            if self.alive[place]:
                yield self.numbers[place]


class Lanes:
    """All waiting messages."""

    def __init__(self) -> None:
        self._lanes: dict[int, Lane] = {}
        self._changes: list[tuple[int, int, bool]] = []

    def add(self, number: int, priority: int) -> None:
        """A message was queued."""
        self._set(priority, number, alive=True)

    def remove(self, number: int, priority: int) -> None:
        """A message was deleted."""
        self._set(priority, number, alive=False)

    def first(self, count: int) -> list[int]:
        """The numbers of up to `count` messages, the lowest priority first, and of that the oldest."""
        found: list[int] = []
        for priority in sorted(self._lanes):
            for number in self._lanes[priority]:
                if len(found) == count:
                    return found
                found.append(number)
        return found

    def commit(self) -> None:
        """Keep the changes since the last commit or rollback."""
        for priority in {priority for priority, _, _ in self._changes}:
            self._lanes[priority].trim()
        self._changes.clear()

    def rollback(self) -> None:
        """Undo the changes since the last commit or rollback."""
        for priority, number, alive in reversed(self._changes):
            self._lanes[priority].set(number, not alive)
        self._changes.clear()

    def _set(self, priority: int, number: int, *, alive: bool) -> None:
        if self._lanes.setdefault(priority, Lane()).set(number, alive):
            self._changes.append((priority, number, alive))
