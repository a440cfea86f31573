"""The tables of the journal, as a table of migrations, and the settings of a connection that writes.

Rules: a released migration is never changed, only followed by the next; each runs in one transaction with its
`user_version`; `docs/formats/journal.md` describes the result in prose.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, TypeAlias

from edge_agent.journal.records import DropReason
from edge_agent.journal.rows import read_text
from edge_agent.journal.trouble import DAMAGE_ERRORS

APPLICATION_ID: Final = 0x45646A6C
"""`Edjl`: marks a SQLite file as this journal."""
PAGE_BYTES: Final = 2048
"""Smaller than the usual 4096: a commit of one incident touches four pages, each written whole."""
WRITER_CACHE_KB: Final = 1_024
"""What a commit touches is at the ends of the tables; the rest is read once, at the start."""

Migration: TypeAlias = tuple[str, ...]
"""The statements that lead from one version to the next."""

_REASONS_1: Final[tuple[DropReason, ...]] = (
    "outbox-full",
    "file-full",
    "too-large",
    "damaged-row",
    "unreadable-row",
    "damaged-file",
    "incident-expired",
)
_REASONS_2: Final[tuple[DropReason, ...]] = (
    "too-old",
    "write-budget",
    "buried",
    "dead-letter-expired",
    "escalation-expired",
    "log-shortened",
)
_LOG: Final = "(number INTEGER PRIMARY KEY, hash BLOB NOT NULL, body BLOB NOT NULL)"


def _drop_rows(reasons: Sequence[DropReason]) -> tuple[str, ...]:
    """A row for each reason. Their page exists from the start, so that a drop can be counted when no page is left."""
    return tuple(
        f"INSERT INTO drops (reason, count, bytes, first_s, last_s) VALUES ('{reason}', 0, 0, 0, 0)" for reason in reasons
    )


MIGRATIONS: Final[tuple[Migration, ...]] = (
    (
        """CREATE TABLE incidents (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL, revision INTEGER NOT NULL,
            explained INTEGER, message INTEGER NOT NULL, form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)""",
        # Few rows at a time, so that looking for work reads one page however long the history is.
        "CREATE INDEX incidents_to_explain ON incidents (number) WHERE explained IS NULL OR explained < revision",
        """CREATE TABLE summaries (
            number INTEGER PRIMARY KEY, revision INTEGER NOT NULL,
            form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)""",
        """CREATE TABLE closures (
            number INTEGER PRIMARY KEY, form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)""",
        """CREATE TABLE outbox (
            number INTEGER PRIMARY KEY, queued_s REAL NOT NULL, priority INTEGER NOT NULL, flags INTEGER NOT NULL,
            crc INTEGER NOT NULL, topic TEXT NOT NULL, correlation BLOB NOT NULL, payload BLOB NOT NULL)""",
        """CREATE TABLE drops (
            number INTEGER PRIMARY KEY, reason TEXT NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,
            first_s REAL NOT NULL, last_s REAL NOT NULL)""",
        *_drop_rows(_REASONS_1),
    ),
    (
        "DROP INDEX incidents_to_explain",
        # Rows of version 1 begin to age now: how long they waited before is only known by a clock that may have been wrong.
        "ALTER TABLE outbox ADD COLUMN since_s REAL NOT NULL DEFAULT 0",
        """CREATE TABLE escalations (
            number INTEGER PRIMARY KEY, request TEXT NOT NULL, revision INTEGER NOT NULL, state INTEGER NOT NULL,
            severity REAL NOT NULL, form INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)""",
        "CREATE INDEX escalations_pending ON escalations (severity DESC, number) WHERE state < 2",
        "CREATE INDEX escalations_by_request ON escalations (request)",
        """CREATE TABLE meters (
            number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, crc INTEGER NOT NULL, body BLOB NOT NULL)""",
        f"CREATE TABLE audit {_LOG}",
        f"CREATE TABLE egress {_LOG}",
        """CREATE TABLE dead_letters (
            number INTEGER PRIMARY KEY, queued_s REAL NOT NULL, buried_s REAL NOT NULL, reason TEXT NOT NULL,
            priority INTEGER NOT NULL, flags INTEGER NOT NULL, crc INTEGER NOT NULL,
            topic TEXT NOT NULL, correlation BLOB NOT NULL, payload BLOB NOT NULL)""",
        *_drop_rows(_REASONS_2),
    ),
)


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring a database to the newest version; returns the version it had. Raises `DAMAGE_ERRORS`; each step is all or nothing."""
    before = int(db.execute("PRAGMA user_version").fetchone()[0])
    for version, statements in enumerate(migrations[before:], start=before + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {version}")
            db.execute("COMMIT")
        except DAMAGE_ERRORS:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    return before


def shape(db: sqlite3.Connection) -> dict[str, str]:
    """The definition of every table and index by name, white space aside, to compare a file with what the migrations make."""
    rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {str(name): " ".join(str(sql).split()) for name, sql in rows}


def expected_shape(migrations: Sequence[Migration] = MIGRATIONS) -> dict[str, str]:
    """The `shape` of a file of the newest version."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(db, migrations)
        return shape(db)
    finally:
        db.close()


def log_bytes(max_bytes: int) -> int:
    """The part of the limit that the write-ahead log gets; it is folded in then."""
    return min(4 << 20, max_bytes // 8)


def reserve_bytes(max_bytes: int) -> int:
    """The part of the limit that is kept for a full disk; see `room`."""
    return min(1 << 20, max_bytes // 16)


def file_pages(db: sqlite3.Connection, max_bytes: int) -> int:
    """The pages that the database may have."""
    page_bytes = int(db.execute("PRAGMA page_size").fetchone()[0])
    return (max_bytes - log_bytes(max_bytes) - reserve_bytes(max_bytes)) // page_bytes


def connect_writer(path: str, max_bytes: int) -> sqlite3.Connection:
    """A connection for the writer thread: WAL, every commit synced, size limited. Raises `DAMAGE_ERRORS`.

    `max_bytes` is for the database, its log and the reserve together; see `log_bytes` and `reserve_bytes`.
    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    db.text_factory = read_text
    try:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cell_size_check = ON")
        db.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KB}")
        # Some builds overwrite deleted content with zeros: writes that flash memory does not need.
        db.execute("PRAGMA secure_delete = OFF")
        page_bytes = int(db.execute("PRAGMA page_size").fetchone()[0])
        db.execute(f"PRAGMA wal_autocheckpoint = {log_bytes(max_bytes) // page_bytes}")
        db.execute(f"PRAGMA journal_size_limit = {log_bytes(max_bytes)}")
        db.execute(f"PRAGMA max_page_count = {file_pages(db, max_bytes)}")
    except DAMAGE_ERRORS:
        db.close()
        raise
    return db
