"""`edge_agent.journal.ledger`: counts follow transactions; what is handed out is not replaced unnoticed."""

from __future__ import annotations

import sqlite3

import pytest

from edge_agent.journal.ledger import Ledger
from edge_agent.journal.rows import message_row
from edge_agent.journal.schema import migrate
from tests.journals import message


@pytest.fixture
def db() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    return db


def test_empty_file(db: sqlite3.Connection) -> None:
    ledger = Ledger()
    ledger.load(db)
    assert (ledger.incidents, ledger.messages, ledger.message_bytes, ledger.next_message) == (0, 0, 0, 1)


def test_loads_counts_and_topics_and_continues_the_numbers(db: sqlite3.Connection) -> None:
    for number, sent in (
        (3, message("ü", "12", supersedes=True)),
        (4, message("b", "1")),
        (6, message("ü", "3", supersedes=True)),
    ):
        db.execute("INSERT INTO outbox VALUES (?, 0, ?, ?, ?, ?, ?, ?)", (number, *message_row(sent)))
    ledger = Ledger()
    ledger.load(db)
    assert (ledger.messages, ledger.message_bytes) == (3, 4 + 2 + 3)
    assert ledger.next_message == 7
    assert ledger.latest("ü") == 6
    assert ledger.latest("b") is None


def test_numbers_continue_after_the_last_that_an_incident_remembers(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO incidents VALUES (1, 'i', 0, 1, NULL, 41, 1, 1, x'')")
    ledger = Ledger()
    ledger.load(db)
    assert (ledger.incidents, ledger.next_message) == (1, 42)


def test_rollback_takes_counts_and_topics_back_but_not_numbers() -> None:
    ledger = Ledger()
    first = ledger.added("s", True, 10)
    ledger.commit([])
    ledger.removed(first, "s", 10)
    second = ledger.added("s", True, 20)
    ledger.incidents += 1
    assert ledger.latest("s") == second
    ledger.rollback()
    assert (ledger.incidents, ledger.messages, ledger.message_bytes) == (0, 1, 10)
    assert ledger.latest("s") == first
    assert ledger.added("s", True, 1) > second


def test_removed_message_is_not_replaced_any_more() -> None:
    ledger = Ledger()
    first = ledger.added("s", True, 10)
    second = ledger.added("s", True, 10)
    ledger.removed(first, "s", 10)
    assert ledger.latest("s") == second
    ledger.removed(second, "s", 10)
    assert ledger.latest("s") is None
    ledger.commit([])
    assert ledger.latest("s") is None


def test_what_was_handed_out_is_not_offered_for_replacement() -> None:
    ledger = Ledger()
    number = ledger.added("s", True, 10)
    ledger.commit([])
    assert ledger.hand_out(0, 10, lambda after, _: [(number, "old")] if after < number else []) == [(number, "old")]
    assert ledger.latest("s") is None


def test_replacement_that_a_reader_overtook_is_reported_once() -> None:
    ledger = Ledger()
    number = ledger.added("s", True, 10)
    ledger.commit([])
    assert ledger.latest("s") == number
    ledger.replaced(number, 5)
    ledger.hand_out(0, 10, lambda after, _: [(number, "old")] if after < number else [])
    assert ledger.commit([]) == [number]
    assert ledger.commit([]) == []
    assert ledger.message_bytes == 15
    moved = ledger.moved("s")
    ledger.commit([])
    assert moved > number
    assert ledger.latest("s") == moved


def test_delivered_are_passed_over_until_deleted() -> None:
    ledger = Ledger()
    rows = [(n, str(n)) for n in range(1, 21)]
    ledger.mark_delivered(range(1, 15))
    asked: list[int] = []

    def read(after: int, limit: int) -> list[tuple[int, str]]:
        asked.append(after)
        return [row for row in rows if row[0] > after][:limit]

    assert ledger.hand_out(0, 5, read) == rows[14:19]
    assert asked == [0, 5, 10, 15]
    assert ledger.to_delete() == list(range(1, 15))
    ledger.commit(range(1, 10))
    assert ledger.to_delete() == list(range(10, 15))
