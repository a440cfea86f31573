"""The two hash-chained logs as a transaction changes them: append, and shorten from the oldest entry on.

Rules: runs on the writer thread, inside a transaction: the hash before is the ledger's, so that a chain has one writer. The
hash of the last entry that was removed is kept as a meter, `log-<name>`: it is the anchor of what is left. An entry is never
changed, and never deleted from the middle: one whose bytes were damaged stays, so that whoever verifies the chain sees it.
"""

from __future__ import annotations

import sqlite3

from edge_agent.chain import link
from edge_agent.journal.ledger import Ledger, LogEnds
from edge_agent.journal.limits import Limits
from edge_agent.journal.meters import Meters
from edge_agent.journal.records import LogName


def anchor_meter(name: LogName) -> str:
    """The name of the meter that keeps a log's anchor."""
    return f"log-{name}"


class Logs:
    """The statements about both logs of one writing connection."""

    def __init__(self, db: sqlite3.Connection, ledger: Ledger, meters: Meters, limits: Limits) -> None:
        self._db = db
        self._ledger = ledger
        self._meters = meters
        self._limits = limits

    def append(self, name: LogName, body: bytes) -> None:
        """Add an entry, if it is not empty, and keep the cap."""
        if not body:
            return
        ends = self._ledger.ends[name]
        entry = LogEnds(ends.first, ends.last + 1, link(ends.hash, body))
        self._db.execute(f"INSERT INTO {name} (number, hash, body) VALUES (?, ?, ?)", (entry.last, entry.hash, body))
        self._ledger.ends[name] = entry
        keep = self._limits.keep_log_entries
        if entry.last - entry.first + 1 > keep + self._limits.log_slack:
            self.shorten(name, entry.last - entry.first + 1 - keep)

    def shorten(self, name: LogName, count: int) -> tuple[int, int]:
        """Remove the oldest `count` entries; returns how many went and their bytes."""
        ends = self._ledger.ends[name]
        until = min(ends.first + count, ends.last)
        anchor = self._db.execute(
            f"SELECT CAST(hash AS BLOB) FROM {name} WHERE number < ? ORDER BY number DESC LIMIT 1", (until,)
        ).fetchone()
        if anchor is None:
            return 0, 0
        sizes = self._db.execute(f"DELETE FROM {name} WHERE number < ? RETURNING length(body)", (until,)).fetchall()
        self._meters.put_body(anchor_meter(name), anchor[0])
        self._ledger.ends[name] = LogEnds(until, ends.last, ends.hash)
        return len(sizes), sum(size for (size,) in sizes)
