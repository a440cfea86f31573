"""`edge_agent.journal.trouble`: real errors of SQLite, sorted by whose fault they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_agent.journal.trouble import disk_is_full, is_damage, is_environment, primary_code, storage_error


def error_of(db: sqlite3.Connection, *statements: str) -> sqlite3.Error:
    try:
        for statement in statements:
            db.execute(statement).fetchall()
    except sqlite3.Error as error:
        return error
    raise AssertionError("no error")


@pytest.fixture
def full() -> sqlite3.Error:
    db = sqlite3.connect(":memory:")
    return error_of(db, "PRAGMA max_page_count = 3", "CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(100000))")


def test_file_at_its_limit_is_not_a_full_disk(full: sqlite3.Error, tmp_path: Path) -> None:
    assert primary_code(full) == sqlite3.SQLITE_FULL
    assert is_environment(full)
    assert not is_damage(full)
    text = str(storage_error(full, str(tmp_path / "j"), "writing"))
    assert str(tmp_path / "j") in text
    assert "raise journal.max_bytes" in text


def test_noise_is_damage_and_says_restart(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"noise" * 1000)
    db = sqlite3.connect(tmp_path / "j")
    error = error_of(db, "SELECT * FROM sqlite_schema")
    db.close()
    assert is_damage(error)
    assert not is_environment(error)
    assert "restart the service" in str(storage_error(error, "j", "reading"))


def test_missing_folder_is_a_persons_fault() -> None:
    with pytest.raises(sqlite3.Error) as caught:
        sqlite3.connect("/nonexistent/folder/j")
    assert is_environment(caught.value)
    assert "folder exists" in str(storage_error(caught.value, "/nonexistent/folder/j", "opening"))


def test_wrong_query_is_a_defect_of_ours() -> None:
    error = error_of(sqlite3.connect(":memory:"), "SELECT nothing FROM nowhere")
    assert not is_damage(error)
    assert not is_environment(error)
    assert "report it" in str(storage_error(error, "j", "reading"))


def test_error_of_the_binding_has_no_code() -> None:
    db = sqlite3.connect(":memory:")
    db.close()
    error = error_of(db, "SELECT 1")
    assert primary_code(error) == sqlite3.SQLITE_ERROR


def test_disk_with_space_and_disk_that_is_not_there(tmp_path: Path) -> None:
    assert not disk_is_full(str(tmp_path / "j"))
    assert not disk_is_full("/nonexistent/folder/j")
