"""What the journal hands out besides the values of `edge_agent.values`: reports, counts, and incidents with their keys.

Rules: frozen, no I/O.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from edge_agent.values import Closure, Incident, Message

Urgency: TypeAlias = Literal["critical", "soon", "relaxed"]
"""How long a commit may wait for others to share its sync: not at all, 10 ms, 250 ms."""

LogName: TypeAlias = Literal["audit", "egress"]
"""The two hash-chained logs: of decisions, and of what left the device."""

DropReason: TypeAlias = Literal[
    "outbox-full",
    "file-full",
    "too-large",
    "too-old",
    "write-budget",
    "buried",
    "damaged-row",
    "unreadable-row",
    "damaged-file",
    "dead-letter-expired",
    "escalation-expired",
    "log-shortened",
    "incident-expired",
]
"""Why something is no longer there. Messages: `outbox-full` (by count), `file-full` (by bytes), `too-large`, `too-old`,
`write-budget` (the day's wear of the flash memory is spent), `buried` (set aside among the dead letters). Rows whose checksum
is wrong: `damaged-row`; rows that this version cannot interpret: `unreadable-row`. `damaged-file` counts repairs. Dead
letters beyond their number: `dead-letter-expired`. Pending escalations of incidents that were removed: `escalation-expired`.
Log entries removed because the file was full: `log-shortened`. `incident-expired` is ordinary: the oldest closed incidents
make room for new ones."""

NO_LOSS: Final = frozenset({"incident-expired", "dead-letter-expired"})
"""Reasons that are no loss of their own: history that made room, and messages that were counted when they were buried."""


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
    smaller_bytes: int = 0
    """By how much the file was made smaller because its limit was lowered."""
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


class Queued(Struct, frozen=True):
    """A message of the outbox."""

    number: int
    """Its key in the outbox; numbers grow."""
    message: Message
    queued_s: float
    """When it was queued, by the system clock then. One that took the place of an older one has the older one's time."""
    before_start: bool
    """True if it stood in the file when the journal was opened: an earlier process may have sent it."""


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A message that was set aside because it cannot be delivered."""

    number: int
    message: Message
    reason: str
    queued_s: float
    buried_s: float


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
    written_bytes: int
    """What was written to the disk since the journal was opened; see `wear`."""
    written_bytes_day: int
    """The same over the last 24 hours in which the agent ran, also before the last start."""
    dropped: int
    """Sum of `Drop.count` over all reasons that are a loss of their own; see `NO_LOSS`."""
    dead_letters: int = 0
