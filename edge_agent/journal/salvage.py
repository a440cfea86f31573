"""Repair of a damaged journal: what is readable is carried into a new file, the damaged one is kept aside.

Rules: the damaged file is only read. The new file is complete and synced before it gets the name `<journal>.salvage`, and
that name is the commit point: from there on `finish_swap` can be repeated after any interruption until the new file stands
in place. Only rows whose checksum is right are carried over; entries of the logs as they stand, because a chain tells by
itself what is wrong in it. The file may be of any version: a column that it lacks takes its default, a table it lacks is
empty. At most two damaged files are kept, the newest.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edge_agent.atomic import fsync_folder
from edge_agent.errors import StorageError
from edge_agent.journal.drops import DROP_FIGURES
from edge_agent.journal.reader import connect_reader
from edge_agent.journal.rows import (
    Unusable,
    open_closure,
    open_dead_letter,
    open_escalation,
    open_incident,
    open_message,
    open_meter,
    open_summary,
)
from edge_agent.journal.schema import connect_writer, migrate
from edge_agent.journal.store import suspect_path
from edge_agent.journal.trouble import DAMAGE_ERRORS, storage_error

KEPT_ASIDE: Final = 2
_MAX_PROBES: Final = 200_000
"""Numbers tried one by one between the two readable ends of a table; a second or two."""

_Columns = Mapping[str, str | None]

_TABLES: Final[dict[str, _Columns]] = {
    "incidents": dict.fromkeys(("explained", "message", "form", "crc", "body", "state", "revision", "id")),
    "summaries": dict.fromkeys(("form", "crc", "body", "revision")),
    "closures": dict.fromkeys(("form", "crc", "body")),
    "escalations": dict.fromkeys(("form", "crc", "body", "request", "revision", "state", "severity")),
    "outbox": {
        **dict.fromkeys(("queued_s", "priority", "flags", "crc", "topic", "correlation", "payload")),
        "since_s": "0.0",
    },
    "dead_letters": dict.fromkeys(
        ("reason", "queued_s", "buried_s", "priority", "flags", "crc", "topic", "correlation", "payload")
    ),
    "meters": dict.fromkeys(("crc", "body", "name")),
    "audit": dict.fromkeys(("hash", "body")),
    "egress": dict.fromkeys(("hash", "body")),
}
"""Each table and its columns after `number`, with what stands for one that the file lacks, None where it must be there.
Incidents come first, because the checksums of others cover the incident's id."""

_OF_INCIDENT: Final[dict[str, Callable[..., object]]] = {
    "summaries": open_summary,
    "closures": open_closure,
    "escalations": open_escalation,
}


def salvage(path: str, max_bytes: int, now_s: float) -> dict[str, int]:
    """Build `<path>.salvage` from what is readable in `path` and its log; returns rows carried over, by table.

    Raises StorageError if the new file cannot be written; the damaged one is unchanged then.
    """
    building = path + ".salvage.tmp"
    for name in (building, building + "-wal", building + "-shm"):
        Path(name).unlink(missing_ok=True)
    try:
        target = connect_writer(building, max_bytes)
        try:
            migrate(target)
            counts = _carry_over(path, target)
            target.execute(
                "UPDATE drops SET count = count + 1, first_s = CASE count WHEN 0 THEN ? ELSE first_s END, last_s = ?"
                " WHERE reason = 'damaged-file'",
                (now_s, now_s),
            )
        finally:
            target.close()
    except sqlite3.Error as error:
        raise storage_error(error, building, "salvaging a damaged journal") from error
    os.replace(building, path + ".salvage")
    fsync_folder(os.path.dirname(path) or ".")
    return counts


def finish_swap(path: str) -> str:
    """Move the damaged file aside and a complete `<path>.salvage` into place; returns the aside's path, empty for nothing to do.

    Raises StorageError.
    """
    if not os.path.exists(path + ".salvage"):
        return ""
    aside = f"{path}.damaged-{max(_aside_numbers(path), default=0) + 1}"
    try:
        # The log goes first: a log without its database would be taken for the new file's. Reading may have left an empty one.
        if os.path.lexists(path + "-wal") and not os.path.getsize(path + "-wal"):
            os.unlink(path + "-wal")
        for suffix in ("-wal", ""):
            if os.path.lexists(path + suffix):
                os.replace(path + suffix, aside + suffix)
        Path(path + "-shm").unlink(missing_ok=True)
        # A power cut may keep a later change of names and undo an earlier: the old log must not come back to the new file.
        fsync_folder(os.path.dirname(path) or ".")
        os.replace(path + ".salvage", path)
        fsync_folder(os.path.dirname(path) or ".")
        Path(suspect_path(path)).unlink(missing_ok=True)
        _forget_old(path)
    except OSError as error:
        raise StorageError(f"{path}: repaired, but not renamed: {error}; check the folder's rights and free space") from error
    return aside


