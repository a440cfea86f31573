"""Room for the journal on its file system: the free-space floor, the reserve, and how much the file may grow.

Rules: looked at before every transaction, which costs a call of `statvfs`. While less is free than the floor, the file does
not grow: what is new takes the place of what may go, as when the file has reached its own limit. The reserve is a file of
its own that was allocated while there was room. It is given back when the disk is full to the last block, so that the log
has room to work in, or when nothing in the file may go any more; and it is made again when there is room.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from typing import Final

from edge_agent.journal.schema import file_pages, log_bytes, reserve_bytes
from edge_agent.journal.trouble import FULL_BYTES, free_bytes

_FLOOR_SHARE: Final = 10
"""The floor is at most this part of the whole file system, so that a small one can be used at all."""
_HYSTERESIS_BYTES: Final = 1 << 20
_SHORT_LOG_PAGES: Final = 64
_LEAST_RESERVE_BYTES: Final = 1 << 16

_log = logging.getLogger(__name__)


class Room:
    """One owner, the writer thread, after it was made; `free` and `trouble` may be read by any."""

    def __init__(self, path: str, db: sqlite3.Connection, max_bytes: int, min_free_bytes: int) -> None:
        self._path = path
        self._db = db
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self.low = False
        """Whether the file may not grow."""

    def look(self) -> None:
        """Let the file grow or not, by what is free now. Outside a transaction. Raises sqlite3.Error."""
        free, floor = self._figures()
        if not self.low and free < floor:
            self.low = True
            self._limit(self._pages())
            # From here on the log is folded in often, so that it needs little room and the file is as long as it says.
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_SHORT_LOG_PAGES}")
            self.fold_log()
            _log.warning("%s: %s", self._path, self.trouble)
        elif self.low and free >= floor + min(_HYSTERESIS_BYTES, floor // 4):
            self.low = False
            self._limit(file_pages(self._db, self._max_bytes))
            self._db.execute(f"PRAGMA wal_autocheckpoint = {log_bytes(self._max_bytes) // self._page_bytes()}")
            _log.warning("%s: there is room again on the file system; the journal grows as usual", self._path)
        if not self.low and free >= floor + 2 * reserve_bytes(self._max_bytes):
            keep_reserve(self._path, reserve_bytes(self._max_bytes))

    def use_reserve(self) -> bool:
        """Give the reserve back to the file system and let the file grow by as much; False if there is none."""
        given_back = release_reserve(self._path)
        if not given_back:
            return False
        self.low = True
        self._limit(self._pages() + given_back // 2 // self._page_bytes())
        _log.warning("%s: the reserve is used; free space on that file system", self._path)
        return True

    def fold_log(self) -> None:
        """Fold the log into the file, so that it begins anew in the room that it has."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(RESTART)")

    @property
    def full(self) -> bool:
        """Whether the file system has no block left to speak of."""
        free = free_bytes(self._path)
        return free is not None and free < FULL_BYTES

    @property
    def trouble(self) -> str:
        """What is wrong now, in words; empty for nothing."""
        free, floor = self._figures()
        if free < min(floor, FULL_BYTES) or self.full:
            return (
                "no space left on its file system: what is new takes the place of what is older or less important;"
                " free space there"
            )
        if free < floor or self.low:
            return (
                f"{_told(free)} are free on its file system, where {_told(floor)} are kept for others (journal.min_free_bytes):"
                " the file does not grow, what is new takes the place of what is older or less important; free space there"
            )
        return ""

    def _figures(self) -> tuple[int, int]:
        """Bytes that are free, and that must stay free: a reserve that was given back is no room that others made."""
        try:
            stat = os.statvfs(os.path.dirname(self._path) or ".")
        except OSError:
            return 1 << 62, 0
        share = stat.f_blocks * stat.f_frsize // _FLOOR_SHARE
        owed = 0 if os.path.exists(reserve_path(self._path)) else min(reserve_bytes(self._max_bytes), share)
        return stat.f_bavail * stat.f_frsize, min(self._min_free_bytes, share) + owed

    def _limit(self, pages: int) -> None:
        self._db.execute(f"PRAGMA max_page_count = {max(1, pages)}")

    def _pages(self) -> int:
        return int(self._db.execute("PRAGMA page_count").fetchone()[0])

    def _page_bytes(self) -> int:
        return int(self._db.execute("PRAGMA page_size").fetchone()[0])


def _told(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def reserve_path(path: str) -> str:
    """The reserve beside a journal."""
    return path + ".reserve"


def keep_reserve(path: str, size: int) -> None:
    """Have the reserve allocated, a smaller one where there is little room; without it where the file system cannot."""
    if os.path.exists(reserve_path(path)):
        return
    try:
        fd = os.open(reserve_path(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError:
        return
    try:
        while size >= _LEAST_RESERVE_BYTES:
            with contextlib.suppress(OSError):
                os.posix_fallocate(fd, 0, size)
                return
            os.ftruncate(fd, 0)
            size //= 2
        release_reserve(path)
    finally:
        os.close(fd)


def release_reserve(path: str) -> int:
    """Give the reserve back; its bytes, 0 if there is none."""
    try:
        size = os.path.getsize(reserve_path(path))
        os.unlink(reserve_path(path))
    except OSError:
        return 0
    return size
