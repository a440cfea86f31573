"""Opening the journal: lock, check, repair, migrate. Whatever is on the disk, the service gets a file it can use.

Rules: damage never stops the start; it is repaired and reported. What a person must put right (rights, space, another
process) is a StorageError. A file of a newer version than this program knows is treated as damaged: its rows are carried
into a file of this version and it is kept aside.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Sequence

from msgspec.structs import replace

from edge_agent.clock import Clock
from edge_agent.errors import StorageError
from edge_agent.journal.records import OpeningReport
from edge_agent.journal.salvage import finish_swap, salvage
from edge_agent.journal.schema import APPLICATION_ID, MIGRATIONS, Migration, connect_writer, expected_shape, migrate, shape
from edge_agent.journal.store import suspect_path
from edge_agent.journal.trouble import DAMAGE_ERRORS, is_environment, primary_code, storage_error


class _DamagedError(Exception):
    """The file's content is wrong; the text says how."""


def lock(path: str) -> int:
    """Take the journal for this process; returns the descriptor that holds the lock. Raises StorageError."""
    try:
        fd = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be locked: {error.strerror}; the folder must exist and the service's user may write there"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StorageError(f"{path}: in use by another edge-agent; stop that one first") from error
    return fd


def open_database(
    path: str, max_bytes: int, clock: Clock, migrations: Sequence[Migration] = MIGRATIONS
) -> tuple[sqlite3.Connection, OpeningReport]:
    """A connection for the writer to a file that is whole and of the newest version, and what was found.

    Call with the lock held. Raises StorageError.
    """
    report = OpeningReport(path=path)
    if aside := finish_swap(path):
        report = replace(report, damage="a repair was interrupted; it is finished now", aside=aside)
    try:
        db, version = _open_whole(path, max_bytes, migrations)
        return db, replace(report, created=version is None, version_before=version or 0)
    except _DamagedError as damage:
        counts = salvage(path, max_bytes, clock.now_s())
        report = OpeningReport(
            path=path,
            damage=str(damage),
            aside=finish_swap(path),
            salvaged_incidents=counts["incidents"],
            salvaged_summaries=counts["summaries"],
            salvaged_messages=counts["outbox"],
        )
    try:
        return _open_whole(path, max_bytes, migrations)[0], report
    except _DamagedError as damage:
        raise StorageError(f"{path}: a new journal is damaged at once: {damage}; replace the storage") from damage


def _open_whole(path: str, max_bytes: int, migrations: Sequence[Migration]) -> tuple[sqlite3.Connection, int | None]:
    """The connection, and the version found, None for a new file. Raises _DamagedError, StorageError."""
    new = _is_new(path)
    db: sqlite3.Connection | None = None
    try:
        db = connect_writer(path, max_bytes)
        new = new or _is_begun_only(db)
        if not new:
            _check(db, len(migrations))
        version = migrate(db, migrations)
        _check_shape(db, migrations)
    except (_DamagedError, *DAMAGE_ERRORS) as error:
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()
        if isinstance(error, _DamagedError):
            raise
        if isinstance(error, sqlite3.Error) and _is_machines_fault(error, path):
            raise storage_error(error, path, "opening") from error
        raise _DamagedError(str(error)) from error
    return db, None if new else version


def _is_new(path: str) -> bool:
    """True if there is no journal yet. Raises _DamagedError for what only damage or a stranger leaves."""
    if os.path.exists(suspect_path(path)):
        raise _DamagedError("found damaged while it ran")
    try:
        size = os.path.getsize(path) if os.path.lexists(path) else None
    except OSError as error:
        raise _DamagedError(f"cannot be looked at: {error.strerror}") from error
    if size is not None and not os.path.isfile(path):
        raise StorageError(f"{path}: not a file; move it away")
    log = os.path.exists(path + "-wal") and os.path.getsize(path + "-wal") > 0
    if log and not size:
        raise _DamagedError("the database is gone, only its log is there")
    return not size


def _is_begun_only(db: sqlite3.Connection) -> bool:
    """True for a file with SQLite's header and nothing else: what a power cut in the very first opening leaves."""
    figures = [int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "application_id", "user_version")]
    return figures in ([0, 0, 0], [1, 0, 0]) and not shape(db)


def _check(db: sqlite3.Connection, known_version: int) -> None:
    """Raises _DamagedError or sqlite3.Error if the file is not a whole journal of a version up to `known_version`."""
    if int(db.execute("PRAGMA application_id").fetchone()[0]) != APPLICATION_ID:
        raise _DamagedError("not a journal of edge-agent")
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if not 1 <= version <= known_version:
        raise _DamagedError(f"format version {version}, this program knows 1 to {known_version}")
    # Not quick_check: it leaves out the indexes, and one that disagrees with its table fails later, at a write. There are
    # two small ones; 52 MB took 0.2 s either way.
    found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)")]
    if found != ["ok"]:
        raise _DamagedError("; ".join(found))


def _check_shape(db: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Raises _DamagedError unless the tables are as the migrations make them and the file takes a write."""
    if shape(db) != expected_shape(migrations):
        raise _DamagedError("its tables are not those of this version")
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE drops SET count = count")
    db.execute("ROLLBACK")


def _is_machines_fault(error: sqlite3.Error, path: str) -> bool:
    """True if a person must put something right. "Read-only" for a file that may be written comes from a damaged header."""
    writable = os.access(path, os.W_OK) and os.access(os.path.dirname(path) or ".", os.W_OK)
    return is_environment(error) and not (primary_code(error) == sqlite3.SQLITE_READONLY and writable)
