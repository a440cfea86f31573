"""Making the file smaller after its limit was lowered: what is in use is copied into a new file, which takes its name.

Rules: only while the journal is being opened, with the lock held and no connection open. The new file is complete and synced
before it gets the name, and the old one has no log then: a power cut leaves one of the two, whole. Where the file system has
no room for the copy, the file stays as large as it is, and grows no more.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

from edge_agent.atomic import fsync_folder
from edge_agent.errors import StorageError
from edge_agent.journal.schema import connect_writer
from edge_agent.journal.trouble import DAMAGE_ERRORS, free_bytes, storage_error

_SPARE_BYTES = 1 << 20


def compact(path: str, max_bytes: int) -> int:
    """Copy the file into a smaller one; returns by how many bytes it is smaller, 0 if there was no room for the copy.

    Raises StorageError; the file is as it was then.
    """
    building, folder = _building(path), os.path.dirname(path) or "."
    forget(path)
    before = os.path.getsize(path)
    try:
        if not _copy(path, building, max_bytes):
            return 0
        with open(building, "rb") as file:
            os.fsync(file.fileno())
        # First the old log has to be gone for good: it would be taken for the new file's.
        fsync_folder(folder)
        os.replace(building, path)
        fsync_folder(folder)
    except DAMAGE_ERRORS as error:
        raise storage_error(error, path, "making it smaller") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be made smaller: {error}; check the folder's rights and free space") from error
    finally:
        forget(path)
    return before - os.path.getsize(path)


def forget(path: str) -> None:
    """Remove what an interruption left of a copy."""
    with contextlib.suppress(OSError):
        os.unlink(_building(path))


def _building(path: str) -> str:
    return path + ".compact"


def _copy(path: str, building: str, max_bytes: int) -> bool:
    """The copy; False if there is no room for it, or the log could not be folded in."""
    db = connect_writer(path, max_bytes)
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, free, page_bytes = (
            int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
        )
        room = free_bytes(path)
        if room is not None and room < (pages - free) * page_bytes + _SPARE_BYTES:
            return False
        db.execute("VACUUM INTO ?", (building,))
    finally:
        with contextlib.suppress(sqlite3.Error):
            db.close()
    return not os.path.exists(path + "-wal")
