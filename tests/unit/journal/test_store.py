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
from edge_agent.journal.outbox import Outbox
from edge_agent.journal.reader import Reader
from edge_agent.journal.records import Queued
from edge_agent.journal.rows import message_row
from edge_agent.journal.schema import connect_writer, migrate
from edge_agent.journal.store import FAILING_S, IDLE_S, SWEEP_S, Operation, suspect_path
from tests.journals import SetClock, message

SETTINGS = JournalSettings(max_bytes=1 << 20, max_outbox=100_000, keep_incidents=100)


class Open:
    """A store on a real file, with its parts at hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = connect_writer(str(path), 1 << 20)
        migrate(self.db)
        self.clock = SetClock()
        self.store = make_store(str(path), self.db, SETTINGS, self.clock, None, created=False)
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


def read(opened: Open, after: int, limit: int) -> list[Queued]:
    """The next messages that a reader on another connection is handed out."""
    reader = Reader(str(opened.path), lambda *_: None, lambda: None)
    try:
        return opened.ledger.hand_out(after, limit, reader.messages)
    finally:
        reader.close()


def replaced_while_handed_out(opened: Open, *later: str) -> Operation:
    """Replaces the message on `s`, which a reader takes before that is committed; then come `later` ones on the same topic."""

    def operation(operations: Operations) -> object:
        operations.record([], [message_row(message("s", "2", supersedes=True))])
        assert [queued.message.payload for queued in read(opened, 0, 1)] == [b"1"]
        operations.record([], [message_row(message("s", text, supersedes=True)) for text in later])
        return None

    return operation


def test_replaced_content_never_stands_after_what_superseded_it_meanwhile(opened: Open) -> None:
    opened.store.transact([lambda operations: operations.record([], [message_row(message("s", "1", supersedes=True))])])
    opened.store.transact([replaced_while_handed_out(opened, "3")])
    opened.ledger.mark_delivered([1])
    opened.store.transact([])
    assert [queued.message.payload for queued in read(opened, 0, 9)] == [b"3"]
    assert opened.ledger.messages == 1


def test_content_replaced_while_handed_out_outlives_a_file_that_is_full(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    first = message_row(message("s", "1", supersedes=True))
    opened.store.transact([lambda operations: operations.record([], [first]), queue("t", "x" * 1500)])

    def refuse(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "move", lambda _, numbers: refuse() if numbers else None)
        opened.store.transact([replaced_while_handed_out(opened)])
        pages = opened.db.execute("PRAGMA page_count").fetchone()[0]
        opened.db.execute(f"PRAGMA max_page_count = {pages}")
        patch.setattr(Operations, "make_room", lambda operations, count: operations.outbox.delete([2]))
        [result] = opened.store.transact([queue("u")])
        assert isinstance(result, StorageError)
    opened.ledger.mark_delivered([1])
    assert opened.store.transact([queue("v")]) == ["v"]
    assert [queued.message.payload for queued in read(opened, 0, 1)] == [b"2"]


def test_what_was_delivered_is_not_counted_as_given_up_when_room_is_made(opened: Open) -> None:
    pages = opened.db.execute("PRAGMA max_page_count").fetchone()[0]
    queued = 0
    while opened.db.execute("PRAGMA page_count").fetchone()[0] < pages - 8:
        opened.store.transact([queue(f"t/{queued}", "x" * 1500)])
        queued += 1
    opened.ledger.mark_delivered([1, 2, 3])
    assert opened.store.transact([queue("large", "x" * 60_000)]) == ["large"]
    [(dropped,)] = opened.db.execute("SELECT count FROM drops WHERE reason = 'file-full'").fetchall()
    assert dropped > 0
    assert queued - 3 - dropped == len(opened.topics()) - 1


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


def test_upkeep_asks_to_be_called_seldom_and_more_often_while_messages_are_searched(opened: Open) -> None:
    assert opened.store.tick() == IDLE_S
    for n in range(4):
        opened.store.transact([queue(f"t/{n}-{k}") for k in range(100)])
    opened.clock.time_s += 2_000_000.0
    assert opened.store.tick() == SWEEP_S
    assert opened.store.tick() == IDLE_S
    assert opened.topics() == [f"t/{n}-{k}" for n in range(4) for k in range(100)]
    commits = opened.store.commits
    assert opened.store.tick() == IDLE_S
    assert opened.store.commits == commits, "nothing to do writes nothing"


def test_too_old_messages_go_without_anyone_asking(opened: Open) -> None:
    opened.store.transact([queue("old")])
    opened.clock.time_s += SETTINGS.max_message_age_s + 1.0
    opened.store.tick()
    assert opened.topics() == []


def test_a_journal_that_could_not_be_written_is_tried_again_by_itself_and_says_so(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    assert opened.store.trouble() == ""
    opened.db.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(opened.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    opened.store.transact([queue("a")])
    assert "another program" in opened.store.trouble()
    assert opened.store.tick() == FAILING_S
    assert "another program" in opened.store.trouble()
    other.close()
    assert opened.store.tick() == IDLE_S
    assert opened.store.trouble() == ""
    assert caplog.text.count("nothing is acknowledged") == 1
    assert "can be written again" in caplog.text


def test_history_makes_room_before_messages_and_little_of_it_at_a_time(opened: Open) -> None:
    def dead(operations: Operations) -> object:
        operations.outbox.queue([message_row(message("dead", "x" * 1500))])
        return operations.outbox.bury(operations._ledger.next_message - 1, "refused")

    for _ in range(100):
        assert opened.store.transact([dead]) == [True]

    def counted() -> dict[str, int]:
        return dict(opened.db.execute("SELECT reason, count FROM drops WHERE count > 0").fetchall())

    for n in range(350):
        assert opened.store.transact([queue(f"t/{n}", "x" * 1500)]) == [f"t/{n}"]
    assert counted().keys() == {"buried", "dead-letter-expired"}
    for n in range(350, 600):
        assert opened.store.transact([queue(f"t/{n}", "x" * 1500)]) == [f"t/{n}"]
    assert counted()["dead-letter-expired"] == 100
    assert opened.topics()[-1] == "t/599"
    assert counted()["file-full"] + len(opened.topics()) == 600
    assert len(opened.topics()) > 350


def test_a_group_that_is_more_than_the_file_holds_is_stored_one_by_one(opened: Open) -> None:
    group = [queue(f"t/{n}", "x" * 100_000) for n in range(20)]
    assert opened.store.transact(group) == [f"t/{n}" for n in range(20)]
    assert opened.topics()[-1] == "t/19"
    assert opened.store.trouble() == ""
