"""What the journal knows about its outbox without asking SQLite: counts, numbers given out, and what is being replaced.

Rules: the writer thread owns the counts and `commit`s or `rolls_back` them together with the transaction; what a reading
thread shares with it (`handed_out`, `delivered`) stands behind one lock that is never held across I/O of the writer.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from edge_agent.journal.rows import supersedes

_Row = TypeVar("_Row")


class Ledger:
    """Counts of one journal file. `next_message` only grows while the journal is open, even when the outbox empties."""

    def __init__(self) -> None:
        self.incidents = 0
        self.messages = 0
        self.message_bytes = 0
        self.next_message = 1
        self._saved = (0, 0, 0)
        self._latest: dict[str, int] = {}
        self._changed: dict[str, int | None] = {}
        self._replaced: set[int] = set()
        self._lock = threading.Lock()
        self._handed_out = 0
        self._delivered: set[int] = set()

    def load(self, db: sqlite3.Connection) -> None:
        """Count what a freshly opened file holds. Raises sqlite3.Error."""
        self.incidents, last_used = db.execute(
            "SELECT count(*), coalesce(max(CAST(message AS INTEGER)), 0) FROM incidents"
        ).fetchone()
        self.messages, self.message_bytes, last_queued = db.execute(
            "SELECT count(*), coalesce(sum(length(CAST(topic AS BLOB)) + length(correlation) + length(payload)), 0),"
            " coalesce(max(number), 0) FROM outbox"
        ).fetchone()
        self.next_message = max(last_used, last_queued) + 1
        rows = db.execute("SELECT number, CAST(flags AS INTEGER), topic FROM outbox ORDER BY number")
        self._latest = {topic: number for number, flags, topic in rows if supersedes(flags)}
        self._save()

    # --- the writer thread ---

    def latest(self, topic: str) -> int | None:
        """The number of the superseding message that waits on `topic`; None if there is none or it was handed out already."""
        number = self._changed[topic] if topic in self._changed else self._latest.get(topic)
        return number if number is not None and number > self._handed_out else None

    def added(self, topic: str, superseding: bool, size: int) -> int:
        """Count a new message and give it its number."""
        number = self.next_message
        self.next_message += 1
        self.messages += 1
        self.message_bytes += size
        if superseding:
            self._changed[topic] = number
        return number

    def replaced(self, number: int, grown_bytes: int) -> None:
        """Count a message whose content was replaced in place."""
        self._replaced.add(number)
        self.message_bytes += grown_bytes

    def removed(self, number: int, topic: str, size: int) -> None:
        """Count a message that was deleted."""
        self.messages -= 1
        self.message_bytes -= size
        known = self._changed[topic] if topic in self._changed else self._latest.get(topic)
        if known == number:
            self._changed[topic] = None

    def moved(self, topic: str) -> int:
        """A new number for a message that keeps its content."""
        number = self.next_message
        self.next_message += 1
        self._changed[topic] = number
        return number

    def commit(self, deleted: Collection[int]) -> list[int]:
        """Keep the changes of a transaction that deleted the delivered messages `deleted`.

        Returns the numbers that a reader may have handed out with their old content while they were replaced: unless they
        get new numbers, their new content would be taken for delivered.
        """
        for topic, number in self._changed.items():
            if number is None:
                self._latest.pop(topic, None)
            else:
                self._latest[topic] = number
        with self._lock:
            self._delivered.difference_update(deleted)
            overtaken = sorted(n for n in self._replaced if n <= self._handed_out)
        self._save()
        return overtaken

    def rollback(self) -> None:
        """Forget the changes of a transaction that failed; numbers given to it stay unused."""
        self.incidents, self.messages, self.message_bytes = self._saved
        self._forget_changes()

    def _save(self) -> None:
        self._saved = (self.incidents, self.messages, self.message_bytes)
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._changed.clear()
        self._replaced.clear()

    def to_delete(self) -> list[int]:
        """Numbers that were delivered and still stand in the file."""
        with self._lock:
            return sorted(self._delivered)

    # --- any thread ---

    def mark_delivered(self, numbers: Sequence[int]) -> None:
        """Note messages as delivered; the next transaction deletes them."""
        with self._lock:
            self._delivered.update(numbers)

    def hand_out(self, after: int, limit: int, read: Callable[[int, int], list[tuple[int, _Row]]]) -> list[tuple[int, _Row]]:
        """Read up to `limit` messages above `after` and note them as handed out, as one step for the writer.

        Those that were delivered and still stand in the file are passed over.
        """
        with self._lock:
            found: list[tuple[int, _Row]] = []
            while len(found) < limit and (rows := read(after, limit)):
                after = rows[-1][0]
                found.extend(row for row in rows if row[0] not in self._delivered)
            del found[limit:]
            if found:
                self._handed_out = max(self._handed_out, found[-1][0])
            return found
