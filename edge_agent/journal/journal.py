"""`Journal`: everything that must survive, behind blocking calls that any worker thread may make.

Rules: a method that writes returns only after COMMIT and its sync (WAL, synchronous=FULL), except `delivered`, which only
loses a repetition. Every failure of the disk is a StorageError; nothing was stored then, and the same call may be tried
again. Reading never waits for writing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Self

from edge_agent.clock import Clock
from edge_agent.config.settings import JournalSettings
from edge_agent.journal.records import Counts, Drop, OpeningReport, StoredIncident, Urgency
from edge_agent.values import Closure, Incident, IncidentState, Message, PastIncident, Summary


class Journal:
    """One journal file, opened. Thread-safe. A second process that opens the same file gets a StorageError."""

    opening: OpeningReport
    """What was found at the start; report it when `opening.damage` is not empty."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], settings: JournalSettings, clock: Clock) -> Journal:
        """Open or create the file; check it, repair it, migrate it. The folder must exist.

        A damaged file is moved aside, its readable rows are carried over, and `opening` says so. Raises StorageError when
        the disk refuses, or when another process has the file open.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Commit what waits, fold the write-ahead log into the file, release it. May be called twice."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, incidents: Sequence[Incident], messages: Sequence[Message], urgency: Urgency = "critical") -> None:
        """Store incidents and queue messages, in one transaction; returns when they are durable.

        An incident replaces the stored one of the same id only if its revision is newer. Raises StorageError.
        """
        raise NotImplementedError

    def record_summary(self, summary: Summary, messages: Sequence[Message], urgency: Urgency = "soon") -> None:
        """Store a summary, mark its revision of the incident as explained, and queue messages, in one transaction.

        A summary of an older revision than the one stored is ignored with its messages. Raises StorageError.
        """
        raise NotImplementedError

    def close_incident(
        self, closure: Closure, messages: Sequence[Message] = (), incident: Incident | None = None, urgency: Urgency = "critical"
    ) -> bool:
        """Store what the operator said, and `incident`, its closed revision, where given; False if the id is unknown.

        A later closure of the same incident replaces the earlier one. Raises StorageError.
        """
        raise NotImplementedError

    def outbox(self, after: int, limit: int) -> list[tuple[int, Message]]:
        """The oldest messages that wait whose number is above `after`, in order, each with its number.

        Numbers grow; after a reconnect start again with 0. Raises StorageError.
        """
        raise NotImplementedError

    def delivered(self, numbers: Sequence[int]) -> None:
        """Take messages out of the outbox. Returns at once: they are deleted together, within 250 ms or so.

        They are not handed out again meanwhile; after a crash within that time they are, so a receiver sees them twice.
        """
        raise NotImplementedError

    def to_explain(self, limit: int) -> list[Incident]:
        """Incidents whose latest revision is newer than the explained one, oldest first. Raises StorageError."""
        raise NotImplementedError

    def open_incidents(self) -> list[Incident]:
        """Every incident whose state is open, oldest first. Raises StorageError."""
        raise NotImplementedError

    def incident(self, incident_id: str) -> StoredIncident | None:
        """The incident of that id. Raises StorageError."""
        raise NotImplementedError

    def incidents(self, limit: int, state: IncidentState | None = None, before: int | None = None) -> list[StoredIncident]:
        """Newest first; `before` is the number of the last one of the previous page. Raises StorageError."""
        raise NotImplementedError

    def summary(self, incident_id: str) -> Summary | None:
        """The latest summary of an incident. Raises StorageError."""
        raise NotImplementedError

    def past_incident(self, incident_id: str) -> PastIncident | None:
        """The incident as the memory keeps it; None unless it is closed and has a cause and a signature."""
        raise NotImplementedError

    def past_incidents(self, since_number: int = 0) -> Iterator[PastIncident]:
        """Closed incidents with a cause and a signature whose number is above `since_number`, in order of number.

        One that is closed late has a low number: whoever calls `close_incident` hands `past_incident` to the memory.
        Raises StorageError.
        """
        raise NotImplementedError

    def counts(self) -> Counts:
        """The journal in figures. Raises StorageError."""
        raise NotImplementedError

    def drops(self) -> list[Drop]:
        """What was given up, by reason. Raises StorageError."""
        raise NotImplementedError

    @property
    def damaged(self) -> bool:
        """True once SQLite found the file damaged while running; opening it again repairs it."""
        raise NotImplementedError
