"""SQLite's errors in our words: what kind of trouble an error code means, and what a person can do about it.

Rules: nothing is changed here; only the free space is looked at, because SQLite reports a full disk in several ways and a
full file in the same way. The codes are those of https://www.sqlite.org/rescode.html; the low byte is the primary code.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Final

from edge_agent.errors import StorageError

DAMAGE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises: the binding cannot decode a message in which SQLite quotes damaged bytes."""

_ADVICE: dict[int, str] = {
    sqlite3.SQLITE_FULL: "it is at its limit and all that it holds must stay (open, unexplained or undelivered incidents);"
    " raise journal.max_bytes",
    sqlite3.SQLITE_IOERR: "the disk reports an input/output error; see the kernel log, replace the storage if it repeats",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restart the service, it salvages what is readable",
    sqlite3.SQLITE_NOTADB: "the file is damaged; restart the service, it salvages what is readable",
    sqlite3.SQLITE_READONLY: "the file is read-only; remount the file system writable, check the file's owner",
    sqlite3.SQLITE_PERM: "access denied; give the service's user write access to the folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that the folder exists and that the service's user may write there",
    sqlite3.SQLITE_BUSY: "another program holds the file; stop it",
    sqlite3.SQLITE_LOCKED: "another program holds the file; stop it",
    sqlite3.SQLITE_NOMEM: "out of memory; lower the limits of the configuration",
}

_DISK_FULL: Final = "no space left; free space on that file system, nothing stored before is lost"
_DISK_LOW: Final = (
    "its file system is nearly full and all that it holds must stay (open, unexplained or undelivered incidents);"
    " free space there"
)
FULL_BYTES: Final = 1 << 18
"""A file system with less free than this is full: what SQLite has to write does not fit any more."""
_LOST_CONTENT = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
"""I/O errors that mean that a part of the file cannot be read: trying again would not help, salvaging the rest does."""


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; SQLITE_ERROR for errors of the Python binding itself."""
    return _code(error) & 0xFF


def is_damage(error: sqlite3.Error | ValueError) -> bool:
    """True if the error means that the file's content is wrong."""
    if not isinstance(error, sqlite3.Error):
        return isinstance(error, UnicodeDecodeError)
    return primary_code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or _code(error) in _LOST_CONTENT


def is_environment(error: sqlite3.Error) -> bool:
    """True if the error comes from the machine (space, disk, rights, memory, another process), not from content or query."""
    return primary_code(error) in _ADVICE and not is_damage(error)


def disk_is_full(path: str) -> bool:
    """True if the file system of `path` has less than `FULL_BYTES` left for us."""
    free = free_bytes(path)
    return free is not None and free < FULL_BYTES


def free_bytes(path: str) -> int | None:
    """What the file system of `path` has left for us; None if it does not say."""
    try:
        stat = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return None
    return stat.f_bavail * stat.f_frsize


def storage_error(error: sqlite3.Error | UnicodeDecodeError, path: str, doing: str, *, low: bool = False) -> StorageError:
    """`error` as a StorageError that says what failed, where, and what to do; `low`: the file may not grow for want of space."""
    code = primary_code(error) if isinstance(error, sqlite3.Error) else sqlite3.SQLITE_CORRUPT
    advice = _ADVICE.get(code, "this is a defect of edge-agent; please report it")
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and disk_is_full(path):
        advice = _DISK_FULL
    elif code == sqlite3.SQLITE_FULL and low:
        advice = _DISK_LOW
    return StorageError(f"{path}: {doing} failed: {error}: {advice}")


def _code(error: sqlite3.Error) -> int:
    # Errors that the binding raises by itself, such as ProgrammingError, carry no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
