"""One transaction for a group of operations, and what to do when SQLite refuses it.

Rules: runs on the writer thread. A group is committed as a whole; if one operation fails for a reason of its own, each is
tried alone, so that it cannot take its neighbours down. When the file may not grow, because it has reached its size or the
file system is nearly full, the oldest that may go makes room, counted.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from edge_agent.errors import StorageError
from edge_agent.journal.ledger import Ledger
from edge_agent.journal.operations import Operations
from edge_agent.journal.room import Room
from edge_agent.journal.trouble import DAMAGE_ERRORS, is_damage, is_environment, primary_code, storage_error
from edge_agent.journal.upkeep import Upkeep

Operation: TypeAlias = Callable[[Operations], object]

IDLE_S: Final = 60.0
FAILING_S: Final = 5.0
"""How often a journal that could not be written is tried again when nobody else does."""
SWEEP_S: Final = 0.2
"""Pause between two steps of the search for messages that are too old, when nothing else is to do."""
_ROUNDS: Final = 8
"""How often room is made for one group: each round frees a 32nd of the file."""
_FIRST_SLICE: Final = 16
"""Rows deleted at once at first; each further slice is twice as large."""
_LARGEST_SLICE: Final = 2_048

_log = logging.getLogger(__name__)


class Store:
    """The connection that writes. One owner, the writer thread, after it was made."""

    def __init__(
        self, path: str, db: sqlite3.Connection, ledger: Ledger, operations: Operations, room: Room, upkeep: Upkeep
    ) -> None:
        self._path = path
        self._db = db
        self.ledger = ledger
        self._operations = operations
        self._room = room
        self.upkeep = upkeep
        self._overtaken: list[int] = []
        self.commits = 0
        self.operations = 0
        self.failed_commits = 0
        self.damaged = False
        self.failing = ""
        """Why the last group could not be stored, if the machine is at fault; empty once one could."""

    def transact(self, group: Sequence[Operation]) -> list[object]:
        """Run a group in one transaction; for each operation its result or the StorageError that stopped it."""
        error: sqlite3.Error | ValueError | OverflowError
        self.upkeep.wear.measure()
        for attempt in range(_ROUNDS):
            try:
                self._room.look()
                results = self._commit(group)
            except (sqlite3.Error, ValueError, OverflowError) as caught:
                # The binding reports text or integers that SQLite cannot hold as UnicodeEncodeError or OverflowError.
                error = caught
                self._rollback()
                if isinstance(error, sqlite3.Error) and self._make_room(error, first=attempt == 0):
                    continue
                break
            self._move_overtaken()
            self._works_again()
            return results
        return self._failed(group, error)

    def fit(self, pages: int) -> bool:
        """Delete what may go until no more than `pages` are in use; True if the file is worth being made smaller then."""
        count = _FIRST_SLICE
        try:
            while self._pages() - self._free_pages() > pages and self._delete_slice(count):
                count = min(2 * count, _LARGEST_SLICE)
        except DAMAGE_ERRORS:
            self._rollback()
        return self._free_pages() > self._pages() // 8

    def tick(self) -> float:
        """Upkeep while nobody asks for anything; in how many seconds it is to be called again."""
        with contextlib.suppress(sqlite3.Error):
            self._room.look()
        if self.failing:
            self.transact([lambda operations: self.upkeep.save(operations.meters)])
            return FAILING_S if self.failing else IDLE_S
        if self._operations.due():
            self.transact([])
        return SWEEP_S if self._operations.outbox.sweeping else IDLE_S

    def trouble(self) -> str:
        """What hinders writing now, in words; empty for nothing. Any thread."""
        found = [self.failing or self._room.trouble]
        if self.upkeep.wear.spent:
            found.append(
                f"{self.upkeep.wear.day_bytes >> 20} MiB were written in a day, journal.max_write_bytes_per_day is reached:"
                " routine messages are not stored"
            )
        return "; ".join(filter(None, found))

    def suspect(self) -> None:
        """Leave a note that makes the next start repair the file even if its check passes. Any thread."""
        self.damaged = True
        with contextlib.suppress(OSError):
            Path(suspect_path(self._path)).touch()

    def close(self) -> None:
        """Store what was only counted, fold the log into the file and close it."""
        self.transact([lambda operations: operations.close()])
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        self.upkeep.wear.close()

    def _commit(self, group: Sequence[Operation]) -> list[object]:
        self._db.execute("BEGIN IMMEDIATE")
        self._operations.begin()
        self._operations.outbox.move(self._overtaken)
        deleted = self.ledger.to_delete()
        self._operations.outbox.delete(deleted)
        results = [operation(self._operations) for operation in group]
        self._end(deleted)
        self.operations += len(group)
        return results

    def _end(self, deleted: Sequence[int] = ()) -> None:
        self._operations.finish()
        self._db.execute("COMMIT")
        self._overtaken = self.ledger.commit(deleted)
        self._operations.commit()
        self.upkeep.wear.measure()
        self.commits += 1

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
        self.ledger.rollback()
        self._operations.rollback()

    def _pages(self) -> int:
        return int(self._db.execute("PRAGMA page_count").fetchone()[0])

    def _failed(self, group: Sequence[Operation], error: sqlite3.Error | ValueError | OverflowError) -> list[object]:
        damage = not isinstance(error, OverflowError) and is_damage(error)
        environment = isinstance(error, sqlite3.Error) and is_environment(error)
        # A group may be more than fits into the file at once, where each of it does.
        too_much = isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_FULL and not self._room.full
        if len(group) > 1 and not damage and (not environment or too_much):
            return [result for operation in group for result in self.transact([operation])]
        if damage:
            self.suspect()
        if isinstance(error, DAMAGE_ERRORS):
            failure = storage_error(error, self._path, "writing", low=self._room.low)
        else:
            failure = StorageError(f"{self._path}: a value cannot be stored: {error}; correct the text it came from")
        failure.__cause__ = error
        if environment:
            if not self.failing:
                _log.error("%s; nothing is acknowledged until it can be written again", failure)
            self.failing = str(failure)
        return [failure] * len(group)

    def _works_again(self) -> None:
        if self.failing:
            self.failing = ""
            _log.warning("%s: can be written again", self._path)

    def _make_room(self, error: sqlite3.Error, *, first: bool) -> bool:
        """Make room after a refusal, if that can help; True if it is worth another attempt.

        When the disk is full to the last block, by giving the reserve back and beginning the log anew in its own room. Then
        by deleting the oldest that may go, and at last by the reserve, which is for what must stay.
        """
        code = primary_code(error)
        disk_full = self._room.full
        if code != sqlite3.SQLITE_FULL and not (disk_full and code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)):
            return False
        if disk_full and first:
            self._room.use_reserve()
            self._room.fold_log()
            return True
        return self._delete_oldest() or (self._room.low and self._room.use_reserve())

    def _delete_oldest(self) -> bool:
        """Delete until a 32nd of the file is free; True if anything was freed.

        First incidents that are closed, explained and delivered, dead letters, old log entries, then messages by priority.
        """
        try:
            limit = int(self._db.execute("PRAGMA max_page_count").fetchone()[0])
            before = self._free_pages()
            if limit - self._pages() + before > limit // 2:
                return False
            target = before + max(8, limit // 32)
            count = _FIRST_SLICE
            while self._free_pages() < target and self._delete_slice(count):
                count = min(2 * count, _LARGEST_SLICE)
            return self._free_pages() > before
        except DAMAGE_ERRORS:
            self._rollback()
            return False

    def _delete_slice(self, count: int) -> bool:
        overtaken = self._overtaken
        self._db.execute("BEGIN IMMEDIATE")
        self._operations.begin()
        deleted = self.ledger.to_delete()
        delivered = self._operations.outbox.delete(deleted)
        gone = delivered or self._operations.make_room(count)
        self._end(deleted)
        # Moving these may need a page: it is left to the transaction for which room is made.
        self._overtaken = [*overtaken, *self._overtaken]
        return gone > 0

    def _free_pages(self) -> int:
        return int(self._db.execute("PRAGMA freelist_count").fetchone()[0])


def suspect_path(path: str) -> str:
    """The note beside a journal that was found damaged while it ran."""
    return path + ".suspect"
