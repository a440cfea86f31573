"""The journal: incidents, summaries and the outbox in one SQLite file. What is acknowledged is here first, synced to disk.

Rules: one writer thread owns the only connection that writes (`commits`); callers hand it operations and wait for their
COMMIT, so "accepted" is never said before it is true. Reads have connections of their own (`reader`). SQL stands in
`operations` and `reader`, the tables in `schema`, repair of a damaged file in `salvage`. The format is specified in
`docs/formats/journal.md`.
"""

from __future__ import annotations

from edge_agent.journal.journal import Journal
from edge_agent.journal.records import (
    Counts,
    DeadLetter,
    DropReason,
    LogName,
    OpeningReport,
    Queued,
    StoredIncident,
    Urgency,
)

JOURNAL_NAME = "journal.db"
"""The file's name in the state folder."""

__all__ = [
    "JOURNAL_NAME",
    "Counts",
    "DeadLetter",
    "DropReason",
    "Journal",
    "LogName",
    "OpeningReport",
    "Queued",
    "StoredIncident",
    "Urgency",
]
