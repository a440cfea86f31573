"""`edge_agent.journal.ledger`: counts follow transactions; what is handed out is not replaced unnoticed; memory is bounded."""

from __future__ import annotations

import sqlite3

import pytest

from edge_agent.chain import ANCHOR
from edge_agent.journal.ledger import MAX_TOPICS, REPORT_PRIORITY, Ledger, LogEnds
from edge_agent.journal.records import Queued
from edge_agent.journal.rows import message_row
from edge_agent.journal.schema import migrate
from edge_agent.values import Message
from tests.journals import message

PLAIN, SUPERSEDES = 0, 8


@pytest.fixture
def db() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    return db


def insert(db: sqlite3.Connection, number: int, sent: Message) -> None:
    db.execute(
        "INSERT INTO outbox (number, queued_s, priority, flags, crc, topic, correlation, payload)"
        " VALUES (?, 0, ?, ?, ?, ?, ?, ?)",
        (number, *message_row(sent)),
    )


def queued(number: int, text: str = "old") -> Queued:
    return Queued(number, message("s", text), 0.0, before_start=False)


def test_empty_file(db: sqlite3.Connection) -> None:
    ledger = Ledger()
    ledger.load(db)
    assert (ledger.incidents, ledger.messages, ledger.message_bytes, ledger.next_message) == (0, 0, 0, 1)
    assert (ledger.first_new, ledger.dead_letters, ledger.report) == (1, 0, 0)
    assert ledger.ends == {"audit": LogEnds(1, 0, ANCHOR), "egress": LogEnds(1, 0, ANCHOR)}


def test_loads_counts_and_topics_and_continues_the_numbers(db: sqlite3.Connection) -> None:
    insert(db, 3, message("ü", "12", supersedes=True))
    insert(db, 4, message("b", "1", priority=0))
    insert(db, 6, message("ü", "3", supersedes=True))
    ledger = Ledger()
    ledger.load(db)
    assert (ledger.messages, ledger.message_bytes) == (3, 4 + 2 + 3)
    assert ledger.next_message == ledger.first_new == 7
    assert ledger.latest("ü") == 6
    assert ledger.latest("b") is None
    assert ledger.victims(2) == [4, 3]


def test_numbers_continue_after_the_last_that_an_incident_remembers(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO incidents VALUES (1, 'i', 0, 1, NULL, 41, 1, 1, x'')")
    ledger = Ledger()
    ledger.load(db)
    assert (ledger.incidents, ledger.next_message) == (1, 42)


def test_loads_the_ends_of_the_logs(db: sqlite3.Connection) -> None:
    for number in (5, 6, 9):
        db.execute("INSERT INTO audit VALUES (?, ?, x'00')", (number, bytes([number] * 32)))
    ledger = Ledger()
    ledger.load(db)
    assert ledger.ends["audit"] == LogEnds(5, 9, bytes([9] * 32))
    assert ledger.ends["egress"] == LogEnds()


def test_rollback_takes_counts_and_topics_back_but_not_numbers() -> None:
    ledger = Ledger()
    first = ledger.added("s", 1, SUPERSEDES, 10)
    ledger.commit([])
    ledger.removed(first, "s", 1, 10)
    second = ledger.added("s", 1, SUPERSEDES, 20)
    ledger.incidents += 1
    ledger.dead_letters += 1
    ledger.ends["egress"] = LogEnds(1, 7, bytes(32))
    assert ledger.latest("s") == second
    ledger.rollback()
    assert (ledger.incidents, ledger.messages, ledger.message_bytes, ledger.dead_letters) == (0, 1, 10, 0)
    assert ledger.ends["egress"] == LogEnds()
    assert ledger.latest("s") == first
    assert ledger.victims(10) == [first]
    assert ledger.added("s", 1, SUPERSEDES, 1) > second


def test_removed_message_is_not_replaced_any_more() -> None:
    ledger = Ledger()
    first = ledger.added("s", 1, SUPERSEDES, 10)
    second = ledger.added("s", 1, SUPERSEDES, 10)
    ledger.removed(first, "s", 1, 10)
    assert ledger.latest("s") == second
    ledger.removed(second, "s", 1, 10)
    assert ledger.latest("s") is None
    ledger.commit([])
    assert ledger.latest("s") is None


def test_topics_that_are_remembered_are_bounded_and_the_latest_ones() -> None:
    ledger = Ledger()
    numbers = [ledger.added(f"t/{n}", 1, SUPERSEDES, 1) for n in range(MAX_TOPICS + 10)]
    ledger.commit([])
    assert ledger.latest("t/9") is None
    assert ledger.latest("t/10") == numbers[10]
    assert ledger.latest(f"t/{MAX_TOPICS + 9}") == numbers[-1]


def test_what_was_handed_out_is_not_offered_for_replacement() -> None:
    ledger = Ledger()
    number = ledger.added("s", 1, SUPERSEDES, 10)
    ledger.commit([])
    assert ledger.hand_out(0, 10, lambda after, _: [queued(number)] if after < number else []) == [queued(number)]
    assert ledger.latest("s") is None


def test_replacement_that_a_reader_overtook_is_reported_once() -> None:
    ledger = Ledger()
    number = ledger.added("s", 1, SUPERSEDES, 10)
    ledger.commit([])
    assert ledger.latest("s") == number
    ledger.replaced(number, 1, 2, 5)
    ledger.hand_out(0, 10, lambda after, _: [queued(number)] if after < number else [])
    assert ledger.commit([]) == [number]
    assert ledger.commit([]) == []
    assert ledger.message_bytes == 15
    moved = ledger.moved(number, "s", 2)
    ledger.commit([])
    assert moved > number
    assert ledger.latest("s") == moved
    assert ledger.victims(10) == [moved]


def test_a_replacement_of_another_priority_goes_when_that_one_does() -> None:
    ledger = Ledger()
    low, other = ledger.added("s", 0, SUPERSEDES, 1), ledger.added("t", 1, PLAIN, 1)
    ledger.replaced(low, 0, 2, 0)
    assert ledger.victims(10) == [other, low]


def test_the_newest_report_of_drops_is_never_a_victim() -> None:
    ledger = Ledger()
    older = ledger.added("drops", REPORT_PRIORITY, SUPERSEDES, 1)
    newer = ledger.added("drops", REPORT_PRIORITY, SUPERSEDES, 1)
    usual = ledger.added("t", 1, PLAIN, 1)
    ledger.commit([])
    assert ledger.report == newer
    assert ledger.victims(10) == [usual, older]
    assert ledger.victims(1) == [usual]
    ledger.removed(newer, "drops", REPORT_PRIORITY, 1)
    assert ledger.report == 0
    ledger.rollback()
    assert ledger.report == newer


def test_delivered_are_passed_over_until_deleted() -> None:
    ledger = Ledger()
    rows = [queued(n, str(n)) for n in range(1, 21)]
    ledger.mark_delivered(range(1, 15))
    asked: list[int] = []

    def read(after: int, limit: int) -> list[Queued]:
        asked.append(after)
        return [row for row in rows if row.number > after][:limit]

    assert ledger.hand_out(0, 5, read) == rows[14:19]
    assert asked == [0, 5, 10, 15]
    assert ledger.to_delete() == list(range(1, 15))
    ledger.commit(range(1, 10))
    assert ledger.to_delete() == list(range(10, 15))
