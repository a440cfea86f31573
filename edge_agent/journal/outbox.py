"""The outbox as a transaction changes it: queue, replace, delete, give up, bury.

Rules: runs on the writer thread, inside a transaction; whatever goes without having been delivered is counted in `drops`,
the lowest priority first and of that the oldest; the newest report of drops never goes. No statement here searches the
outbox: the numbers come from the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from edge_agent.clock import Clock
from edge_agent.journal.drops import Drops
from edge_agent.journal.ledger import REPORT_PRIORITY, Ledger
from edge_agent.journal.limits import Limits
from edge_agent.journal.records import DropReason
from edge_agent.journal.rows import MessageRow, dead_letter_crc, message_bytes, supersedes
from edge_agent.journal.upkeep import Upkeep

MUST_SEE: Final = 2
"""Messages of this priority and above are stored however much was written today."""
SWEEP_ROWS: Final = 256
"""Messages looked at in one transaction while those that are too old are searched."""
_SWEEPS: Final = 100
"""How often they are searched within the age limit."""

_BYTES: Final = "length(CAST(topic AS BLOB)) + length(correlation) + length(payload)"
_ADD: Final = """
    INSERT INTO outbox (number, queued_s, since_s, priority, flags, crc, topic, correlation, payload)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_CHANGE: Final = """
    UPDATE outbox SET since_s = ?, priority = ?, flags = ?, crc = ?, correlation = ?, payload = ?
    WHERE number = ? AND topic = ?"""
