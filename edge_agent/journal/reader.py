"""Reading the journal: connections that cannot write, for as many threads as ask.

Rules: no method keeps a read transaction open after it returned, because that would keep the write-ahead log from being
folded in; rows that fail their checksum are left out and handed to `on_unusable`, never raised. Damage of the file itself is a
StorageError and told to `on_damage`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote

from edge_agent.chain import ANCHOR
from edge_agent.journal.drops import ALL_DROPS, drop_of
from edge_agent.journal.ledger import TO_EXPLAIN
from edge_agent.journal.logs import anchor_meter
from edge_agent.journal.records import DeadLetter, DropReason, LogName, Queued, StoredIncident
from edge_agent.journal.rows import (
    STATES,
    Unusable,
    open_closure,
    open_dead_letter,
    open_escalation,
    open_incident,
    open_message,
    open_meter,
    open_summary,
    past_incident,
    read_text,
)
from edge_agent.journal.trouble import DAMAGE_ERRORS, is_damage, storage_error
from edge_agent.values import Drop, Escalation, Incident, IncidentState, LogEntry, PastIncident, Summary

READER_CACHE_KB: Final = 256
"""There may be a connection a thread."""
_PAGE_ROWS: Final = 256
_STORED: Final = """
    SELECT i.number, CAST(i.explained AS INTEGER), i.form, i.crc, i.body, i.state, i.revision, i.id, c.form, c.crc, c.body
    FROM incidents i LEFT JOIN closures c ON c.number = i.number """
_ESCALATION: Final = """
    SELECT e.number, e.form, e.crc, e.body, e.request, e.revision, e.state, e.severity, i.id
    FROM escalations e JOIN incidents i ON i.number = e.number """
_ENTRY: Final = "number, CAST(body AS BLOB), CAST(hash AS BLOB)"
"""A damaged entry is shown as it stands, whatever type its bytes have become: verifying the chain tells."""
_LAST: Final = (1 << 63) - 1
_T = TypeVar("_T")

OnUnusable = Callable[[str, int, DropReason], None]
"""Told of a row that was left out: its table, its number, why."""


def connect_reader(path: str) -> sqlite3.Connection:
    """A connection that cannot write."""
    db = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    db.text_factory = read_text
    with contextlib.suppress(*DAMAGE_ERRORS):
        # It reads the schema; what is wrong with that is found again by whoever asks for something.
        db.execute(f"PRAGMA cache_size = -{READER_CACHE_KB}")
    return db


class Reader:
    """Read access to a journal file that may be in use. Thread-safe."""

    def __init__(self, path: str, on_unusable: OnUnusable, on_damage: Callable[[], None]) -> None:
        self._path = path
        self._on_unusable = on_unusable
        self._on_damage = on_damage
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def close(self) -> None:
        """Close the idle connections; one in use is closed when its call ends."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    def messages(self, after: int, limit: int, first_new: int = 0) -> list[Queued]:
        """Messages of the outbox by number; those below `first_new` are marked as having been there before the start."""
        rows = self._all(
            "SELECT number, CAST(queued_s AS REAL), priority, flags, crc, topic, correlation, payload FROM outbox"
            " WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        queued_s = {row[0]: row[1] for row in rows}
        usable = self._usable("outbox", ((row[0], open_message(*row[2:])) for row in rows))
        return [Queued(number, message, queued_s[number], number < first_new) for number, message in usable]

    def oldest_since_s(self) -> float | None:
        """Where `Ageing.lived_s` stood when the message at the head of the outbox was written; None if the outbox is empty."""
        rows = self._all("SELECT CAST(since_s AS REAL) FROM outbox ORDER BY number LIMIT 1")
        return float(rows[0][0]) if rows else None

    def of_numbers(self, numbers: Sequence[int]) -> list[Incident]:
        """The incidents of these numbers, by number."""
        found = []
        for start in range(0, len(numbers), _PAGE_ROWS):
            page = numbers[start : start + _PAGE_ROWS]
            found += self._incidents(f"WHERE number IN ({', '.join('?' * len(page))}) ORDER BY number", page)
        return found

    def unexplained(self) -> int:
        """How many incidents' latest revision has no summary; reads all of them."""
        return int(self._all(f"SELECT count(*) FROM incidents WHERE {TO_EXPLAIN}")[0][0])

    def open_incidents(self) -> list[Incident]:
        """Incidents whose state is open, by number."""
        return self._incidents("WHERE state = ? ORDER BY number", (STATES["open"],))

    def incident(self, incident_id: str) -> StoredIncident | None:
        """The incident of that id."""
        return next(iter(self._stored(self._all(_STORED + "WHERE i.id = ?", (incident_id,)))), None)

    def incidents(self, limit: int, state: IncidentState | None, before: int | None) -> list[StoredIncident]:
        """Newest first, below the number `before`."""
        clauses, values = ["i.number < ?"], [before if before is not None else _LAST]
        if state is not None:
            clauses.append("i.state = ?")
            values.append(STATES[state])
        query = f"{_STORED} WHERE {' AND '.join(clauses)} ORDER BY i.number DESC LIMIT ?"
        return list(self._stored(self._all(query, (*values, limit))))

    def summary(self, incident_id: str) -> Summary | None:
        """The latest summary of an incident."""
        rows = self._all(
            "SELECT s.number, s.form, s.crc, s.body, s.revision, i.id FROM summaries s"
            " JOIN incidents i ON i.number = s.number WHERE i.id = ?",
            (incident_id,),
        )
        return next((s for _, s in self._usable("summaries", ((row[0], open_summary(*row[1:])) for row in rows))), None)

    def past_incidents(self, since_number: int) -> Iterator[PastIncident]:
        """Closed incidents with cause and signature, by number, read in pages."""
        while True:
            rows = self._all(
                _STORED + "WHERE i.number > ? AND c.number IS NOT NULL ORDER BY i.number LIMIT ?", (since_number, _PAGE_ROWS)
            )
            for stored in self._stored(rows):
                past = as_past(stored)
                if past is not None:
                    yield past
            if len(rows) < _PAGE_ROWS:
                return
            since_number = rows[-1][0]

    def escalation(self, incident_id: str) -> Escalation | None:
        """The escalation of an incident."""
        return next(iter(self._escalations("WHERE i.id = ?", (incident_id,))), None)

    def escalation_of(self, request_id: str) -> Escalation | None:
        """The escalation that the outside knows as `request_id`; of several the newest incident's."""
        return next(iter(self._escalations("WHERE e.request = ? ORDER BY e.number DESC", (request_id,))), None)

    def pending_escalations(self, limit: int, offset: int = 0) -> list[Escalation]:
        """Those that are not final, the most severe first, and of equal ones the oldest incident's."""
        return self._escalations("WHERE e.state < 2 ORDER BY e.severity DESC, e.number LIMIT ? OFFSET ?", (limit, offset))

    def pending_count(self) -> int:
        """How many escalations are not final."""
        return int(self._all("SELECT count(*) FROM escalations WHERE state < 2")[0][0])

    def meter(self, name: str) -> bytes | None:
        """The body of a meter; None if there is none or it is damaged."""
        rows = self._all("SELECT number, crc, body, name FROM meters WHERE name = ?", (name,))
        return next((body for _, body in self._usable("meters", ((row[0], open_meter(*row[1:])) for row in rows))), None)

    def log(self, name: LogName, after: int, limit: int) -> list[LogEntry]:
        """Entries of a log in order, as they stand: whether they are whole is for `chain.first_break` to say."""
        rows = self._all(f"SELECT {_ENTRY} FROM {name} WHERE number > ? ORDER BY number LIMIT ?", (after, limit))
        return [LogEntry(number=number, body=body, hash=entry_hash) for number, body, entry_hash in rows]

    def log_head(self, name: LogName) -> LogEntry | None:
        """The last entry of a log."""
        rows = self._all(f"SELECT {_ENTRY} FROM {name} ORDER BY number DESC LIMIT 1")
        return LogEntry(number=rows[0][0], body=rows[0][1], hash=rows[0][2]) if rows else None

    def log_anchor(self, name: LogName) -> bytes:
        """The hash of the last entry that was removed for its age; `chain.ANCHOR` if none was."""
        return self.meter(anchor_meter(name)) or ANCHOR

    def dead_letters(self, limit: int, before: int | None) -> list[DeadLetter]:
        """Newest first, below the number `before`."""
        rows = self._all(
            "SELECT number, reason, queued_s, buried_s, priority, flags, crc, topic, correlation, payload FROM dead_letters"
            " WHERE number < ? ORDER BY number DESC LIMIT ?",
            (before if before is not None else _LAST, limit),
        )
        return [letter for _, letter in self._usable("dead_letters", ((row[0], open_dead_letter(*row)) for row in rows))]

    def drops(self) -> list[Drop]:
        """What was given up, by reason."""
        return [drop_of(row) for row in self._all(ALL_DROPS)]

    def _escalations(self, where: str, values: Sequence[object]) -> list[Escalation]:
        rows = self._all(_ESCALATION + where, values)
        return [e for _, e in self._usable("escalations", ((row[0], open_escalation(*row[1:])) for row in rows))]

    def _incidents(self, where: str, values: Sequence[object]) -> list[Incident]:
        rows = self._all(f"SELECT number, form, crc, body, state, revision, id FROM incidents {where}", values)
        return [i for _, i in self._usable("incidents", ((row[0], open_incident(*row[1:])) for row in rows))]

    def _stored(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[StoredIncident]:
        for number, explained, *sealed, form, crc, body in rows:
            for _, incident in self._usable("incidents", [(number, open_incident(*sealed))]):
                closures = [] if body is None else [(number, open_closure(form, crc, body, incident.id))]
                closure = next((c for _, c in self._usable("closures", closures)), None)
                yield StoredIncident(number=number, incident=incident, explained_revision=explained, closure=closure)

    def _usable(self, table: str, rows: Iterable[tuple[int, _T | Unusable]]) -> Iterator[tuple[int, _T]]:
        for number, value in rows:
            if isinstance(value, Unusable):
                self._on_unusable(table, number, value.reason)
            else:
                yield number, value

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._connection() as db:
                return db.execute(query, values).fetchall()
        except DAMAGE_ERRORS as error:
            if is_damage(error):
                self._on_damage()
            raise storage_error(error, self._path, "reading") from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            db = self._idle.pop() if self._idle else None
        db = db or connect_reader(self._path)
        try:
            yield db
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(db)
            if not keep:
                db.close()


def as_past(stored: StoredIncident) -> PastIncident | None:
    """The incident as the memory keeps it; None unless it is closed and has a cause and a signature."""
    return past_incident(stored.number, stored.incident, stored.closure) if stored.closure is not None else None
