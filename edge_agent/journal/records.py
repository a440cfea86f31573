"""What the journal hands out besides the values of `edge_agent.values`: reports, counts, and incidents with their keys.

Rules: frozen, no I/O.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from edge_agent.values import Closure, Incident

Urgency: TypeAlias = Literal["critical", "soon", "relaxed"]
"""How long a commit may wait for others to share its sync: not at all, 10 ms, 250 ms."""

DropReason: TypeAlias = Literal[
    "outbox-full", "file-full", "too-large", "damaged-row", "unreadable-row", "damaged-file", "incident-expired"
]
"""Why something is no longer there. Messages: `outbox-full` (by count), `file-full` (by bytes), `too-large`. Rows whose
checksum is wrong: `damaged-row`; rows that this version cannot interpret: `unreadable-row`. `damaged-file` counts repairs.
`incident-expired` is ordinary: the oldest closed incidents make room for new ones."""


class OpeningReport(Struct, frozen=True, kw_only=True):
    """What was found when the journal was opened. `damage` and `aside` are empty where nothing was wrong."""

    path: str
    created: bool = False
    """True where no file was there before."""
    version_before: int = 0
    """The format version of the file that was found; 0 for none or for one that could not be read."""
    damage: str = ""
    """What is wrong with the file that was found, in SQLite's words or ours."""
    aside: str = ""
    """Where the damaged file was moved to."""
    salvaged_incidents: int = 0
    salvaged_summaries: int = 0
    salvaged_messages: int = 0

    @property
    def salvaged(self) -> int:
        """Rows that were carried over from the damaged file."""
        return self.salvaged_incidents + self.salvaged_summaries + self.salvaged_messages


class StoredIncident(Struct, frozen=True, kw_only=True):
    """An incident as it stands in the journal."""

    number: int
    """The journal's integer key; grows with the time of the first recording."""
    incident: Incident
    explained_revision: int | None = None
    """The revision that the latest summary describes; None before the first summary."""
    closure: Closure | None = None


class Drop(Struct, frozen=True, kw_only=True):
    """How much was given up for one reason, ever. Times are seconds since 1970 by the system clock."""

    reason: str
    """A `DropReason`."""
    count: int
    bytes: int
    first_s: float
    last_s: float


class Counts(Struct, frozen=True, kw_only=True):
    """The journal in figures."""

    incidents: int
    unexplained: int
    """Incidents whose latest revision has no summary yet."""
    outbox: int
    outbox_bytes: int
    """Topics and payloads that wait, without SQLite's own overhead."""
    oldest_message_age_s: float
    """Age of the oldest message that waits, 0.0 where none does."""
    file_bytes: int
    """The database and its write-ahead log on disk."""
    commits: int
    """Transactions since the journal was opened."""
    operations: int
    """Operations that these transactions carried."""
    failed_commits: int
    dropped: int
    """Sum of `Drop.count` over all reasons but `incident-expired`."""
