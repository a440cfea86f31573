"""`edge_agent.journal.schema`: every version that was ever released becomes the newest one, with what it held."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import get_args

import pytest

from edge_agent.chain import first_break
from edge_agent.journal import Journal
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
from edge_agent.journal.store import suspect_path
from tests.journals import SetClock, open_journal

FILES = {version: Path(__file__).with_name(f"version_{version}.sql") for version in (1, 2)}
"""A journal of each version as SQL, written by hand from `docs/formats/journal.md`; never regenerated."""


def make(version: int, folder: Path) -> Path:
    path = folder / "journal.db"
    db = sqlite3.connect(path)
    db.executescript(FILES[version].read_text())
    db.close()
    return path


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    return make(1, tmp_path)


def test_empty_file_gets_every_table(tmp_path: Path) -> None:
    db = connect_writer(str(tmp_path / "j"), 1 << 20)
    assert migrate(db) == 0
    assert migrate(db) == len(MIGRATIONS)
    assert shape(db) == expected_shape()
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    db.close()


def test_there_is_a_file_of_every_version() -> None:
    assert set(FILES) == set(range(1, len(MIGRATIONS) + 1))


def check_version_1(journal: Journal) -> None:
    """What both files hold."""
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
    [queued] = journal.outbox(0, 10)
    assert (queued.queued_s, queued.before_start) == (1790000006.0, True)
    sent = queued.message
    assert (sent.topic, sent.payload, sent.response_correlation) == ("edge/gateway-1/summary", b"{}", b"\x01\x02")
    assert (sent.qos, sent.retain, sent.supersedes) == (1, True, True)
    assert {d.reason: d.count for d in journal.drops()}["outbox-full"] == 3


def check_version_2(journal: Journal) -> None:
    """What the file of version 2 holds besides."""
    check_version_1(journal)
    assert [e.id for e in journal.pending_escalations(10)] == ["q-000002-1"]
    answered = journal.escalation("i-000001")
    assert answered is not None
    assert (answered.state, answered.revision) == ("answered", 2)
    assert journal.meter("budget") == b'{"requests":3}'
    assert [entry.number for entry in journal.log("audit")] == [8, 9]
    assert first_break(journal.log("audit"), journal.log_anchor("audit")) is None
    assert first_break(journal.log("egress"), journal.log_anchor("egress")) is None
    [letter] = journal.dead_letters(10)
    assert (letter.message.payload, letter.reason) == (b"[]", "packet-too-large")
    assert journal._store.upkeep.ageing.lived_s >= 50.0


CHECKS = {1: check_version_1, 2: check_version_2}


@pytest.mark.parametrize("version", FILES)
def test_a_file_of_every_version_is_read_with_all_it_held(tmp_path: Path, version: int) -> None:
    with open_journal(make(version, tmp_path)) as journal:
        assert journal.opening.version_before == version
        assert not journal.opening.damage
        CHECKS[version](journal)
    with open_journal(tmp_path / "journal.db") as journal:
        assert journal.opening.version_before == len(MIGRATIONS)
        CHECKS[version](journal)


@pytest.mark.parametrize("version", FILES)
def test_a_damaged_file_of_every_version_is_salvaged_with_all_it_held(tmp_path: Path, version: int) -> None:
    path = make(version, tmp_path)
    Path(suspect_path(str(path))).touch()
    with open_journal(path) as journal:
        assert journal.opening.damage
        assert (journal.opening.salvaged_incidents, journal.opening.salvaged_messages) == (2, 1)
        CHECKS[version](journal)


def test_a_file_of_a_newer_version_gives_what_this_one_knows(tmp_path: Path) -> None:
    """Columns that came later are left, one that is gone takes its default, a table that is gone is empty."""
    path = make(2, tmp_path)
    db = sqlite3.connect(path)
    db.executescript(
        "ALTER TABLE incidents ADD COLUMN later INTEGER; ALTER TABLE outbox DROP COLUMN since_s; DROP TABLE dead_letters;"
        "ALTER TABLE meters RENAME COLUMN body TO content; PRAGMA user_version = 3;"
    )
    db.close()
    with open_journal(path) as journal:
        assert "version 3" in journal.opening.damage
        check_version_1(journal)
        assert [e.id for e in journal.pending_escalations(10)] == ["q-000002-1"]
        assert (journal.dead_letters(10), journal.meter("budget")) == ([], None)
        assert len(journal.log("audit")) == 2


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