_DELETE: Final = f"DELETE FROM outbox WHERE number = ? RETURNING topic, CAST(priority AS INTEGER), {_BYTES}"
_BURY: Final = """
    INSERT INTO dead_letters (queued_s, buried_s, reason, priority, flags, crc, topic, correlation, payload)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class Outbox:
    """The statements about messages of one writing connection."""

    def __init__(
        self, db: sqlite3.Connection, ledger: Ledger, drops: Drops, limits: Limits, clock: Clock, upkeep: Upkeep
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._drops = drops
        self._limits = limits
        self._clock = clock
        self._ageing = upkeep.ageing
        self._wear = upkeep.wear
        self._swept = 0
        self._sweep_at_s = 0.0

    @property
    def sweeping(self) -> bool:
        """Whether the search for messages that are too old is under way."""
        return self._swept > 0

    @property
    def sweep_due(self) -> bool:
        """Whether the next transaction goes on with that search."""
        return self._ledger.messages > 0 and (self.sweeping or self._ageing.lived_s >= self._sweep_at_s)

    def queue(self, messages: Sequence[MessageRow]) -> int:
        """Queue messages; returns the highest number among them, 0 for none."""
        last = 0
        for message in messages:
            size = message_bytes(message)
            if size > self._limits.max_message_bytes:
                self._drops.count("too-large", 1, size)
            elif message[0] < MUST_SEE and self._wear.spent:
                self._drops.note("write-budget", size)
            else:
                last = max(last, self._replace(message, size) or self._append(message, size))
        return last

    def delete(self, numbers: Iterable[int], reason: DropReason | None = None) -> int:
        """Delete messages, counted where they are given up for a `reason`; returns how many there were.

        A report of drops is not counted itself: it is told again by the next one.
        """
        count = lost = lost_bytes = 0
        for number in numbers:
            for topic, priority, size in self._db.execute(_DELETE, (number,)).fetchall():
                self._ledger.removed(number, topic, priority, size)
                count += 1
                if priority < REPORT_PRIORITY:
                    lost, lost_bytes = lost + 1, lost_bytes + size
        if reason is not None:
            self._drops.count(reason, lost, lost_bytes)
        return count

    def move(self, numbers: Iterable[int]) -> None:
        """Give messages new numbers at the end of the outbox; one that was superseded meanwhile goes instead."""
        for number in numbers:
            rows = self._db.execute("SELECT topic, CAST(priority AS INTEGER) FROM outbox WHERE number = ?", (number,)).fetchall()
            for topic, priority in rows:
                if self._ledger.superseded(number, topic):
                    self.delete([number])
                    continue
                moved = self._ledger.moved(number, topic, priority)
                self._db.execute("UPDATE outbox SET number = ? WHERE number = ?", (moved, number))

    def give_up(self, count: int, reason: DropReason) -> int:
        """Give up messages, the lowest priority first and the oldest of it; returns how many."""
        return self.delete(self._ledger.victims(count), reason)

    def keep_cap(self) -> None:
        """Give up what is beyond the limit by count, and a little more, so that this is done once for many."""
        excess = self._ledger.messages - self._limits.max_outbox
        if excess > 0:
            self.give_up(excess + self._limits.outbox_slack, "outbox-full")

    def sweep(self) -> None:
        """Look at the next few messages and give up those that are too old; the whole outbox in turn, a hundred times in the
        age limit, so that no transaction takes longer however many wait."""
        if not self.sweep_due:
            return
        lived_s, limit_s = self._ageing.lived_s, self._limits.max_message_age_s
        rows = self._db.execute(
            "SELECT number, CAST(since_s AS REAL) FROM outbox WHERE number > ? ORDER BY number LIMIT ?", (self._swept, SWEEP_ROWS)
        ).fetchall()
        old = [number for number, since_s in rows if lived_s - since_s > limit_s and number != self._ledger.report]
        self.delete(old, "too-old")
        if len(rows) == SWEEP_ROWS:
            self._swept = rows[-1][0]
        else:
            self._swept = 0
            self._sweep_at_s = lived_s + limit_s / _SWEEPS

    def bury(self, number: int, reason: str) -> bool:
        """Move a message to the dead letters; False if it is not there."""
        rows = self._db.execute(
            "SELECT CAST(queued_s AS REAL), priority, flags, crc, topic, correlation, payload FROM outbox WHERE number = ?",
            (number,),
        ).fetchall()
        if not rows:
            return False
        queued_s, *message = rows[0]
        now_s = self._clock.now_s()
        row: MessageRow = (*message,)
        self._db.execute(_BURY, (queued_s, now_s, reason, *row[:2], dead_letter_crc(row, reason, queued_s, now_s), *row[3:]))
        self._ledger.dead_letters += 1
        self.delete([number], "buried")
        self.expire_dead_letters(self._ledger.dead_letters - self._limits.keep_dead_letters)
        return True

    def expire_dead_letters(self, count: int) -> int:
        """Remove the oldest dead letters; returns how many."""
        if count <= 0:
            return 0
        sizes = self._db.execute(
            "DELETE FROM dead_letters WHERE number IN (SELECT number FROM dead_letters ORDER BY number LIMIT ?)"
            f" RETURNING {_BYTES}",
            (count,),
        ).fetchall()
        self._ledger.dead_letters -= len(sizes)
        self._drops.count("dead-letter-expired", len(sizes), sum(size for (size,) in sizes))
        return len(sizes)

    def _append(self, message: MessageRow, size: int) -> int:
        number = self._ledger.added(message[3], message[0], message[1], size)
        self._db.execute(_ADD, (number, self._clock.now_s(), self._ageing.lived_s, *message))
        return number

    def _replace(self, message: MessageRow, size: int) -> int | None:
        """Put a message in the place of the one that waits on its topic; None if none does."""
        priority, flags, crc, topic, correlation, payload = message
        number = self._ledger.latest(topic) if supersedes(flags) else None
        if number is None:
            return None
        old = self._db.execute(f"SELECT CAST(priority AS INTEGER), {_BYTES} FROM outbox WHERE number = ?", (number,)).fetchone()
        changed = (self._ageing.lived_s, priority, flags, crc, correlation, payload, number, topic)
        if old is None or not self._db.execute(_CHANGE, changed).rowcount:
            return None
        self._ledger.replaced(number, old[0], priority, size - old[1])
        return number
