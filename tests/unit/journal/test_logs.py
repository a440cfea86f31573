"""`edge_agent.journal.logs`: chains that grow at one end and are shortened at the other, with their anchor."""

from __future__ import annotations

import sqlite3

import pytest

from edge_agent.chain import ANCHOR, first_break, link
from edge_agent.journal.ledger import Ledger, LogEnds
from edge_agent.journal.limits import Limits
from edge_agent.journal.logs import Logs, anchor_meter
from edge_agent.journal.meters import Meters
from edge_agent.journal.schema import migrate
from edge_agent.values import LogEntry

LIMITS = Limits(
    max_outbox=10, keep_incidents=5, max_message_bytes=1000, max_message_age_s=3600.0, keep_log_entries=200, keep_dead_letters=3
)


class Open:
    """Both logs on a database in memory."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.db)
        self.ledger = Ledger()
        self.meters = Meters(self.db)
        self.logs = Logs(self.db, self.ledger, self.meters, LIMITS)

    def entries(self, name: str = "audit") -> list[LogEntry]:
        rows = self.db.execute(f"SELECT number, body, hash FROM {name} ORDER BY number")
        return [LogEntry(number=number, body=body, hash=found) for number, body, found in rows]


@pytest.fixture
def opened() -> Open:
    return Open()


def test_each_entry_follows_from_the_one_before(opened: Open) -> None:
    opened.logs.append("audit", b"one")
    opened.logs.append("egress", b"other")
    opened.logs.append("audit", b"")
    opened.logs.append("audit", b"two")
    first = link(ANCHOR, b"one")
    assert opened.entries() == [
        LogEntry(number=1, body=b"one", hash=first),
        LogEntry(number=2, body=b"two", hash=link(first, b"two")),
    ]
    assert first_break(opened.entries("egress")) is None
    assert opened.ledger.ends["audit"] == LogEnds(1, 2, link(first, b"two"))


def test_the_oldest_go_in_batches_and_the_anchor_is_kept(opened: Open) -> None:
    lengths = set()
    for n in range(1_000):
        opened.logs.append("audit", b"%d" % n)
        lengths.add(len(opened.entries()))
    assert max(lengths) == 202
    entries = opened.entries()
    assert 200 <= len(entries) <= 202
    assert entries[-1].number == 1_000
    anchor = opened.meters.body(anchor_meter("audit"))
    assert anchor is not None
    assert first_break(entries, anchor) is None
    assert first_break(entries) == entries[0].number


def test_the_last_entry_always_stays(opened: Open) -> None:
    for n in range(10):
        opened.logs.append("audit", b"%d" % n)
    assert opened.logs.shorten("audit", 1_000) == (9, 9)
    assert [entry.body for entry in opened.entries()] == [b"9"]
    assert opened.logs.shorten("audit", 5) == (0, 0)
    assert opened.logs.shorten("egress", 5) == (0, 0)


def test_a_rollback_takes_the_chains_end_back(opened: Open) -> None:
    opened.logs.append("audit", b"one")
    opened.ledger.commit([])
    opened.db.execute("BEGIN")
    opened.logs.append("audit", b"lost")
    opened.db.execute("ROLLBACK")
    opened.ledger.rollback()
    opened.logs.append("audit", b"two")
    assert [entry.body for entry in opened.entries()] == [b"one", b"two"]
    assert first_break(opened.entries()) is None
