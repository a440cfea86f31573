"""`Journal`: everything that must survive, behind blocking calls that any worker thread may make.

Rules: a method that writes returns only after COMMIT and its sync (WAL, synchronous=FULL), except `delivered`, which only
loses a repetition. Every failure of the disk is a StorageError; nothing was stored then, and the same call may be tried
again. Reading never waits for a sync of the disk.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import MappingProxyType
from typing import Final, Self

from edge_agent.clock import Clock
from edge_agent.config.settings import JournalSettings
from edge_agent.errors import StorageError
from edge_agent.journal.assembly import open_store
from edge_agent.journal.commits import Committer
from edge_agent.journal.drops import Tombstone
from edge_agent.journal.opening import lock
from edge_agent.journal.operations import Operations
from edge_agent.journal.reader import Reader, as_past
from edge_agent.journal.records import (
    NO_LOSS,
    Counts,
    DeadLetter,
    DropReason,
    LogName,
    OpeningReport,
    Queued,
    StoredIncident,
    Urgency,
)
from edge_agent.journal.rows import escalation_row, incident_row, message_row, meter_row, seal_closure, summary_row
from edge_agent.journal.store import Store
from edge_agent.values import (
    Closure,
    Drop,
    Escalation,
    Incident,
    IncidentState,
    LogEntry,
    Message,
    PastIncident,
    Summary,
)

COMMIT_TIMEOUT_S: Final = 30.0
"""How long a caller waits for the disk before it is told that it cannot be relied on."""

MANY_DELIVERED: Final = 1_000
"""So many delivered messages do not wait for others to share the commit that deletes them."""


class Journal:
    """One journal file, opened with `Journal.open`. Thread-safe. A second process that opens it gets a StorageError."""

    def __init__(self, path: str, lock_fd: int, store: Store, opening: OpeningReport, clock: Clock) -> None:
        self.opening: Final = opening
        """What was found at the start; report it when `opening.damage` is not empty."""
        self._path = path
        self._lock_fd = lock_fd
        self._store = store
        self._ledger = store.ledger
        self._clock = clock
        self._reader = Reader(path, self._discard, store.suspect)
        self._committer = Committer(store.transact, "journal", store.tick)
        self._closing = threading.Lock()
        self._closed = False

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], settings: JournalSettings, clock: Clock, tombstone: Tombstone | None = None
    ) -> Journal:
        """Open or create the file; check it, repair it, migrate it. The folder must exist.

        `tombstone` makes the message that reports what was given up, queued with every transaction that gave something up.
        A damaged file is moved aside, its readable rows are carried over, and `opening` says so. Raises StorageError when
        the disk refuses, or when another process has the file open.
        """
        name = os.path.abspath(path)
        lock_fd = lock(name)
        try:
            store, opening = open_store(name, settings, clock, tombstone)
        except BaseException:
            os.close(lock_fd)
            raise
        journal = cls(name, lock_fd, store, opening, clock)
        if opening.damage:
            # The repair was counted in the file before there was an outbox to report it.
            journal._report_drops()
        return journal

    def close(self) -> None:
        """Commit what waits, fold the write-ahead log into the file, release it. May be called twice.

        Raises StorageError if the disk holds the last commit up; the file stays locked then until the process ends.
        """
        with self._closing:
            if self._closed:
                return
            if not self._committer.stop(COMMIT_TIMEOUT_S):
                raise StorageError(f"{self._path}: the disk does not answer, the last commit is not confirmed; check the disk")
            self._closed = True
            self._reader.close()
            self._store.close()
            os.close(self._lock_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, incidents: Sequence[Incident], messages: Sequence[Message], urgency: Urgency = "critical") -> None:
        """Store incidents and queue messages, in one transaction; returns when they are durable.

        An incident replaces the stored one of the same id only if its revision is newer. Raises StorageError.
        """
        rows = [incident_row(incident) for incident in incidents]
        queued = [message_row(message) for message in messages]
        self._wait(self._committer.submit(lambda operations: operations.record(rows, queued), urgency))

    def record_summary(
        self,
        summary: Summary,
        messages: Sequence[Message],
        urgency: Urgency = "soon",
        *,
        escalation: Escalation | None = None,
        audit: bytes = b"",
    ) -> None:
        """Store a summary, mark its revision of the incident as explained, and queue messages, in one transaction.

        With it goes `escalation`, which replaces the incident's stored one unless that is of a newer revision, and `audit`,
        if it is not empty, as an entry of the audit log. A summary of an older revision than the one stored is ignored with
        all of that; one of the same revision replaces it. Raises StorageError.
        """
        row = summary_row(summary)
        queued = [message_row(message) for message in messages]
        asked = escalation_row(escalation) if escalation is not None else None
        self._wait(self._committer.submit(lambda o: o.record_summary(row, queued, asked, audit), urgency))

    def settle(
        self,
        escalation: Escalation,
        *,
        messages: Sequence[Message] = (),
        summary: Summary | None = None,
        meters: Mapping[str, bytes] = MappingProxyType({}),
        egress: bytes = b"",
        audit: bytes = b"",
        urgency: Urgency = "critical",
    ) -> bool:
        """Store how an escalation stands, and in the same transaction what follows: a revised summary, meters, entries of the
        logs, messages.

        False, and nothing but the meters stored, if the incident is gone, if its stored escalation is of a newer revision or
        of this one and final, or if `summary` is given and a newer revision is explained already. Raises StorageError.
        """
        row = escalation_row(escalation)
        queued = [message_row(message) for message in messages]
        revised = summary_row(summary) if summary is not None else None
        spent = [meter_row(name, body) for name, body in meters.items()]
        return bool(self._wait(self._committer.submit(lambda o: o.settle(row, queued, revised, spent, egress, audit), urgency)))

    def record_meters(self, meters: Mapping[str, bytes], urgency: Urgency = "soon") -> None:
        """Store small states under their names. Raises StorageError."""
        rows = [meter_row(name, body) for name, body in meters.items()]
        self._wait(self._committer.submit(lambda operations: operations.meters.put(rows), urgency))

    def record_log(
        self,
        name: LogName,
        body: bytes,
        *,
        messages: Sequence[Message] = (),
        meters: Mapping[str, bytes] = MappingProxyType({}),
        urgency: Urgency = "critical",
    ) -> None:
        """Add an entry to a log, and in the same transaction store meters and queue messages. Raises StorageError."""
        queued = [message_row(message) for message in messages]
        rows = [meter_row(meter, state) for meter, state in meters.items()]
        self._wait(self._committer.submit(lambda operations: operations.record_log(name, body, queued, rows), urgency))

    def close_incident(
        self, closure: Closure, messages: Sequence[Message] = (), incident: Incident | None = None, urgency: Urgency = "critical"
    ) -> bool:
        """Store what the operator said, and `incident`, its closed revision, where given; False if the id is unknown.

        A later closure of the same incident replaces the earlier one, its cause and its note, without a trace. Raises
        StorageError.
        """
        sealed = seal_closure(closure)
        row = incident_row(incident) if incident is not None else None
        queued = [message_row(message) for message in messages]
        incident_id = closure.incident_id
        return bool(self._wait(self._committer.submit(lambda o: o.close_incident(incident_id, sealed, row, queued), urgency)))

    def outbox(self, after: int, limit: int) -> list[Queued]:
        """The oldest messages that wait whose number is above `after`, in order.

        Numbers grow; after a reconnect start again with 0. Raises StorageError.
        """
        first_new = self._ledger.first_new
        return self._ledger.hand_out(after, limit, lambda start, count: self._reader.messages(start, count, first_new))

    def delivered(self, numbers: Sequence[int]) -> None:
        """Take messages out of the outbox. Returns at once: they are deleted together, within 250 ms or so.

        They are not handed out again meanwhile; after a crash within that time they are, so a receiver sees them twice.
        """
        many = self._ledger.mark_delivered(numbers) >= MANY_DELIVERED
        # After close it makes no difference: they are handed out once more at the next start.
        with contextlib.suppress(StorageError):
            self._committer.submit(_nothing, "critical" if many else "relaxed")

    def bury(self, number: int, reason: str) -> None:
        """Move a message that cannot be delivered from the outbox to the dead letters, counted; nothing if it is gone.

        `reason` is a short stable word group such as `packet-too-large`. Raises StorageError.
        """
        self._wait(self._committer.submit(lambda operations: operations.outbox.bury(number, reason), "soon"))

    def dead_letters(self, limit: int, before: int | None = None) -> list[DeadLetter]:
        """Newest first; `before` is the number of the last one of the previous page. Raises StorageError."""
        return self._reader.dead_letters(limit, before)

    def escalation(self, incident_id: str) -> Escalation | None:
        """The escalation of an incident. Raises StorageError."""
        return self._reader.escalation(incident_id)

    def escalation_of(self, request_id: str) -> Escalation | None:
        """The escalation whose `id` is `request_id`. Raises StorageError."""
        return self._reader.escalation_of(request_id)

    def pending_escalations(self, limit: int, offset: int = 0) -> list[Escalation]:
        """Escalations that are queued or sent, the most severe first, of equal ones the oldest. Raises StorageError."""
        return self._reader.pending_escalations(limit, offset)

    def pending_count(self) -> int:
        """How many escalations are queued or sent. Raises StorageError."""
        return self._reader.pending_count()

    def meter(self, name: str) -> bytes | None:
        """What `record_meters` or `settle` stored; None if there is none or it was damaged. Raises StorageError."""
        return self._reader.meter(name)

    def log(self, name: LogName, after: int = 0, limit: int = 1_000) -> list[LogEntry]:
        """Entries of a log whose number is above `after`, oldest first, damaged ones as they stand. Raises StorageError."""
        return self._reader.log(name, after, limit)

    def log_anchor(self, name: LogName) -> bytes:
        """What a log's oldest entry follows from: the last removed one's hash, or `chain.ANCHOR`. Raises StorageError."""
        return self._reader.log_anchor(name)

    def log_head(self, name: LogName) -> LogEntry | None:
        """The newest entry of a log. Raises StorageError."""
        return self._reader.log_head(name)

    def to_explain(self, limit: int) -> list[Incident]:
        """Incidents whose latest revision is newer than the explained one, oldest first. Raises StorageError."""
        return self._reader.of_numbers(self._ledger.to_explain(limit))

    def open_incidents(self) -> list[Incident]:
        """Every incident whose state is open, oldest first. Raises StorageError."""
        return self._reader.open_incidents()

    def incident(self, incident_id: str) -> StoredIncident | None:
        """The incident of that id. Raises StorageError."""
        return self._reader.incident(incident_id)

    def incidents(self, limit: int, state: IncidentState | None = None, before: int | None = None) -> list[StoredIncident]:
        """Newest first; `before` is the number of the last one of the previous page. Raises StorageError."""
        return self._reader.incidents(limit, state, before)

    def summary(self, incident_id: str) -> Summary | None:
        """The latest summary of an incident. Raises StorageError."""
        return self._reader.summary(incident_id)

    def past_incident(self, incident_id: str) -> PastIncident | None:
        """The incident as the memory keeps it; None unless it is closed and has a cause and a signature."""
        stored = self._reader.incident(incident_id)
        return as_past(stored) if stored is not None else None

    def past_incidents(self, since_number: int = 0) -> Iterator[PastIncident]:
        """Closed incidents with a cause and a signature whose number is above `since_number`, in order of number.

        One that is closed late has a low number: whoever calls `close_incident` hands `past_incident` to the memory.
        Raises StorageError.
        """
        return self._reader.past_incidents(since_number)

    def counts(self) -> Counts:
        """The journal in figures. Raises StorageError."""
        since_s, lived_s = self._reader.oldest_since_s(), self._store.upkeep.ageing.lived_s
        return Counts(
            incidents=self._ledger.incidents,
            unexplained=self._ledger.unexplained,
            outbox=self._ledger.messages,
            outbox_bytes=self._ledger.message_bytes,
            oldest_message_age_s=max(0.0, lived_s - since_s) if since_s is not None else 0.0,
            file_bytes=_size(self._path) + _size(self._path + "-wal"),
            commits=self._store.commits,
            operations=self._store.operations,
            failed_commits=self._store.failed_commits,
            written_bytes=self._store.upkeep.wear.total_bytes,
            written_bytes_day=self._store.upkeep.wear.day_bytes,
            dropped=sum(drop.count for drop in self.drops() if drop.reason not in NO_LOSS),
            dead_letters=self._ledger.dead_letters,
        )

    def drops(self) -> list[Drop]:
        """What was given up, by reason. Raises StorageError."""
        return self._reader.drops()

    @property
    def damaged(self) -> bool:
        """True once SQLite found the file damaged while running; opening it again repairs it."""
        return self._store.damaged

    @property
    def trouble(self) -> str:
        """What hinders the journal now, in words, before a call fails for it; empty while nothing does. Any thread."""
        return self._store.trouble()

    def _report_drops(self) -> None:
        with contextlib.suppress(StorageError):
            self._committer.submit(lambda operations: operations.drops.report_anyway(), "critical")

    def _discard(self, table: str, number: int, reason: DropReason) -> None:
        """Have a row deleted that a reader found unusable; if that fails the next reader finds it again."""
        with contextlib.suppress(StorageError):
            self._committer.submit(lambda operations: operations.discard_row(table, number, reason), "relaxed")

    def _wait(self, future: Future[object]) -> object:
        try:
            return future.result(COMMIT_TIMEOUT_S)
        except TimeoutError as error:
            raise StorageError(
                f"{self._path}: the disk has not confirmed a commit for {COMMIT_TIMEOUT_S:g} s; it may be stored; check the disk"
            ) from error


def _nothing(_: Operations) -> None:
    """An operation that only brings a transaction about."""


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
