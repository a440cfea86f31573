"""The journal beside the agent that writes it."""

from __future__ import annotations

from pathlib import Path

from edge_agent.commands.journal import open_reader
from edge_agent.config.settings import Settings
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
