"""`edge_agent.journal.drops`: counted where the transaction is, and reported with it."""

from __future__ import annotations

import sqlite3

import pytest

from edge_agent.journal.drops import FLUSH_S, Drops
from edge_agent.journal.rows import message_row
from edge_agent.journal.schema import migrate
from edge_agent.values import Drop
from tests.journals import TwoClocks, report_of


class Open:
    """The record on a database in memory, one transaction at a time."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.db)
        self.clock = TwoClocks(100.0)
        self.drops = Drops(self.db, self.clock, report_of)

    def counted(self) -> dict[str, tuple[int, int]]:
        rows = self.db.execute("SELECT reason, count, bytes FROM drops WHERE count > 0")
        return {reason: (count, size) for reason, count, size in rows}


@pytest.fixture
def opened() -> Open:
    return Open()


def test_a_loss_is_counted_and_reported_with_all_before_it(opened: Open) -> None:
    opened.drops.begin()
    assert opened.drops.report() is None
    opened.drops.count("too-large", 2, 30)
    opened.drops.count("too-old", 0, 0)
    first = Drop(reason="too-large", count=2, bytes=30, first_s=100.0, last_s=100.0)
    assert opened.drops.report() == message_row(report_of([first]))
    opened.drops.commit()
    opened.clock.pass_s(5.0)
    opened.drops.begin()
    assert opened.drops.report() is None, "nothing new"
    opened.drops.count("buried", 1, 5)
    second = Drop(reason="buried", count=1, bytes=5, first_s=105.0, last_s=105.0)
    assert opened.drops.report() == message_row(report_of([first, second]))


def test_history_that_makes_room_is_counted_and_not_reported_by_itself(opened: Open) -> None:
    opened.drops.begin()
    opened.drops.count("incident-expired", 3, 900)
    opened.drops.count("dead-letter-expired", 1, 9)
    assert opened.drops.report() is None
    assert opened.counted() == {"incident-expired": (3, 900), "dead-letter-expired": (1, 9)}


def test_what_a_rollback_undid_is_not_reported(opened: Open) -> None:
    opened.drops.begin()
    opened.drops.count("too-old", 1, 1)
    opened.drops.note("write-budget", 7)
    opened.drops.rollback()
    opened.drops.begin()
    opened.drops.store_noted()
    assert opened.drops.report() is None


def test_drops_that_save_writing_are_stored_when_something_else_is(opened: Open) -> None:
    for _ in range(3):
        opened.drops.begin()
        opened.drops.note("write-budget", 10)
        assert opened.drops.report() is None
        opened.drops.commit()
    assert opened.counted() == {}
    opened.drops.begin()
    opened.drops.note("write-budget", 10)
    opened.db.execute("INSERT INTO meters (name, crc, body) VALUES ('x', 0, x'')")
    assert opened.drops.report() is not None
    assert opened.counted() == {"write-budget": (4, 40)}
    opened.drops.rollback()
    opened.db.execute("UPDATE drops SET count = 0, bytes = 0")
    opened.drops.begin()
    opened.drops.store_noted()
    opened.drops.commit()
    assert opened.counted() == {"write-budget": (3, 30)}, "a rollback keeps what was noted before"
    opened.drops.begin()
    opened.drops.store_noted()
    assert opened.counted() == {"write-budget": (3, 30)}


def test_or_after_a_while(opened: Open) -> None:
    opened.drops.begin()
    opened.drops.note("write-budget", 10)
    opened.drops.commit()
    assert not opened.drops.due
    opened.clock.pass_s(FLUSH_S)
    assert opened.drops.due
    opened.drops.begin()
    assert opened.drops.report() is not None
    opened.drops.commit()
    assert opened.counted() == {"write-budget": (1, 10)}
    assert not opened.drops.due


def test_without_anyone_to_report_to_it_is_only_counted(opened: Open) -> None:
    drops = Drops(opened.db, opened.clock, None)
    drops.begin()
    drops.count("too-old", 1, 1)
    assert drops.report() is None
    assert opened.counted() == {"too-old": (1, 1)}
