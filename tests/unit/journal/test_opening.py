"""`edge_agent.journal.opening`: what is found on the disk, and what is made of it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from edge_agent.errors import StorageError
from edge_agent.journal.opening import lock
from edge_agent.journal.store import suspect_path
from tests.journals import escalation, incident, message, open_journal, summary, waiting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    with open_journal(path) as journal:
        journal.record([incident(1), incident(2)], [message("t")])
    return path


def change(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


def test_lock_is_for_one_and_ends_with_it(tmp_path: Path) -> None:
    fd = lock(str(tmp_path / "j"))
    with pytest.raises(StorageError, match="another edge-agent"):
        lock(str(tmp_path / "j"))
    os.close(fd)
    os.close(lock(str(tmp_path / "j")))


def test_lock_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "j.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="cannot be locked"):
        lock(str(tmp_path / "j"))
    assert not (tmp_path / "elsewhere").exists()


def test_empty_file_is_a_new_journal(tmp_path: Path) -> None:
    (tmp_path / "j").touch()
    with open_journal(tmp_path / "j") as journal:
        assert journal.opening.created
        assert not journal.opening.damage


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("version 9", "PRAGMA user_version = 9"),
        ("version 0", "PRAGMA user_version = 0"),
        ("not a journal", "PRAGMA application_id = 77"),
        ("tables", "CREATE TABLE stranger (x)"),
        ("tables", "DROP TABLE closures"),
        ("tables", "DROP INDEX escalations_by_request"),
    ],
)
def test_file_of_another_shape_is_set_aside_and_its_rows_carried_over(path: Path, what: str, statement: str) -> None:
    change(path, statement)
    with open_journal(path) as journal:
        report = journal.opening
        assert what in report.damage
        assert (report.salvaged_incidents, report.salvaged_messages, report.salvaged) == (2, 1, 3)
        assert [i.id for i in journal.open_incidents()] == ["i-000001", "i-000002"]
        assert [m.topic for m in waiting(journal)] == ["t"]
        assert [d.reason for d in journal.drops()] == ["damaged-file"]
    assert Path(report.aside).exists()


def test_database_of_another_program_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "j"
    change(path, "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (5)")
    with open_journal(path) as journal:
        assert "not a journal" in journal.opening.damage
        db = sqlite3.connect(journal.opening.aside)
        assert db.execute("SELECT x FROM theirs").fetchall() == [(5,)]
        db.close()


def test_index_that_disagrees_with_its_table_is_found(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record_summary(summary(1), [], escalation=escalation(1))
    index = "UPDATE sqlite_schema SET sql = 'CREATE INDEX escalations_by_request ON escalations (request)%s'"
    change(path, "PRAGMA writable_schema = ON", index % " WHERE state = 5" + " WHERE name = 'escalations_by_request'")
    change(path, "UPDATE escalations SET request = 'other'")
    change(path, "PRAGMA writable_schema = ON", index % "" + " WHERE name = 'escalations_by_request'")
    with open_journal(path) as journal:
        assert journal.opening.damage
        assert journal.opening.salvaged_incidents == 2


def test_note_of_damage_is_heeded_once(path: Path) -> None:
    Path(suspect_path(str(path))).touch()
    with open_journal(path) as journal:
        assert "while it ran" in journal.opening.damage
        assert len(journal.open_incidents()) == 2
    with open_journal(path) as journal:
        assert not journal.opening.damage


def test_writable_file_that_says_read_only_is_damaged(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\x09")
    with open_journal(path) as journal:
        assert journal.opening.damage
        journal.record([incident(3)], [])


def test_failed_opening_gives_the_lock_back(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    for _ in range(2):
        with pytest.raises(StorageError, match="not a file"):
            open_journal(tmp_path / "j")


def test_dangling_link_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "j").symlink_to(tmp_path / "gone")
    with open_journal(tmp_path / "j") as journal:
        assert journal.opening.damage
    assert not (tmp_path / "gone").exists()
    assert (tmp_path / "j").is_file()
