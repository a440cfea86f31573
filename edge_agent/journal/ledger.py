"""What the journal knows about its content without asking SQLite: counts, numbers given out, heads of the logs, and what is
being replaced.

Rules: the writer thread owns the counts and `commit`s or `rolls_back` them together with the transaction; what a reading
thread shares with it (`handed_out`, `delivered`) stands behind one lock that is never held across I/O of the writer. Memory
is bounded: nine bytes a waiting message and an incident that waits to be explained, and the topics of the latest `MAX_TOPICS`
messages that can be superseded.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from edge_agent.chain import ANCHOR
from edge_agent.journal.lanes import Lane, Lanes
from edge_agent.journal.records import LogName, Queued
from edge_agent.journal.rows import supersedes

MAX_TOPICS: Final = 4_096
"""A message whose topic is forgotten is no longer superseded: it is delivered before the newer one, in order."""
REPORT_PRIORITY: Final = 3
"""Messages of this priority are reports of what was given up; the newest is never given up itself."""
LOGS: Final[tuple[LogName, ...]] = ("audit", "egress")

TO_EXPLAIN: Final = "(explained IS NULL OR explained < revision)"
"""Of an incident's row: its latest revision has no summary. No index in the file knows these: it would cost a page in every
commit of an incident, and another when it is explained."""
_MOST_LIVED_S: Final = 1e10
"""Three centuries: more can only be a damaged column."""
_MESSAGES: Final = """
    SELECT number, CAST(priority AS INTEGER), CAST(since_s AS REAL),
    length(CAST(topic AS BLOB)) + length(correlation) + length(payload), CASE WHEN CAST(flags AS INTEGER) & 8 THEN topic END
    FROM outbox ORDER BY number"""


class LogEnds(Struct, frozen=True):
    """The numbers of the first and the last entry of a log, and the last one's hash. An empty log's first is last + 1."""

    first: int = 1
    last: int = 0
    hash: bytes = ANCHOR


class _Totals(Struct, frozen=True):
    incidents: int
    messages: int
    message_bytes: int
    dead_letters: int
    report: int
    audit: LogEnds
    egress: LogEnds


class Ledger:
    """Counts of one journal file. `next_message` only grows while the journal is open, even when the outbox empties."""

    def __init__(self) -> None:
        self.incidents = 0
        self.messages = 0
        self.message_bytes = 0
        self.dead_letters = 0
        self.report = 0
        """The number of the newest report of drops that waits; 0 for none."""
        self.ends: dict[LogName, LogEnds] = {name: LogEnds() for name in LOGS}
        self.next_message = 1
        self.first_new = 1
        """Messages with lower numbers stood in the file when it was opened."""
        self.lanes = Lanes()
        self._unexplained = Lane()
        self._explanations: dict[int, bool] = {}
        self._latest: OrderedDict[str, int] = OrderedDict()
        self._changed: dict[str, int | None] = {}
        self._replaced: set[int] = set()
        self._lock = threading.Lock()
        self._handed_out = 0
        self._delivered: set[int] = set()
        self._save()

    def load(self, db: sqlite3.Connection) -> float:
        """Count what a freshly opened file holds; its messages' highest believable `since_s`. Raises sqlite3.Error."""
        self.incidents, last_used = db.execute(
            "SELECT count(*), coalesce(max(CAST(message AS INTEGER)), 0) FROM incidents"
        ).fetchone()
        for (number,) in db.execute(f"SELECT number FROM incidents WHERE {TO_EXPLAIN} ORDER BY number"):
            self._unexplained.set(number, alive=True)
        self.dead_letters = db.execute("SELECT count(*) FROM dead_letters").fetchone()[0]
        last_queued, newest_s = self._load_messages(db)
        self.next_message = self.first_new = max(last_used, last_queued) + 1
        for name in LOGS:
            first, last = db.execute(f"SELECT coalesce(min(number), 1), coalesce(max(number), 0) FROM {name}").fetchone()
            row = db.execute(f"SELECT CAST(hash AS BLOB) FROM {name} WHERE number = ?", (last,)).fetchone()
            self.ends[name] = LogEnds(first, last, *(row or ()))
        self._save()
        return newest_s

    def _load_messages(self, db: sqlite3.Connection) -> tuple[int, float]:
        """Count the messages that wait; the last one's number, and the highest believable `since_s`."""
        number, newest_s = 0, 0.0
        for number, priority, since_s, size, topic in db.execute(_MESSAGES):
            self.messages += 1
            self.message_bytes += size
            self.lanes.add(number, priority)
            if since_s < _MOST_LIVED_S:
                newest_s = max(newest_s, since_s)
            if topic is not None:
                self._remember(topic, number)
            if priority >= REPORT_PRIORITY:
                self.report = number
        return number, newest_s

    # --- the writer thread ---

    def explained(self, number: int, *, latest: bool) -> None:
        """Note whether the summary of an incident describes its latest revision; also when there is no incident any more."""
        self._explanations[number] = latest

    def latest(self, topic: str) -> int | None:
        """The number of the superseding message that waits on `topic`; None if there is none or it was handed out already."""
        number = self._known(topic)
        return number if number is not None and number > self._handed_out else None

    def superseded(self, number: int, topic: str) -> bool:
        """Whether a newer message than this one, which supersedes, waits on its topic."""
        return (self._known(topic) or 0) > number

    def added(self, topic: str, priority: int, flags: int, size: int) -> int:
        """Count a new message and give it its number."""
        number = self._next(priority)
        self.messages += 1
        self.message_bytes += size
        if supersedes(flags):
            self._changed[topic] = number
        return number

    def replaced(self, number: int, old_priority: int, priority: int, grown_bytes: int) -> None:
        """Count a message whose content was replaced in place."""
        self._replaced.add(number)
        self.message_bytes += grown_bytes
        if priority != old_priority:
            self.lanes.remove(number, old_priority)
            self.lanes.add(number, priority)

    def removed(self, number: int, topic: str, priority: int, size: int) -> None:
        """Count a message that was deleted."""
        self.messages -= 1
        self.message_bytes -= size
        self.lanes.remove(number, priority)
        if self._known(topic) == number:
            self._changed[topic] = None
        if number == self.report:
            self.report = 0

    def moved(self, number: int, topic: str, priority: int) -> int:
        """A new number for a message that keeps its content."""
        self.lanes.remove(number, priority)
        if self._known(topic) == number:
            self._changed[topic] = self.next_message
        return self._next(priority)

    def victims(self, count: int) -> list[int]:
        """Numbers of up to `count` messages that may be given up, in the order in which they go."""
        found = self.lanes.first(count + 1)
        return [number for number in found if number != self.report][:count]

    def commit(self, deleted: Collection[int]) -> list[int]:
        """Keep the changes of a transaction that deleted the delivered messages `deleted`.

        Returns the numbers that a reader may have handed out with their old content while they were replaced: unless they
        get new numbers, their new content would be taken for delivered.
        """
        for topic, number in self._changed.items():
            if number is None:
                self._latest.pop(topic, None)
            else:
                self._remember(topic, number)
        with self._lock:
            for number, latest in self._explanations.items():
                self._unexplained.set(number, alive=not latest)
            self._unexplained.trim()
            self._delivered.difference_update(deleted)
            overtaken = sorted(n for n in self._replaced if n <= self._handed_out)
        self.lanes.commit()
        self._save()
        return overtaken

    def rollback(self) -> None:
        """Forget the changes of a transaction that failed; numbers given to it stay unused."""
        saved = self._saved
        self.incidents, self.messages, self.message_bytes = saved.incidents, saved.messages, saved.message_bytes
        self.dead_letters, self.report = saved.dead_letters, saved.report
        self.ends = {"audit": saved.audit, "egress": saved.egress}
        self.lanes.rollback()
        self._forget_changes()

    def to_delete(self) -> list[int]:
        """Numbers that were delivered and still stand in the file."""
        with self._lock:
            return sorted(self._delivered)

    def _next(self, priority: int) -> int:
        number = self.next_message
        self.next_message += 1
        self.lanes.add(number, priority)
        if priority >= REPORT_PRIORITY:
            self.report = number
        return number

    def _known(self, topic: str) -> int | None:
        return self._changed[topic] if topic in self._changed else self._latest.get(topic)

    def _remember(self, topic: str, number: int) -> None:
        self._latest[topic] = number
        self._latest.move_to_end(topic)
        if len(self._latest) > MAX_TOPICS:
            self._latest.popitem(last=False)

    def _save(self) -> None:
        self._saved = _Totals(
            self.incidents, self.messages, self.message_bytes, self.dead_letters, self.report, *(self.ends[n] for n in LOGS)
        )
        self.lanes.commit()
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._explanations.clear()
        self._changed.clear()
        self._replaced.clear()

    # --- any thread ---

    def mark_delivered(self, numbers: Sequence[int]) -> int:
        """Note messages as delivered; the next transaction deletes them. Returns how many wait for that."""
        with self._lock:
            self._delivered.update(numbers)
            return len(self._delivered)

    def to_explain(self, limit: int) -> list[int]:
        """The lowest numbers of incidents whose latest revision is not explained."""
        with self._lock:
            return list(islice(self._unexplained, limit))

    @property
    def unexplained(self) -> int:
        """How many incidents' latest revision is not explained."""
        return self._unexplained.count

    def hand_out(self, after: int, limit: int, read: Callable[[int, int], list[Queued]]) -> list[Queued]:
        """Read up to `limit` messages above `after` and note them as handed out, as one step for the writer.

        Those that were delivered and still stand in the file are passed over.
        """
        with self._lock:
            found: list[Queued] = []
            while len(found) < limit and (rows := read(after, limit)):
                after = rows[-1].number
                found.extend(row for row in rows if row.number not in self._delivered)
            del found[limit:]
            if found:
                self._handed_out = max(self._handed_out, found[-1].number)
            return found
