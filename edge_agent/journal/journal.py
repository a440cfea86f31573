"""`Journal`: everything that must survive, behind blocking calls that any worker thread may make.

Rules: a method that writes returns only after COMMIT and its sync (WAL, synchronous=FULL), except `delivered`, which only
loses a repetition. Every failure of the disk is a StorageError; nothing was stored then, and the same call may be tried
again. Reading never waits for a sync of the disk.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Final, Self

from edge_agent.clock import Clock
from edge_agent.config.settings import JournalSettings
from edge_agent.errors import StorageError
from edge_agent.journal.commits import Committer
from edge_agent.journal.ledger import Ledger
from edge_agent.journal.opening import lock, open_database
from edge_agent.journal.operations import Limits, Operations
from edge_agent.journal.reader import Reader, as_past
from edge_agent.journal.records import Counts, Drop, DropReason, OpeningReport, StoredIncident, Urgency
from edge_agent.journal.rows import incident_row, message_row, seal_closure, seal_summary
from edge_agent.journal.store import Store
from edge_agent.journal.trouble import DAMAGE_ERRORS, storage_error
from edge_agent.values import Closure, Incident, IncidentState, Message, PastIncident, Summary

COMMIT_TIMEOUT_S: Final = 30.0
"""How long a caller waits for the disk before it is told that it cannot be relied on."""


class Journal:
    """One journal file, opened with `Journal.open`. Thread-safe. A second process that opens it gets a StorageError."""

    def __init__(self, path: str, lock_fd: int, store: Store, ledger: Ledger, opening: OpeningReport, clock: Clock) -> None:
        self.opening: Final = opening
        """What was found at the start; report it when `opening.damage` is not empty."""
        self._path = path
        self._lock_fd = lock_fd
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._reader = Reader(path, self._discard, store.suspect)
        self._committer = Committer(store.transact, "journal")
        self._closing = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, path: str | os.PathLike[str], settings: JournalSettings, clock: Clock) -> Journal:
        """Open or create the file; check it, repair it, migrate it. The folder must exist.

        A damaged file is moved aside, its readable rows are carried over, and `opening` says so. Raises StorageError when
        the disk refuses, or when another process has the file open.
        """
        name = os.path.abspath(path)
        lock_fd = lock(name)
        try:
            db, opening = open_database(name, settings.max_bytes, clock)
            try:
                ledger = Ledger()
                ledger.load(db)
            except DAMAGE_ERRORS as error:
                db.close()
                raise storage_error(error, name, "opening") from error
        except BaseException:
            os.close(lock_fd)
            raise
        limits = Limits(settings.max_outbox, settings.keep_incidents, settings.max_bytes // 8)
        store = Store(name, db, ledger, Operations(db, ledger, limits, clock))
        return cls(name, lock_fd, store, ledger, opening, clock)

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

    def record_summary(self, summary: Summary, messages: Sequence[Message], urgency: Urgency = "soon") -> None:
        """Store a summary, mark its revision of the incident as explained, and queue messages, in one transaction.

        A summary of an older revision than the one stored is ignored with its messages. Raises StorageError.
        """
        sealed = seal_summary(summary)
        queued = [message_row(message) for message in messages]
        incident_id, revision = summary.incident_id, summary.revision
        self._wait(self._committer.submit(lambda o: o.record_summary(incident_id, revision, sealed, queued), urgency))

    def close_incident(
        self, closure: Closure, messages: Sequence[Message] = (), incident: Incident | None = None, urgency: Urgency = "critical"
    ) -> bool:
        """Store what the operator said, and `incident`, its closed revision, where given; False if the id is unknown.

        A later closure of the same incident replaces the earlier one. Raises StorageError.
        """
        sealed = seal_closure(closure)
        row = incident_row(incident) if incident is not None else None
        queued = [message_row(message) for message in messages]
        incident_id = closure.incident_id
        return bool(self._wait(self._committer.submit(lambda o: o.close_incident(incident_id, sealed, row, queued), urgency)))

    def outbox(self, after: int, limit: int) -> list[tuple[int, Message]]:
        """The oldest messages that wait whose number is above `after`, in order, each with its number.

        Numbers grow; after a reconnect start again with 0. Raises StorageError.
        """
        return self._ledger.hand_out(after, limit, self._reader.messages)

    def delivered(self, numbers: Sequence[int]) -> None:
        """Take messages out of the outbox. Returns at once: they are deleted together, within 250 ms or so.

        They are not handed out again meanwhile; after a crash within that time they are, so a receiver sees them twice.
        """
        self._ledger.mark_delivered(numbers)
        # After close it makes no difference: they are handed out once more at the next start.
        with contextlib.suppress(StorageError):
            self._committer.submit(_nothing, "relaxed")

    def to_explain(self, limit: int) -> list[Incident]:
        """Incidents whose latest revision is newer than the explained one, oldest first. Raises StorageError."""
        return self._reader.to_explain(limit)

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
        queued_s = self._reader.oldest_queued_s()
        return Counts(
            incidents=self._ledger.incidents,
            unexplained=self._reader.unexplained(),
            outbox=self._ledger.messages,
            outbox_bytes=self._ledger.message_bytes,
            oldest_message_age_s=max(0.0, self._clock.now_s() - queued_s) if queued_s is not None else 0.0,
            file_bytes=_size(self._path) + _size(self._path + "-wal"),
            commits=self._store.commits,
            operations=self._store.operations,
            failed_commits=self._store.failed_commits,
            dropped=sum(drop.count for drop in self.drops() if drop.reason != "incident-expired"),
        )

    def drops(self) -> list[Drop]:
        """What was given up, by reason. Raises StorageError."""
        return self._reader.drops()

    @property
    def damaged(self) -> bool:
        """True once SQLite found the file damaged while running; opening it again repairs it."""
        return self._store.damaged

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
