"""A recording in CSV: a time column, then one stream a column; comma or semicolon.

Rules: the first column is the time, ISO 8601 (UTC where no zone is named) or a number since 1970 (seconds; milli-, micro- or
nanoseconds where the first one is that large); every other column is a stream, except those ignored on request. An empty cell
or NaN is no reading. What cannot be read is refused with its place, `file:line: column: problem`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from edge_agent.errors import InputError
from edge_agent.messages.times import parse_time

_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""A number since 1970 that is at least the first is in parts of a second, so many to the second."""


class Row(Struct, frozen=True):
    """One row: its time as written and in seconds since 1970, and a value or None for each stream."""

    stamp: str
    time_s: float
    values: tuple[float | None, ...]


class Table:
    """A recording being read: `streams`, then its rows one by one. Raises InputError as `file:line: column: problem`."""

    def __init__(self, lines: Iterable[str], name: str, ignore: Sequence[str] = ()) -> None:
        self._name = name
        iterator = iter(lines)
        head = next(iterator, "").removeprefix("\ufeff")
        delimiter = ";" if head.count(";") > head.count(",") else ","
        self._rows = csv.reader(iterator, delimiter=delimiter)
        self._header = [cell.strip() for cell in next(csv.reader([head], delimiter=delimiter), [])]
        self._check_header(ignore)
        self._kept = [i for i, column in enumerate(self._header) if i > 0 and column not in ignore]
        self.streams = tuple(self._header[i] for i in self._kept)
        self._per_second: float | None = None

    def _check_header(self, ignore: Sequence[str]) -> None:
        if len(self._header) < 2:
            raise self._problem(1, "-", "expected a header: a time column, then one column a stream, separated by , or ;")
        for i, column in enumerate(self._header):
            if not column and i > 0:
                raise self._problem(1, f"column {i + 1}", "has no name; every column after the first names a stream")
            if column in self._header[:i]:
                raise self._problem(1, column, "stands twice in the header; give every stream a name of its own")
            if i > 0 and _number(column) is not None:
                raise self._problem(1, column, "is a number; the first line must name the columns")
        unknown = [column for column in ignore if column not in self._header[1:]]
        if unknown:
            raise self._problem(1, unknown[0], f"is no stream of this file; it has {', '.join(self._header[1:])}")
        if set(self._header[1:]) <= set(ignore):
            raise self._problem(1, "-", "every column is ignored; leave at least one stream")

    def __iter__(self) -> Iterator[Row]:
        try:
            for cells in self._rows:
                if cells:
                    yield self._row(cells, self._rows.line_num + 1)
        except csv.Error as error:
            raise self._problem(self._rows.line_num + 1, "-", f"cannot be read as CSV: {error}") from error

    def _row(self, cells: list[str], line: int) -> Row:
        if len(cells) != len(self._header):
            raise self._problem(line, "-", f"has {len(cells)} cells; the header names {len(self._header)} columns")
        values = tuple(self._value(cells[i], self._header[i], line) for i in self._kept)
        return Row(cells[0], self._time_s(cells[0].strip(), line), values)

    def _value(self, cell: str, column: str, line: int) -> float | None:
        text = cell.strip()
        if not text:
            return None
        value = _number(text)
        if value is None or math.isinf(value):
            raise self._problem(line, column, f"{text[:40]!r} is no number; expected a finite number, NaN or an empty cell")
        return None if math.isnan(value) else value

    def _time_s(self, text: str, line: int) -> float:
        number = _number(text)
        try:
            if number is None or not math.isfinite(number):
                return parse_time(text)
            if self._per_second is None:
                self._per_second = next((parts for least, parts in _UNITS if abs(number) >= least), 1.0)
            return parse_time(number / self._per_second)
        except ValueError as error:
            raise self._problem(line, self._header[0] or "column 1", str(error)) from error

    def _problem(self, line: int, column: str, problem: str) -> InputError:
        return InputError("bad-csv", f"{self._name}:{line}: {column}: {problem}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
