"""A recording as a source: the rows of a CSV file, played at their own pace, at a multiple of it, or as fast as it goes.

Rules: the first column is the time, every other one a stream; an empty or unreadable cell is no reading; columns that
hold labels (`LABELS`) are left out, because a label is not a sensor. Rows are read as they are due, so a recording may
be longer than the memory. Readings carry no time: to the agent the recording happens now, only faster.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from edge_agent.errors import InputError

ROWS_A_SECOND = 20.0
"""The pace where none is asked for: the detectors' warm-up then takes seconds."""
ROWS_AT_ONCE = 50
LABELS = frozenset({"anomaly", "changepoint", "is_anomaly", "label"})
AS_FAST_AS_IT_GOES = math.inf


def speed_of(text: str) -> float:
    """The option's value: a positive number or `max`. Raises argparse.ArgumentTypeError."""
    if text == "max":
        return AS_FAST_AS_IT_GOES
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed: give a number above 0, or max")
    return speed


class Recording:
    """The rows of `path`, at `speed` times their own pace; None: `ROWS_A_SECOND`. Raises InputError for what is no recording."""

    def __init__(self, path: Path, speed: float | None = None) -> None:
        self.path = path
        self._speed = speed
        self._asset = _name(path.stem)
        self._rows = self._read()
        self._first_s: float | None = None
        self._given = 0
        self._next = next(self._rows, None)
        if self._next is None:
            raise InputError("bad-recording", f"{path}: holds no reading; expected a time column and at least one more")

    def due(self, elapsed_s: float) -> list[tuple[str, bytes]]:
        """See `Source.due`."""
        messages: list[tuple[str, bytes]] = []
        limit = self._given + ROWS_AT_ONCE
        while self._next is not None and self._given < limit and self._due_s() <= elapsed_s:
            messages += self._next[1]
            self._given += 1
            self._next = next(self._rows, None)
        return messages

    def next_s(self) -> float | None:
        """See `Source.next_s`."""
        return None if self._next is None else self._due_s()

    def units(self) -> dict[str, str]:
        """See `Source.units`: a recording says nothing of units."""
        return {"+": ""}

    def readings_each(self) -> int:
        """See `Source.readings_each`."""
        return self._given

    def _due_s(self) -> float:
        if self._next is None or self._speed == AS_FAST_AS_IT_GOES:
            return 0.0
        if self._speed is None:
            return self._given / ROWS_A_SECOND
        if self._first_s is None:
            self._first_s = self._next[0]
        return (self._next[0] - self._first_s) / self._speed

    def _read(self) -> Iterator[tuple[float, list[tuple[str, bytes]]]]:
        try:
            with self.path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
                head = file.readline()
                delimiter = ";" if head.count(";") > head.count(",") else ","
                names = [name.strip() for name in next(csv.reader([head], delimiter=delimiter), [])]
                topics = [f"sensors/{self._asset}/{_name(name)}" if name.lower() not in LABELS else "" for name in names]
                for number, row in enumerate(csv.reader(file, delimiter=delimiter), start=2):
                    if row and (messages := _messages(topics, row)):
                        yield self._time_s(row[0], number), messages
        except OSError as error:
            raise InputError("bad-recording", f"{self.path}: {error.strerror or error}") from error

    def _time_s(self, text: str, line: int) -> float:
        """ISO 8601 or a number of seconds; only differences count, so a missing zone does not matter."""
        for read in (float, lambda written: datetime.fromisoformat(written).timestamp()):
            try:
                return float(read(text.strip()))
            except ValueError:
                continue
        raise InputError("bad-recording", f"{self.path}:{line}:1: {text[:40]!r} is no time; expected ISO 8601 or seconds")


def _messages(topics: list[str], row: list[str]) -> list[tuple[str, bytes]]:
    messages = []
    for topic, cell in zip(topics[1:], row[1:], strict=False):
        try:
            value = float(cell)
        except ValueError:
            continue
        if topic and math.isfinite(value):
            messages.append((topic, cell.strip().encode()))
    return messages


def _name(text: str) -> str:
    """A column's name as one topic level."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-") or "unnamed"
