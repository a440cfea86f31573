"""`edge_agent.journal.assembly`: a file larger than its limit is made smaller by policy, and the rest is as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config.settings import JournalSettings
from edge_agent.journal import compaction
from edge_agent.journal.schema import log_bytes
from tests.journals import incident, message, open_journal, store_history, waiting

LARGE = JournalSettings(max_bytes=8 << 20, max_outbox=10_000)
SMALLER = JournalSettings(max_bytes=2 << 20, max_outbox=10_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    with open_journal(path, LARGE) as journal:
        journal.record([incident(1)], [])
        store_history(journal, range(100, 130))
        for n in range(0, 3_000, 500):
            journal.record([], [message(f"t/{k}", "x" * 900, priority=k % 3) for k in range(n, n + 500)])
    return path


def test_lowering_the_limit_shrinks_the_file_by_policy_counted(path: Path) -> None:
    with open_journal(path, SMALLER) as journal:
        assert journal.opening.smaller_bytes > 0
        assert not journal.opening.damage
        assert path.stat().st_size <= SMALLER.max_bytes - log_bytes(SMALLER.max_bytes)
        left = [int(m.topic[2:]) for m in waiting(journal)]
        dropped = {drop.reason: drop.count for drop in journal.drops()}
        assert dropped["file-full"] == 3_000 - len(left)
        assert len(left) > 1_000
        assert {n for n in range(3_000) if n % 3 == 2} <= set(left), "the more important stay"
        assert journal.incident("i-000001") is not None
        journal.record([incident(2)], [message("new")])
        before = waiting(journal)
    with open_journal(path, SMALLER) as journal:
        assert journal.opening.smaller_bytes == 0
        assert waiting(journal) == before


def test_a_file_within_its_new_limit_is_left_alone(path: Path) -> None:
    with open_journal(path, JournalSettings(max_bytes=7 << 20, max_outbox=10_000)) as journal:
        assert journal.opening.smaller_bytes == 0
        assert len(waiting(journal)) == 3_000


def test_what_an_interruption_left_of_a_copy_is_removed(path: Path) -> None:
    Path(f"{path}.compact").write_bytes(b"half")
    open_journal(path, LARGE).close()
    assert not Path(f"{path}.compact").exists()


def test_a_file_that_is_mostly_free_is_made_smaller_without_a_loss(path: Path) -> None:
    with open_journal(path, LARGE) as journal:
        journal.delivered([queued.number for queued in journal.outbox(0, 2_900)])
    with open_journal(path, SMALLER) as journal:
        assert journal.opening.smaller_bytes > 0
        assert len(waiting(journal)) == 100
        assert journal.drops() == []


def test_without_room_for_a_copy_it_stays_as_large_and_works(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "free_bytes", lambda _: 4096)
    size = path.stat().st_size
    with open_journal(path, SMALLER) as journal:
        assert journal.opening.smaller_bytes == 0
        for n in range(200):
            journal.record([], [message(f"new/{n}", "x" * 900)])
    assert path.stat().st_size == size
