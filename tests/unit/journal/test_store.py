"""`edge_agent.journal.store`: groups are whole, neighbours of a failure are not, room is made only where it helps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.config.settings import JournalSettings
from edge_agent.errors import StorageError
from edge_agent.journal.assembly import make_store
from edge_agent.journal.operations import Operations
from edge_agent.journal.rows import message_row
from edge_agent.journal.schema import connect_writer, migrate
from edge_agent.journal.store import Operation, suspect_path
from tests.journals import SetClock, message

SETTINGS = JournalSettings(max_bytes=1 << 20, max_outbox=100_000, keep_incidents=100)


class Open:
    """A store on a real file, with its parts at hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = connect_writer(str(path), 1 << 20)
        migrate(self.db)
        self.store = make_store(str(path), self.db, SETTINGS, SetClock(), None, created=False)
        self.ledger = self.store.ledger

    def topics(self) -> list[str]:
        db = sqlite3.connect(self.path)
        try:
            return [topic for (topic,) in db.execute("SELECT topic FROM outbox ORDER BY number")]
        finally:
            db.close()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    opened = Open(tmp_path / "journal.db")
    yield opened
    opened.store.close()


def queue(topic: str, text: str = "") -> Operation:
    row = message_row(message(topic, text))

    def operation(operations: Operations) -> object:
        operations.record([], [row])
        return topic

    return operation


def fail(operations: Operations) -> object:
    operations.record([], [message_row(message("half"))])
    operations.drops.count("too-large", 1 << 80, 0)
    return None


def test_group_is_one_transaction(opened: Open) -> None:
    assert opened.store.transact([queue("a"), queue("b")]) == ["a", "b"]
    assert opened.topics() == ["a", "b"]
    assert (opened.store.commits, opened.store.operations, opened.store.failed_commits) == (1, 2, 0)


def test_one_that_fails_leaves_nothing_and_its_neighbours_are_stored(opened: Open) -> None:
    first, failed, last = opened.store.transact([queue("a"), fail, queue("b")])
    assert (first, last) == ("a", "b")
    assert isinstance(failed, StorageError)
    assert opened.topics() == ["a", "b"]
    assert opened.ledger.messages == 2


def test_locked_file_fails_all_and_works_later(opened: Open) -> None:
    opened.db.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(opened.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    results = opened.store.transact([queue("a"), queue("b")])
    assert [type(r) for r in results] == [StorageError, StorageError]
    assert "another program" in str(results[0])
    opened.ledger.mark_delivered([1])
    other.close()
    assert opened.store.transact([queue("c")]) == ["c"]
    assert opened.ledger.to_delete() == []


def test_full_file_makes_room_for_newer(opened: Open) -> None:
    for n in range(1200):
        assert opened.store.transact([queue(f"t/{n}", "x" * 1500)]) == [f"t/{n}"]
    topics = opened.topics()
    assert topics[-1] == "t/1199"
    assert topics == [f"t/{n}" for n in range(1200 - len(topics), 1200)]
    [(count,)] = opened.db.execute("SELECT count FROM drops WHERE reason = 'file-full'").fetchall()
    assert count == 1200 - len(topics)
    assert len(topics) == opened.ledger.messages > 200


def test_damage_leaves_a_note_for_the_next_start(opened: Open) -> None:
    opened.store.transact([queue("a")])
    assert not opened.store.damaged

    def damaged(_: Operations) -> object:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    [result] = opened.store.transact([damaged])
    assert isinstance(result, StorageError)
    assert opened.store.damaged
    assert Path(suspect_path(str(opened.path))).exists()


def test_closing_folds_the_log_in(tmp_path: Path) -> None:
    opened = Open(tmp_path / "journal.db")
    opened.store.transact([queue("a")])
    opened.store.close()
    assert not (tmp_path / "journal.db-wal").exists()
    assert opened.topics() == ["a"]
