"""The journal beside the agent that writes it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_agent.commands.journal import open_reader
from edge_agent.config.settings import Settings
from edge_agent.errors import StorageError
from edge_agent.journal import JOURNAL_NAME
from edge_agent.journal.schema import MIGRATIONS, migrate
from tests.unit.workers.parts import open_journal
from tests.writing import anomaly, incident


def test_a_folder_without_a_journal_has_no_reader_and_gets_no_file(tmp_path: Path) -> None:
    with open_reader(Settings(state_dir=str(tmp_path))) as reader:
        assert reader is None
    assert list(tmp_path.iterdir()) == []


def test_what_the_agent_stores_is_read_while_it_runs(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal, open_reader(Settings(state_dir=str(tmp_path))) as reader:
        assert reader is not None
        assert reader.open_incidents() == []
        journal.record([incident(anomaly())], [])
        assert [found.id for found in reader.open_incidents()] == ["pump-3-1"]


def read_dead_letters(folder: Path) -> None:
    with open_reader(Settings(state_dir=str(folder))) as reader:
        assert reader is not None
        assert reader.open_incidents() == []
        reader.dead_letters(1, None)


def test_a_journal_of_an_earlier_version_is_no_defect_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / JOURNAL_NAME, isolation_level=None)
    migrate(db, MIGRATIONS[:1])
    db.close()
    with pytest.raises(StorageError, match="is of an earlier version of edge-agent: start the agent once"):
        read_dead_letters(tmp_path)


def test_what_is_missing_in_a_journal_of_this_version_is_told_as_it_is(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / JOURNAL_NAME, isolation_level=None)
    migrate(db)
    db.execute("DROP TABLE dead_letters")
    db.close()
    with pytest.raises(StorageError, match="no such table: dead_letters"):
        read_dead_letters(tmp_path)
