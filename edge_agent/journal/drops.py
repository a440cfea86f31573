"""The record of what was given up, and the message that reports it.

Rules: runs on the writer thread, inside a transaction; whatever is deleted to make room is counted here in the same
transaction, and the transaction that counted a loss also queues the report of all losses so far, which takes the place of
the report that waits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from edge_agent.clock import Clock
from edge_agent.journal.records import NO_LOSS, DropReason
from edge_agent.journal.rows import MessageRow, message_row
from edge_agent.values import Drop, Message

Tombstone: TypeAlias = Callable[[Sequence[Drop]], Message]
"""Makes the report: a message that supersedes, of the highest priority."""

DROP_FIGURES: Final = "CAST(count AS INTEGER), CAST(bytes AS INTEGER), CAST(first_s AS REAL), CAST(last_s AS REAL)"
"""Columns of `drops`; it has no checksums, so damage must at least not change their types."""
ALL_DROPS: Final = f"SELECT {DROP_FIGURES}, CAST(reason AS TEXT) FROM drops WHERE count > 0 ORDER BY number"
FLUSH_S: Final = 60.0
"""How long drops that save writing may be counted in memory alone."""

_COUNT: Final = """
    UPDATE drops SET count = count + ?, bytes = bytes + ?,
    first_s = CASE count WHEN 0 THEN ? ELSE first_s END, last_s = ? WHERE reason = ?"""


def drop_of(row: Sequence[Any]) -> Drop:
    """A row of `ALL_DROPS` as a value."""
    count, size, first_s, last_s, reason = row
    return Drop(reason=reason, count=count, bytes=size, first_s=first_s, last_s=last_s)


class Drops:
    """Counts drops on one writing connection."""

    def __init__(self, db: sqlite3.Connection, clock: Clock, tombstone: Tombstone | None) -> None:
        self._db = db
        self._clock = clock
        self._tombstone = tombstone
        self._to_report = False
        self._changes = 0
        self._noted = _Noted()
        self._noting = _Noted()
        self._noted_s = 0.0
        self._stored = False

    def begin(self) -> None:
        """A transaction begins."""
        self._changes = self._db.total_changes

    def count(self, reason: DropReason, count: int, size: int) -> None:
        """Add to the record."""
        if not count:
            return
        now_s = self._clock.now_s()
        if not self._db.execute(_COUNT, (count, size, now_s, now_s, reason)).rowcount:
            self._db.execute(
                "INSERT INTO drops (reason, count, bytes, first_s, last_s) VALUES (?, ?, ?, ?, ?)",
                (reason, count, size, now_s, now_s),
            )
        self._to_report = self._to_report or reason not in NO_LOSS

    def note(self, reason: DropReason, size: int) -> None:
        """Count one drop in memory; it is stored with the next transaction that writes anyway, after `FLUSH_S` at the latest.

        For what is dropped to save writing.
        """
        self._noting.add(reason, 1, size)

    @property
    def due(self) -> bool:
        """Whether what is only noted is to be stored."""
        return bool(self._noted.by_reason) and self._clock.monotonic_s() - self._noted_s >= FLUSH_S

    def store_noted(self) -> None:
        """Store what is only noted."""
        for noted in (self._noted, self._noting):
            for reason, (count, size) in noted.by_reason.items():
                self.count(reason, count, size)
        self._stored = True

    def report_anyway(self) -> None:
        """Queue the report with this transaction although it counts nothing: something was counted elsewhere."""
        self._to_report = True

    def report(self) -> MessageRow | None:
        """The report, if this transaction counted a loss; call once, at its end."""
        if not self._stored and (self.due or self._db.total_changes != self._changes):
            self.store_noted()
        if not self._to_report or self._tombstone is None:
            return None
        return message_row(self._tombstone([drop_of(row) for row in self._db.execute(ALL_DROPS)]))

    def commit(self) -> None:
        """The transaction is durable."""
        if self._stored:
            self._noted = _Noted()
        elif self._noting.by_reason:
            if not self._noted.by_reason:
                self._noted_s = self._clock.monotonic_s()
            for reason, (count, size) in self._noting.by_reason.items():
                self._noted.add(reason, count, size)
        self.rollback()

    def rollback(self) -> None:
        """The transaction was undone, and what it counted with it."""
        self._to_report = self._stored = False
        self._noting = _Noted()


class _Noted:
    """Drops that are counted in memory."""

    def __init__(self) -> None:
        self.by_reason: dict[DropReason, tuple[int, int]] = {}

    def add(self, reason: DropReason, count: int, size: int) -> None:
        """Add to what is noted under a reason."""
        before_count, before_size = self.by_reason.get(reason, (0, 0))
        self.by_reason[reason] = (before_count + count, before_size + size)
