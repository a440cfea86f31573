"""What a transaction of the journal may do: store incidents, summaries, escalations, closures and meters, and keep the caps.

Rules: runs on the writer thread, inside a transaction that `store` began; an operation either does all it says or lets
sqlite3.Error pass, and then the transaction is rolled back. `finish` is the transaction's last word: it keeps the caps and
queues the report of what was given up. Messages are `outbox`'s, the logs `logs`'.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from edge_agent.clock import Clock
from edge_agent.journal.drops import Drops, Tombstone
from edge_agent.journal.ledger import Ledger
from edge_agent.journal.limits import Limits
from edge_agent.journal.logs import Logs
from edge_agent.journal.meters import Meters
from edge_agent.journal.outbox import Outbox
from edge_agent.journal.records import DropReason, LogName
from edge_agent.journal.rows import (
    FINAL,
    EscalationRow,
    IncidentRow,
    MessageRow,
    MeterRow,
    Sealed,
    SummaryRow,
    Unusable,
    open_closure,
    open_dead_letter,
    open_escalation,
    open_incident,
    open_message,
    open_meter,
    open_summary,
)
from edge_agent.journal.upkeep import Upkeep

MIN_LOG_ENTRIES: Final = 100
"""Entries of a log that stay even when the file is full."""

_REMOVABLE: Final = """
    SELECT number, length(body) FROM incidents
    WHERE state = 1 AND explained >= revision AND message < (SELECT coalesce(min(number), ?) FROM outbox)
    ORDER BY number LIMIT ?"""
_EXPLAINED: Final = "SELECT number, explained, revision FROM incidents WHERE id = ?"
_ADD_INCIDENT: Final = """
    INSERT INTO incidents (id, state, revision, message, form, crc, body) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING number"""
_CHANGE_INCIDENT: Final = """
    UPDATE incidents SET state = ?, revision = ?, message = max(message, ?), form = ?, crc = ?, body = ? WHERE number = ?"""
_PUT_SUMMARY: Final = "INSERT OR REPLACE INTO summaries (number, revision, form, crc, body) VALUES (?, ?, ?, ?, ?)"
_PUT_ESCALATION: Final = """
    INSERT OR REPLACE INTO escalations (number, request, revision, state, severity, form, crc, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

_ID: Final = "(SELECT i.id FROM incidents i WHERE i.number = s.number)"
_BODIES: Final[dict[str, tuple[str, Callable[..., object]]]] = {
    "incidents": ("form, crc, body, state, revision, id FROM incidents", open_incident),
    "summaries": (f"form, crc, body, revision, {_ID} FROM summaries s", open_summary),
    "closures": (f"form, crc, body, {_ID} FROM closures s", open_closure),
    "escalations": (f"form, crc, body, request, revision, state, severity, {_ID} FROM escalations s", open_escalation),
    "outbox": ("priority, flags, crc, topic, correlation, payload FROM outbox", open_message),
    "dead_letters": (
        "number, reason, queued_s, buried_s, priority, flags, crc, topic, correlation, payload FROM dead_letters",
        open_dead_letter,
    ),
    "meters": ("crc, body, name FROM meters", open_meter),
}
"""How to tell whether a row is usable: its columns, and what reads them."""


class Operations:
    """The statements of one writing connection."""

    def __init__(
        self,
        db: sqlite3.Connection,
        ledger: Ledger,
        limits: Limits,
        clock: Clock,
        upkeep: Upkeep,
        tombstone: Tombstone | None = None,
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._limits = limits
        self._upkeep = upkeep
        self.drops = Drops(db, clock, tombstone)
        self.outbox = Outbox(db, ledger, self.drops, limits, clock, upkeep)
        self.meters = Meters(db)
        self.logs = Logs(db, ledger, self.meters, limits)
        self._look_again_at = limits.keep_incidents + 1

    def record(self, incidents: Sequence[IncidentRow], messages: Sequence[MessageRow]) -> None:
        """Store the newer incidents and queue the messages."""
        last = self.outbox.queue(messages)
        for incident in incidents:
            self._store_incident(incident, last)

    def record_summary(
        self, summary: SummaryRow, messages: Sequence[MessageRow], escalation: EscalationRow | None = None, audit: bytes = b""
    ) -> None:
        """Store a summary that is not older than the stored one, its escalation and log entry, and queue its messages."""
        found = self._db.execute(_EXPLAINED, (summary.incident_id,)).fetchone()
        if found is not None and found[1] is not None and found[1] > summary.revision:
            return
        last = self.outbox.queue(messages)
        self.logs.append("audit", audit)
        if found is None:
            return
        number, _, revision = found
        self._put_summary(number, summary, last, revision)
        if escalation is not None:
            stored = self._stored_escalation(number)
            if stored is None or stored[0] <= escalation.revision:
                self._put_escalation(number, escalation)

    def settle(
        self,
        escalation: EscalationRow,
        messages: Sequence[MessageRow],
        summary: SummaryRow | None,
        meters: Sequence[MeterRow],
        egress: bytes,
        audit: bytes,
    ) -> bool:
        """Store what became of an escalation with all that follows; False, and only the meters stored, where it is outdated."""
        self.meters.put(meters)
        found = self._db.execute(_EXPLAINED, (escalation.incident_id,)).fetchone()
        if found is None:
            return False
        number, explained, revision = found
        asked, state = self._stored_escalation(number) or (-1, 0)
        if asked > escalation.revision or (asked == escalation.revision and state >= FINAL):
            return False
        if summary is not None and explained is not None and explained > summary.revision:
            return False
        last = self.outbox.queue(messages)
        self._put_escalation(number, escalation)
        if summary is not None:
            self._put_summary(number, summary, last, revision)
        self.logs.append("egress", egress)
        self.logs.append("audit", audit)
        return True

    def record_log(self, name: LogName, body: bytes, messages: Sequence[MessageRow], meters: Sequence[MeterRow]) -> None:
        """Add an entry to a log, with meters and messages that belong to it."""
        self.meters.put(meters)
        self.outbox.queue(messages)
        self.logs.append(name, body)

    def close_incident(
        self, incident_id: str, sealed: Sealed, incident: IncidentRow | None, messages: Sequence[MessageRow]
    ) -> bool:
        """Store an operator's closure; False, and nothing stored or queued, if the incident is unknown."""
        found = self._db.execute("SELECT number FROM incidents WHERE id = ?", (incident_id,)).fetchone()
        if found is None and incident is None:
            return False
        last = self.outbox.queue(messages)
        number = found[0] if found is not None else 0
        if incident is not None:
            number = self._store_incident(incident, last)
        self._db.execute("INSERT OR REPLACE INTO closures (number, form, crc, body) VALUES (?, ?, ?, ?)", (number, *sealed))
        return True

    def begin(self) -> None:
        """A transaction begins."""
        self.drops.begin()

    def finish(self) -> None:
        """Keep the caps, and queue the report of what this transaction gave up."""
        self.outbox.keep_cap()
        self.outbox.sweep()
        self._keep_incidents()
        if self._upkeep.due and self._ledger.messages > 0:
            self._upkeep.save(self.meters)
        report = self.drops.report()
        if report is not None:
            self.outbox.queue([report])

    def commit(self) -> None:
        """The transaction is durable."""
        self.drops.commit()

    def rollback(self) -> None:
        """The transaction was undone."""
        self.drops.rollback()

    def due(self) -> bool:
        """Whether a transaction without any operation has something to do."""
        return self.outbox.sweep_due or self.drops.due or (self._upkeep.due and self._ledger.messages > 0)

    def close(self) -> None:
        """The last operation of all: store what was only counted."""
        self.drops.store_noted()
        self._upkeep.save(self.meters)

    def make_room(self, count: int) -> int:
        """Remove up to `count` rows of what may go first; returns how many."""
        return (
            self.drop_incidents(count)
            or self.outbox.expire_dead_letters(count)
            or self._shorten_logs(count)
            or self.outbox.give_up(count, "file-full")
        )

    def drop_incidents(self, count: int) -> int:
        """Remove the oldest incidents that are closed, explained and delivered; returns how many."""
        rows = self._db.execute(_REMOVABLE, (self._ledger.next_message, count)).fetchall()
        for number, _ in rows:
            self._delete_incident(number)
        self.drops.count("incident-expired", len(rows), sum(size for _, size in rows))
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
                self.outbox.delete([number])
            case "incidents":
                self._delete_incident(number)
            case "summaries":
                self._db.execute("UPDATE incidents SET explained = NULL WHERE number = ?", (number,))
                self._ledger.explained(number, latest=False)
                self._db.execute("DELETE FROM summaries WHERE number = ?", (number,))
            case _:
                gone = self._db.execute(f"DELETE FROM {table} WHERE number = ?", (number,)).rowcount
                if table == "dead_letters":
                    self._ledger.dead_letters -= gone
        self.drops.count(reason, 1, size)

    def _store_incident(self, incident: IncidentRow, last_message: int) -> int:
        """Insert or replace by id if newer; returns the incident's number."""
        found = self._db.execute(_EXPLAINED, (incident.id,)).fetchone()
        row = (incident.state, incident.revision, last_message, *incident.sealed)
        number, explained, revision = found or (0, None, 0)
        if found is None:
            self._ledger.incidents += 1
            number = int(self._db.execute(_ADD_INCIDENT, (incident.id, *row)).fetchone()[0])
        elif incident.revision > revision:
            self._db.execute(_CHANGE_INCIDENT, (*row, number))
        else:
            return int(number)
        self._ledger.explained(number, latest=explained is not None and explained >= incident.revision)
        return int(number)

    def _put_summary(self, number: int, summary: SummaryRow, last_message: int, revision: int) -> None:
        """Store a summary; `revision` is the incident's."""
        self._db.execute(_PUT_SUMMARY, (number, summary.revision, *summary.sealed))
        self._db.execute(
            "UPDATE incidents SET explained = ?, message = max(message, ?) WHERE number = ?",
            (summary.revision, last_message, number),
        )
        self._ledger.explained(number, latest=summary.revision >= revision)

    def _stored_escalation(self, number: int) -> tuple[int, int] | None:
        """Revision and state of an incident's escalation."""
        columns = "CAST(revision AS INTEGER), CAST(state AS INTEGER)"
        found: tuple[int, int] | None = self._db.execute(
            f"SELECT {columns} FROM escalations WHERE number = ?", (number,)
        ).fetchone()
        return found

    def _put_escalation(self, number: int, row: EscalationRow) -> None:
        self._db.execute(_PUT_ESCALATION, (number, row.request, row.revision, row.state, row.severity, *row.sealed))

    def _delete_incident(self, number: int) -> None:
        self._ledger.incidents -= self._db.execute("DELETE FROM incidents WHERE number = ?", (number,)).rowcount
        self._ledger.explained(number, latest=True)
        self._db.execute("DELETE FROM summaries WHERE number = ?", (number,))
        self._db.execute("DELETE FROM closures WHERE number = ?", (number,))
        deleted = "DELETE FROM escalations WHERE number = ? RETURNING CAST(state AS INTEGER), length(body)"
        for state, size in self._db.execute(deleted, (number,)).fetchall():
            self.drops.count("escalation-expired", int(state < FINAL), size)

    def _shorten_logs(self, count: int) -> int:
        for name, ends in self._ledger.ends.items():
            spare = ends.last - ends.first + 1 - MIN_LOG_ENTRIES
            gone, size = self.logs.shorten(name, min(count, spare)) if spare > 0 else (0, 0)
            self.drops.count("log-shortened", gone, size)
            if gone:
                return gone
        return 0

    def _keep_incidents(self) -> None:
        if self._ledger.incidents < self._look_again_at:
            return
        excess = self._ledger.incidents - self._limits.keep_incidents
        removed = self.drop_incidents(excess + self._limits.incident_slack) if excess > 0 else 0
        blocked = removed < excess
        self._look_again_at = self._ledger.incidents + self._limits.incident_slack if blocked else self._limits.keep_incidents + 1
