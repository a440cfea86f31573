"""What a transaction of the journal may do: store incidents and summaries, queue and delete messages, keep within the limits.

Rules: runs on the writer thread, inside a transaction that `store` began; an operation either does all it says or lets
sqlite3.Error pass, and then the transaction is rolled back. Nothing is deleted to make room without being counted in `drops`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.journal.ledger import Ledger
from edge_agent.journal.records import DropReason
from edge_agent.journal.rows import (
    IncidentRow,
    MessageRow,
    Sealed,
    Unusable,
    message_bytes,
    open_closure,
    open_incident,
    open_message,
    open_summary,
    supersedes,
)

_REMOVABLE: Final = """
    SELECT number, length(body) FROM incidents
    WHERE state = 1 AND explained >= revision AND message < (SELECT coalesce(min(number), ?) FROM outbox)
    ORDER BY number LIMIT ?"""
_ADD_INCIDENT: Final = """
    INSERT INTO incidents (id, state, revision, message, form, crc, body) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING number"""
_CHANGE_INCIDENT: Final = """
    UPDATE incidents SET state = ?, revision = ?, message = max(message, ?), form = ?, crc = ?, body = ? WHERE number = ?"""
_ADD_MESSAGE: Final = """
    INSERT INTO outbox (number, queued_s, priority, flags, crc, topic, correlation, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_CHANGE_MESSAGE: Final = """
    UPDATE outbox SET priority = ?, flags = ?, crc = ?, correlation = ?, payload = ? WHERE number = ? AND topic = ?"""
_DELETE_MESSAGE: Final = """
    DELETE FROM outbox WHERE number = ?
    RETURNING topic, length(CAST(topic AS BLOB)) + length(correlation) + length(payload)"""
_COUNT_DROP: Final = """
    UPDATE drops SET count = count + ?, bytes = bytes + ?,
    first_s = CASE count WHEN 0 THEN ? ELSE first_s END, last_s = ? WHERE reason = ?"""

_ID: Final = "(SELECT i.id FROM incidents i WHERE i.number = s.number)"
_BODIES: Final[dict[str, tuple[str, Callable[..., object]]]] = {
    "incidents": ("form, crc, body, state, revision, id FROM incidents", open_incident),
    "summaries": (f"form, crc, body, revision, {_ID} FROM summaries s", open_summary),
    "closures": (f"form, crc, body, {_ID} FROM closures s", open_closure),
    "outbox": ("priority, flags, crc, topic, correlation, payload FROM outbox", open_message),
}
"""How to tell whether a row is usable: its columns, and what reads them."""


class Limits(Struct, frozen=True):
    """The caps that operations keep. Slack: how many go at once, so that looking for the oldest is paid once for many."""

    max_outbox: int
    keep_incidents: int
    max_message_bytes: int

    @property
    def outbox_slack(self) -> int:
        """Messages dropped beyond the excess when the outbox is full."""
        return self.max_outbox // 100

    @property
    def incident_slack(self) -> int:
        """Incidents removed beyond the excess, and new ones before another look when none could be removed."""
        return max(1, self.keep_incidents // 100)


class Operations:
    """The statements of one writing connection."""

    def __init__(self, db: sqlite3.Connection, ledger: Ledger, limits: Limits, clock: Clock) -> None:
        self._db = db
        self._ledger = ledger
        self._limits = limits
        self._clock = clock
        self._look_again_at = limits.keep_incidents + 1

    def record(self, incidents: Sequence[IncidentRow], messages: Sequence[MessageRow]) -> None:
        """Store the newer incidents, queue the messages, keep the caps."""
        last = self._queue(messages)
        for incident in incidents:
            self._store_incident(incident, last)
        self._keep_caps()

    def record_summary(self, incident_id: str, revision: int, sealed: Sealed, messages: Sequence[MessageRow]) -> None:
        """Store a summary that is not older than the stored one and queue its messages."""
        found = self._db.execute(
            "SELECT number, explained FROM incidents WHERE id = ?",
            (incident_id,),
        ).fetchone()
        if found is not None and found[1] is not None and found[1] > revision:
            return
        last = self._queue(messages)
        if found is not None:
            number = found[0]
            self._db.execute(
                "INSERT OR REPLACE INTO summaries (number, revision, form, crc, body) VALUES (?, ?, ?, ?, ?)",
                (number, revision, *sealed),
            )
            self._db.execute(
                "UPDATE incidents SET explained = ?, message = max(message, ?) WHERE number = ?",
                (revision, last, number),
            )
        self._keep_caps()

    def close_incident(
        self, incident_id: str, sealed: Sealed, incident: IncidentRow | None, messages: Sequence[MessageRow]
    ) -> bool:
        """Store an operator's closure; False, and nothing stored or queued, if the incident is unknown."""
        found = self._db.execute("SELECT number FROM incidents WHERE id = ?", (incident_id,)).fetchone()
        if found is None and incident is None:
            return False
        last = self._queue(messages)
        number = found[0] if found is not None else 0
        if incident is not None:
            number = self._store_incident(incident, last)
        self._db.execute("INSERT OR REPLACE INTO closures (number, form, crc, body) VALUES (?, ?, ?, ?)", (number, *sealed))
        self._keep_caps()
        return True

    def delete_messages(self, numbers: Iterable[int]) -> tuple[int, int]:
        """Delete messages; returns how many there were and their bytes."""
        count = total = 0
        for number in numbers:
            for topic, size in self._db.execute(_DELETE_MESSAGE, (number,)).fetchall():
                self._ledger.removed(number, topic, size)
                count, total = count + 1, total + size
        return count, total

    def move_messages(self, numbers: Iterable[int]) -> None:
        """Give messages new numbers at the end of the outbox."""
        for number in numbers:
            for (topic,) in self._db.execute("SELECT topic FROM outbox WHERE number = ?", (number,)).fetchall():
                self._db.execute("UPDATE outbox SET number = ? WHERE number = ?", (self._ledger.moved(topic), number))

    def drop_messages(self, count: int, reason: DropReason) -> int:
        """Give up messages, the lowest priority first and the oldest of it; returns how many."""
        victims = self._db.execute("SELECT number FROM outbox ORDER BY priority, number LIMIT ?", (count,)).fetchall()
        dropped, size = self.delete_messages(number for (number,) in victims)
        self.count_drop(reason, dropped, size)
        return dropped

    def drop_incidents(self, count: int) -> int:
        """Remove the oldest incidents that are closed, explained and delivered; returns how many."""
        rows = self._db.execute(_REMOVABLE, (self._ledger.next_message, count)).fetchall()
        for number, _ in rows:
            self._delete_incident(number)
        self.count_drop("incident-expired", len(rows), sum(size for _, size in rows))
        return len(rows)

    def discard_row(self, table: str, number: int, reason: DropReason) -> None:
        """Delete a row that cannot be used. A lost summary is written again; a lost incident takes the rest of it along.

        The row is looked at once more: a newer revision may have replaced it since a reader found it unusable.
        """
        columns, opener = _BODIES[table]
        row = self._db.execute(f"SELECT {columns} WHERE number = ?", (number,)).fetchone()
        if row is None or not isinstance(opener(*row), Unusable):
            return
        size = sum(len(value) for value in row if isinstance(value, bytes))
        match table:
            case "outbox":
                self.delete_messages([number])
            case "incidents":
                self._delete_incident(number)
            case "summaries":
                self._db.execute("UPDATE incidents SET explained = NULL WHERE number = ?", (number,))
                self._db.execute("DELETE FROM summaries WHERE number = ?", (number,))
            case _:
                self._db.execute("DELETE FROM closures WHERE number = ?", (number,))
        self.count_drop(reason, 1, size)

    def count_drop(self, reason: DropReason, count: int, size: int) -> None:
        """Add to the record of what was given up."""
        if not count:
            return
        now_s = self._clock.now_s()
        if not self._db.execute(_COUNT_DROP, (count, size, now_s, now_s, reason)).rowcount:
            self._db.execute(
                "INSERT INTO drops (reason, count, bytes, first_s, last_s) VALUES (?, ?, ?, ?, ?)",
                (reason, count, size, now_s, now_s),
            )

    def _store_incident(self, incident: IncidentRow, last_message: int) -> int:
        """Insert or replace by id if newer; returns the incident's number."""
        found = self._db.execute("SELECT number, revision FROM incidents WHERE id = ?", (incident.id,)).fetchone()
        row = (incident.state, incident.revision, last_message, *incident.sealed)
        if found is None:
            self._ledger.incidents += 1
            return int(self._db.execute(_ADD_INCIDENT, (incident.id, *row)).fetchone()[0])
        if incident.revision > found[1]:
            self._db.execute(_CHANGE_INCIDENT, (*row, found[0]))
        return int(found[0])

    def _delete_incident(self, number: int) -> None:
        self._ledger.incidents -= self._db.execute("DELETE FROM incidents WHERE number = ?", (number,)).rowcount
        self._db.execute("DELETE FROM summaries WHERE number = ?", (number,))
        self._db.execute("DELETE FROM closures WHERE number = ?", (number,))

    def _queue(self, messages: Sequence[MessageRow]) -> int:
        """Queue messages; returns the highest number among them, 0 for none."""
        last = 0
        for message in messages:
            size = message_bytes(message)
            if size > self._limits.max_message_bytes:
                self.count_drop("too-large", 1, size)
            else:
                last = max(last, self._replace(message, size) or self._append(message, size))
        return last

    def _append(self, message: MessageRow, size: int) -> int:
        number = self._ledger.added(message[3], supersedes(message[1]), size)
        self._db.execute(_ADD_MESSAGE, (number, self._clock.now_s(), *message))
        return number

    def _replace(self, message: MessageRow, size: int) -> int | None:
        """Put a message in the place of the one that waits on its topic; None if none does."""
        priority, flags, crc, topic, correlation, payload = message
        number = self._ledger.latest(topic) if supersedes(flags) else None
        if number is None:
            return None
        old = self._db.execute(
            "SELECT length(CAST(topic AS BLOB)) + length(correlation) + length(payload) FROM outbox WHERE number = ?", (number,)
        ).fetchone()
        if (
            old is None
            or not self._db.execute(_CHANGE_MESSAGE, (priority, flags, crc, correlation, payload, number, topic)).rowcount
        ):
            return None
        self._ledger.replaced(number, size - old[0])
        return number

    def _keep_caps(self) -> None:
        excess = self._ledger.messages - self._limits.max_outbox
        if excess > 0:
            self.drop_messages(excess + self._limits.outbox_slack, "outbox-full")
        if self._ledger.incidents >= self._look_again_at:
            excess = self._ledger.incidents - self._limits.keep_incidents
            removed = self.drop_incidents(excess + self._limits.incident_slack) if excess > 0 else 0
            blocked = removed < excess
            self._look_again_at = (
                self._ledger.incidents + self._limits.incident_slack if blocked else self._limits.keep_incidents + 1
            )
