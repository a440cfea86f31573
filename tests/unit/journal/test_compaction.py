"""`edge_agent.journal.compaction`: a smaller file with the same content takes the name, or nothing changes."""

from __future__ import annotations

import os
from collections import namedtuple
from pathlib import Path

import pytest

from edge_agent.config.settings import JournalSettings
from edge_agent.errors import StorageError
from edge_agent.journal.compaction import compact
from tests.journals import incident, message, open_journal, waiting

MAX_BYTES = 4 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file most of which is free."""
    path = tmp_path / "journal.db"
    with open_journal(path, JournalSettings(max_bytes=MAX_BYTES, max_outbox=1_000)) as journal:
        journal.record([incident(n) for n in range(5)], [message(f"t/{n}", "x" * 900) for n in range(900)])
        journal.delivered([queued.number for queued in journal.outbox(0, 890)])
    return path


def check(path: Path) -> None:
    with open_journal(path, JournalSettings(max_bytes=MAX_BYTES)) as journal:
        assert not journal.opening.damage
        assert journal.opening.version_before == 2
        assert [m.topic for m in waiting(journal)] == [f"t/{n}" for n in range(890, 900)]
        assert [s.number for s in journal.incidents(10)] == [5, 4, 3, 2, 1]


def test_smaller_with_the_same_content(path: Path) -> None:
    before = path.stat().st_size
    smaller = compact(str(path), MAX_BYTES)
    assert path.stat().st_size == before - smaller < before // 4
    check(path)


def test_nothing_changes_where_there_is_no_room_for_the_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    fields = namedtuple("fields", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda _: fields(10, 2048))
    assert compact(str(path), MAX_BYTES) == 0
    monkeypatch.undo()
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", ["fsync", "replace"])
def test_an_interruption_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    def fail(*_: object) -> None:
        raise OSError("cut")

    monkeypatch.setattr(os, cut, fail)
    with pytest.raises(StorageError, match="made smaller: cut"):
        compact(str(path), MAX_BYTES)
    monkeypatch.undo()
    check(path)


def test_a_leftover_is_worthless(path: Path) -> None:
    Path(f"{path}.compact").write_bytes(b"half of a copy")
    assert compact(str(path), MAX_BYTES) > 0
    check(path)
    assert not Path(f"{path}.compact").exists()