def _carry_over(path: str, target: sqlite3.Connection) -> dict[str, int]:
    counts = dict.fromkeys(_TABLES, 0)
    try:
        source = connect_reader(path)
    except sqlite3.Error:
        return counts
    target.execute("BEGIN IMMEDIATE")
    for table, columns in _TABLES.items():
        marks = ", ".join("?" * (len(columns) + 1))
        insert = f"INSERT OR IGNORE INTO {table} (number, {', '.join(columns)}) VALUES ({marks})"
        for row in _readable(source, table, _selection(source, table, columns)):
            if not isinstance(_read(table, row, target), Unusable):
                with contextlib.suppress(sqlite3.IntegrityError, UnicodeError):
                    counts[table] += target.execute(insert, row).rowcount
    _carry_drops(source, target)
    target.execute("COMMIT")
    with contextlib.suppress(sqlite3.Error):
        source.close()
    return counts


def _selection(source: sqlite3.Connection, table: str, columns: _Columns) -> str:
    """What to select of a table for its columns; empty if it lacks one that must be there."""
    try:
        there = {name for (name,) in source.execute("SELECT name FROM pragma_table_info(?)", (table,))}
    except DAMAGE_ERRORS:
        # Its definition cannot be read; perhaps it is all there nevertheless.
        there = set(columns)
    chosen = [name if name in there else default for name, default in columns.items()]
    return "" if None in chosen else ", ".join(filter(None, chosen))


def _read(table: str, row: tuple[Any, ...], target: sqlite3.Connection) -> object:
    """The value of a row, or Unusable. What is of an incident is checked against the one that was carried over."""
    # The columns without a checksum may have any type in a damaged row.
    match table:
        case "incidents":
            typed = isinstance(row[1], int | None) and isinstance(row[2], int)
            return open_incident(*row[3:]) if typed else Unusable("damaged-row")
        case "outbox":
            typed = isinstance(row[1], float) and isinstance(row[8], float)
            return open_message(*row[2:8]) if typed else Unusable("damaged-row")
        case "dead_letters":
            return open_dead_letter(*row)
        case "meters":
            return open_meter(*row[1:])
        case "audit" | "egress":
            return row if isinstance(row[1], bytes) and isinstance(row[2], bytes) else Unusable("damaged-row")
        case _:
            known = target.execute("SELECT id FROM incidents WHERE number = ?", row[:1]).fetchone()
            return _OF_INCIDENT[table](*row[1:], *known) if known is not None else Unusable("damaged-row")


def _carry_drops(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """The counts of what was given up earlier."""
    with contextlib.suppress(*DAMAGE_ERRORS):
        rows = source.execute(f"SELECT {DROP_FIGURES}, reason FROM drops WHERE count > 0").fetchall()
        target.executemany("UPDATE drops SET count = ?, bytes = ?, first_s = ?, last_s = ? WHERE reason = ?", rows)


def _readable(source: sqlite3.Connection, table: str, selection: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a damaged table: from its start to the first fault, from its end to the last, then number by number between."""
    # `rowid` and not `number`: in a damaged schema they need not be the same, and the rowid is always an integer.
    if not selection:
        return
    select = f"SELECT rowid, {selection} FROM {table}"
    low = -(1 << 63)
    for row in _until_fault(source, f"{select} ORDER BY rowid", ()):
        if row[0] <= low:
            break
        low = row[0]
        yield row
    high: int | None = None
    for row in _until_fault(source, f"{select} WHERE rowid > ? ORDER BY rowid DESC", (low,)):
        if high is not None and row[0] >= high:
            break
        high = row[0]
        yield row
    if high is not None and high - low - 1 <= _MAX_PROBES:
        for number in range(low + 1, high):
            yield from _until_fault(source, f"{select} WHERE rowid = ?", (number,))


def _until_fault(source: sqlite3.Connection, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
    with contextlib.suppress(*DAMAGE_ERRORS):
        yield from source.execute(query, values)


def _aside_numbers(path: str) -> list[int]:
    folder, name = os.path.split(path)
    pattern = re.compile(re.escape(name) + r"\.damaged-(\d+)")
    return sorted(int(match[1]) for entry in os.listdir(folder or ".") if (match := pattern.fullmatch(entry)))


def _forget_old(path: str) -> None:
    for number in _aside_numbers(path)[:-KEPT_ASIDE]:
        for suffix in ("", "-wal"):
            Path(f"{path}.damaged-{number}{suffix}").unlink(missing_ok=True)
