"""One transaction for a group of operations, and what to do when SQLite refuses it.

Rules: runs on the writer thread. A group is committed as a whole; if one operation fails for a reason of its own, each is
tried alone, so that it cannot take its neighbours down. When the file has reached its size the oldest that may go makes
room, counted; when the disk is full nothing is deleted, because deleting would not help.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from edge_agent.errors import StorageError
from edge_agent.journal.ledger import Ledger
from edge_agent.journal.operations import Operations
from edge_agent.journal.trouble import DAMAGE_ERRORS, disk_is_full, is_damage, is_environment, primary_code, storage_error

Operation: TypeAlias = Callable[[Operations], object]

_ROUNDS: Final = 8
"""How often room is made for one group: each round frees a 32nd of the file."""
_FIRST_SLICE: Final = 16
"""Rows deleted at once at first; each further slice is twice as large."""


class Store:
    """The connection that writes. One owner, the writer thread, after it was made."""

    def __init__(self, path: str, db: sqlite3.Connection, ledger: Ledger, operations: Operations) -> None:
        self._path = path
        self._db = db
        self._ledger = ledger
        self._operations = operations
        self._overtaken: list[int] = []
        self.commits = 0
        self.operations = 0
        self.failed_commits = 0
        self.damaged = False

    def transact(self, group: Sequence[Operation]) -> list[object]:
        """Run a group in one transaction; for each operation its result or the StorageError that stopped it."""
        error: sqlite3.Error | ValueError | OverflowError
        for _ in range(_ROUNDS):
            try:
                results = self._commit(group)
            except (sqlite3.Error, ValueError, OverflowError) as caught:
                # The binding reports text or integers that SQLite cannot hold as UnicodeEncodeError or OverflowError.
                error = caught
                self._rollback()
                if isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_FULL and self._make_room():
                    continue
                break
            self._move_overtaken()
            return results
        return self._failed(group, error)

    def suspect(self) -> None:
        """Leave a note that makes the next start repair the file even if its check passes. Any thread."""
        self.damaged = True
        with contextlib.suppress(OSError):
            Path(suspect_path(self._path)).touch()

    def close(self) -> None:
        """Fold the log into the file and close it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def _commit(self, group: Sequence[Operation]) -> list[object]:
        self._db.execute("BEGIN IMMEDIATE")
        self._operations.outbox.move(self._overtaken)
        deleted = self._ledger.to_delete()
        self._operations.outbox.delete(deleted)
        results = [operation(self._operations) for operation in group]
        self._operations.finish()
        self._db.execute("COMMIT")
        self._overtaken = self._ledger.commit(deleted)
        self._operations.drops.commit()
        self.commits += 1
        self.operations += len(group)
        return results

    def _move_overtaken(self) -> None:
        """Give replaced messages that a reader took meanwhile their new numbers; if that fails the next transaction does it."""
        if not self._overtaken:
            return
        try:
            self._commit([])
        except DAMAGE_ERRORS:
            self._rollback()

    def _rollback(self) -> None:
        self.failed_commits += 1
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        self._ledger.rollback()
        self._operations.drops.rollback()

    def _failed(self, group: Sequence[Operation], error: sqlite3.Error | ValueError | OverflowError) -> list[object]:
        damage = not isinstance(error, OverflowError) and is_damage(error)
        environment = isinstance(error, sqlite3.Error) and is_environment(error)
        if len(group) > 1 and not damage and not environment:
            return [result for operation in group for result in self.transact([operation])]
        if damage:
            self.suspect()
        if isinstance(error, DAMAGE_ERRORS):
            failure = storage_error(error, self._path, "writing")
        else:
            failure = StorageError(f"{self._path}: a value cannot be stored: {error}; correct the text it came from")
        failure.__cause__ = error
        return [failure] * len(group)

    def _make_room(self) -> bool:
        """Delete the oldest that may go until a 32nd of the file is free; True if anything was freed.

        First incidents that are closed, explained and delivered, then messages by priority. Nothing while the disk is full.
        """
        if disk_is_full(self._path):
            return False
        try:
            limit = int(self._db.execute("PRAGMA max_page_count").fetchone()[0])
            before = self._free_pages()
            if limit - int(self._db.execute("PRAGMA page_count").fetchone()[0]) + before > limit // 2:
                return False
            target = before + max(8, limit // 32)
            count = _FIRST_SLICE
            while self._free_pages() < target and self._delete_slice(count):
                count *= 2
            return self._free_pages() > before
        except DAMAGE_ERRORS:
            self._rollback()
            return False

    def _delete_slice(self, count: int) -> bool:
        self._db.execute("BEGIN IMMEDIATE")
        gone = self._operations.drop_incidents(count) or self._operations.outbox.give_up(count, "file-full")
        self._operations.finish()
        self._db.execute("COMMIT")
        self._ledger.commit([])
        self._operations.drops.commit()
        return gone > 0

    def _free_pages(self) -> int:
        return int(self._db.execute("PRAGMA freelist_count").fetchone()[0])


def suspect_path(path: str) -> str:
    """The note beside a journal that was found damaged while it ran."""
    return path + ".suspect"
