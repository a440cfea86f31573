"""A disk that fills up or refuses: an error that says so, nothing lost, and work goes on when there is room again."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.config.settings import JournalSettings
from edge_agent.errors import StorageError
from edge_agent.journal import Journal
from tests.deadline import eventually
from tests.journals import incident, message, open_journal, summary, waiting

SETTINGS = JournalSettings(max_bytes=64 << 20, max_outbox=100_000, keep_incidents=100_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    """Files of this process may not grow over 600 kB: writes beyond fail with EFBIG, as on a bad disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def fill(journal: Journal, stored: list[int]) -> None:
    """Record until the disk refuses; `stored` gets what was acknowledged."""
    for n in range(len(stored), 10_000):
        journal.record([incident(n)], [message(f"t/{n}", "x" * 1000)])
        stored.append(n)


def check_all(journal: Journal, stored: list[int]) -> None:
    assert [s.incident for s in journal.incidents(100_000)] == [incident(n) for n in reversed(stored)]
    assert [m.topic for m in waiting(journal)] == [f"t/{n}" for n in stored]
    assert journal.counts().outbox == len(stored) == journal.counts().incidents


def test_full_disk_is_said_loses_nothing_and_passes(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    stored: list[int] = []
    with open_journal(small_disk / "journal.db", SETTINGS) as journal:
        with pytest.raises(StorageError, match="no space left; free space"):
            fill(journal, stored)
        assert stored
        assert journal.drops() == []
        check_all(journal, stored)
        with pytest.raises(StorageError, match="no space left"):
            fill(journal, stored)
        full = len(stored)
        journal.delivered([stored[0]])
        ballast.unlink()
        journal.record([incident(full)], [message(f"t/{full}", "x" * 1000)])
        stored.append(full)
        assert journal.counts().failed_commits >= 2
        assert not journal.damaged
    with open_journal(small_disk / "journal.db", SETTINGS) as journal:
        assert not journal.opening.damage
        assert [s.incident.id for s in journal.incidents(100_000)] == [incident(n).id for n in reversed(stored)]


def test_opening_on_a_full_disk_is_an_error_and_works_later(small_disk: Path) -> None:
    path = small_disk / "journal.db"
    with open_journal(path, SETTINGS) as journal:
        journal.record([incident(1)], [])
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(2 << 20))
    with pytest.raises(StorageError, match="no space left"):
        open_journal(path, SETTINGS)
    ballast.unlink()
    with open_journal(path, SETTINGS) as journal:
        assert not journal.opening.damage
        assert len(journal.open_incidents()) == 1


def test_failing_writes_are_said_lose_nothing_and_pass(tmp_path: Path, file_size_limit: None) -> None:
    stored: list[int] = []
    with open_journal(tmp_path / "journal.db", SETTINGS) as journal:
        with pytest.raises(StorageError, match="disk"):
            fill(journal, stored)
        check_all(journal, stored)
        assert not journal.damaged
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        fill_until = len(stored) + 5
        for n in range(len(stored), fill_until):
            journal.record([incident(n)], [message(f"t/{n}", "x" * 1000)])
            stored.append(n)
        check_all(journal, stored)
    with open_journal(tmp_path / "journal.db", SETTINGS) as journal:
        assert not journal.opening.damage
        check_all(journal, stored)


def test_delivered_messages_are_not_handed_out_again_while_they_cannot_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with open_journal(path, SETTINGS) as journal:
        journal.record([incident(1)], [message(f"t/{n}") for n in range(30)])
        blocker = _write_lock(path)
        numbers = [q.number for q in journal.outbox(0, 20)]
        journal.delivered(numbers)
        assert [q.message.topic for q in journal.outbox(0, 5)] == [f"t/{n}" for n in range(20, 25)]
        blocker.close()
        journal.record_summary(summary(1), [])
        eventually(lambda: journal.counts().outbox == 10)


def _write_lock(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    return db


def test_read_only_folder_says_what_to_do(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("rights do not bind root")
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="write"):
        open_journal(tmp_path / "journal.db")
    tmp_path.chmod(0o700)
