"""`edge_agent.journal.schema`: every version that was ever released becomes the newest one, with what it held."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import get_args

import pytest

from edge_agent.journal.opening import open_database
from edge_agent.journal.records import DropReason
from edge_agent.journal.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    PAGE_BYTES,
    connect_writer,
    expected_shape,
    migrate,
    shape,
)
from tests.journals import SetClock, open_journal, waiting

VERSION_1 = Path(__file__).with_name("version_1.sql")
"""A journal of version 1 as SQL, written by hand from `docs/formats/journal.md`; never regenerated."""


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    db = sqlite3.connect(path)
    db.executescript(VERSION_1.read_text())
    db.close()
    return path


def test_empty_file_gets_every_table(tmp_path: Path) -> None:
    db = connect_writer(str(tmp_path / "j"), 1 << 20)
    assert migrate(db) == 0
    assert migrate(db) == len(MIGRATIONS)
    assert shape(db) == expected_shape()
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    db.close()


def test_version_1_is_read_with_all_it_held(version_1: Path) -> None:
    with open_journal(version_1) as journal:
        assert journal.opening.version_before == 1
        assert not journal.opening.damage
        [newest, oldest] = journal.incidents(10)
        assert oldest.incident.id == "i-000001"
        assert oldest.incident.anomalies[0].signature == bytes(range(32))
        assert oldest.incident.anomalies[0].stream == "pump-1/vibration"
        assert oldest.explained_revision == 2
        assert oldest.closure is not None
        assert oldest.closure.cause == "bearing wear"
        assert newest.incident.state == "open"
        assert [i.id for i in journal.to_explain(10)] == ["i-000002"]
        found = journal.summary("i-000001")
        assert found is not None
        assert found.text == "Vibration rose to 3.75 mm/s."
        [past] = journal.past_incidents()
        assert past.number == oldest.number == 1
        [queued] = waiting(journal)
        assert (queued.topic, queued.payload, queued.response_correlation) == ("edge/gateway-1/summary", b"{}", b"\x01\x02")
        assert (queued.qos, queued.retain, queued.supersedes, queued.priority) == (1, True, True, 1)
        assert [(d.reason, d.count) for d in journal.drops()] == [("outbox-full", 3)]


def test_migrations_run_in_order_once_and_keep_rows(version_1: Path) -> None:
    later = (
        *MIGRATIONS,
        ("ALTER TABLE outbox ADD COLUMN extra INTEGER NOT NULL DEFAULT 7",),
        ("CREATE TABLE more (number INTEGER PRIMARY KEY)",),
    )
    db, report = open_database(str(version_1), 1 << 20, SetClock(), later)
    assert report.version_before == 1
    assert not report.damage
    assert db.execute("SELECT extra, topic FROM outbox").fetchall() == [(7, "edge/gateway-1/summary")]
    assert db.execute("PRAGMA user_version").fetchone() == (len(later),)
    db.close()
    db, report = open_database(str(version_1), 1 << 20, SetClock(), later)
    assert report.version_before == len(later)
    assert not report.damage
    db.close()


def test_the_formats_page_names_every_table_column_and_reason() -> None:
    page = (Path(__file__).parents[3] / "docs" / "formats" / "journal.md").read_text(encoding="utf-8")
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    columns = [name for table in tables for (name,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    missing = [word for word in (*tables, *columns, *get_args(DropReason)) if f"`{word}`" not in page]
    assert not missing
    assert str(APPLICATION_ID) in page
    assert f"| {len(MIGRATIONS)} |" in page.split("## Versions")[1]


def test_failed_migration_leaves_the_version_before(tmp_path: Path) -> None:
    db = connect_writer(str(tmp_path / "j"), 1 << 20)
    migrate(db)
    before = shape(db)
    broken = (*MIGRATIONS, ("CREATE TABLE more (number INTEGER PRIMARY KEY)", "CREATE TABLE more (number INTEGER PRIMARY KEY)"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, broken)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert shape(db) == before
    db.close()


def test_writer_connection_syncs_and_is_bounded(tmp_path: Path) -> None:
    db = connect_writer(str(tmp_path / "j"), 8 << 20)
    values = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "secure_delete")}
    assert values == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 0}
    pages = db.execute("PRAGMA max_page_count").fetchone()[0]
    log_pages = db.execute("PRAGMA wal_autocheckpoint").fetchone()[0]
    assert (pages + log_pages) * PAGE_BYTES <= 8 << 20
    assert log_pages * PAGE_BYTES == 1 << 20
    db.close()
