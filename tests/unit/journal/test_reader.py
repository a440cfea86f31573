"""`edge_agent.journal.reader`: reads beside a writer, never writes, never raises for one bad row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent.chain import ANCHOR
from edge_agent.errors import StorageError
from edge_agent.journal import Journal
from edge_agent.journal.reader import Reader, connect_reader
from edge_agent.journal.records import DropReason
from tests.journals import closure, escalation, incident, message, open_journal, summary


class Heard:
    """What a reader reported."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, DropReason]] = []
        self.damage = 0

    def unusable(self, table: str, number: int, reason: DropReason) -> None:
        self.rows.append((table, number, reason))

    def damaged(self) -> None:
        self.damage += 1


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "jour nal?#%.db") as journal:
        journal.record([incident(n, state="closed" if n < 3 else "open", signature=b"s" * 32) for n in range(6)], [message("t")])
        journal.record_summary(summary(1), [], escalation=escalation(1), audit=b"entry")
        journal.close_incident(closure(1))
        journal.record_meters({"budget": b"1"})
        journal.record([], [message("dead")])
        journal.bury(2, "refused")
        yield journal


@pytest.fixture
def reader(journal: Journal, heard: Heard) -> Iterator[Reader]:
    reader = Reader(journal.opening.path, heard.unusable, heard.damaged)
    yield reader
    reader.close()


def test_reads_beside_the_writer(reader: Reader, journal: Journal, heard: Heard) -> None:
    assert [q.message.topic for q in reader.messages(0, 10)] == ["t"]
    assert reader.unexplained() == 5
    assert [i.id for i in reader.of_numbers([2, 4, 77])] == ["i-000001", "i-000003"]
    assert len(reader.open_incidents()) == 3
    journal.record([incident(9)], [])
    assert len(reader.open_incidents()) == 4
    assert reader.summary("i-000001") == summary(1)
    assert [p.incident_id for p in reader.past_incidents(0)] == ["i-000001"]
    assert reader.oldest_since_s() is not None
    assert reader.escalation("i-000001") == reader.escalation_of("q-000001-1") == escalation(1)
    assert reader.pending_escalations(10) == [escalation(1)]
    assert (reader.pending_count(), reader.meter("budget"), reader.log_anchor("audit")) == (1, b"1", ANCHOR)
    assert reader.log("audit", 0, 10) == [reader.log_head("audit")]
    assert [letter.message.topic for letter in reader.dead_letters(10, None)] == ["dead"]
    assert heard.rows == []


def test_connection_cannot_write(journal: Journal) -> None:
    db = connect_reader(journal.opening.path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("DELETE FROM outbox")
    db.close()


def test_no_read_transaction_stays_open(reader: Reader, journal: Journal) -> None:
    """Otherwise the log could not be folded in, however far an iterator is left unfinished."""
    iterator = reader.past_incidents(0)
    next(iterator)
    reader.messages(0, 10)
    db = sqlite3.connect(journal.opening.path)
    assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    db.close()


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("incidents", "UPDATE incidents SET revision = 9 WHERE number = 2"),
        ("summaries", "UPDATE summaries SET body = 5 WHERE number = 2"),
        ("closures", "UPDATE closures SET body = CAST(body || ' ' AS BLOB) WHERE number = 2"),
        ("outbox", "UPDATE outbox SET topic = CAST(x'ff' AS TEXT)"),
        ("escalations", "UPDATE escalations SET severity = 1.0"),
        ("meters", "UPDATE meters SET body = 5 WHERE name = 'budget'"),
        ("dead_letters", "UPDATE dead_letters SET buried_s = 'then'"),
    ],
)
def test_bad_row_is_left_out_and_reported(reader: Reader, journal: Journal, heard: Heard, table: str, change: str) -> None:
    db = sqlite3.connect(journal.opening.path)
    db.execute(change)
    db.commit()
    db.close()
    listed = reader.incidents(10, None, None)
    reader.summary("i-000001")
    reader.messages(0, 10)
    reader.pending_escalations(10)
    reader.meter("budget")
    reader.dead_letters(10, None)
    assert {row[0] for row in heard.rows} == {table}
    assert len(listed) == (5 if table == "incidents" else 6)
    assert all(reason == "damaged-row" for _, _, reason in heard.rows)


def test_many_threads_share_few_connections(reader: Reader) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: len(reader.incidents(10, None, None)), range(100))) == {6}
    assert len(reader._idle) <= 8


def test_missing_file_is_an_error_with_its_path(tmp_path: Path, heard: Heard) -> None:
    with pytest.raises(StorageError, match="absent"):
        Reader(str(tmp_path / "absent.db"), heard.unusable, heard.damaged).drops()
    assert not (tmp_path / "absent.db").exists()


def test_damage_is_told_and_raised(tmp_path: Path, heard: Heard) -> None:
    (tmp_path / "j").write_bytes(b"noise" * 1000)
    with pytest.raises(StorageError, match="damaged"):
        Reader(str(tmp_path / "j"), heard.unusable, heard.damaged).drops()
    assert heard.damage == 1


def test_closing_while_in_use_closes_later(reader: Reader) -> None:
    with reader._connection() as db:
        reader.close()
        assert db.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(sqlite3.ProgrammingError):
        db.execute("SELECT 1")
