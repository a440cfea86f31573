"""A disk that fills up or refuses: an error that says so, nothing lost, and work goes on when there is room again."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.config.settings import JournalSettings
from edge_agent.errors import StorageError
from edge_agent.journal import Journal
from edge_agent.journal.room import reserve_path
from tests.deadline import eventually
from tests.journals import incident, message, open_journal, report_of, summary, waiting

SETTINGS = JournalSettings(max_bytes=64 << 20, max_outbox=100_000, keep_incidents=100_000)


class SmallDisk:
    """A file system of 8 MiB, and a file of somebody else's on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.db"
        self._ballast = folder / "ballast"

    def leave(self, free_bytes: int) -> None:
        """Have the other file take all but so much."""
        self.clear()
        stat = os.statvfs(self.folder)
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, stat.f_bavail * stat.f_frsize - free_bytes)

    def clear(self) -> None:
        """Have the other file go."""
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield SmallDisk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    """Files of this process may not grow over 600 kB: writes beyond fail with EFBIG, as on a bad disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def fill(journal: Journal, ballast: int = 0) -> int:
    """Record incidents, with `ballast` bytes of a message each, until the disk refuses; how many were acknowledged."""
    stored = 0
    with contextlib.suppress(StorageError):
        for stored in range(100_000):
            journal.record([incident(stored)], [message(f"t/{stored}", "x" * ballast)] if ballast else [])
    refusal = r"no space left|nearly full|disk I/O"
    with pytest.raises(StorageError, match=refusal):
        journal.record([incident(stored)], [message(f"t/{stored}", "x" * ballast)] if ballast else [])
    return stored


def check_all(journal: Journal, stored: list[int]) -> None:
    assert [s.incident for s in journal.incidents(100_000)] == [incident(n) for n in reversed(stored)]
    assert [m.topic for m in waiting(journal)] == [f"t/{n}" for n in stored]
    assert journal.counts().outbox == len(stored) == journal.counts().incidents


def record(journal: Journal, numbers: range) -> None:
    """Incidents that must stay, each with a message that need not."""
    for n in numbers:
        journal.record([incident(n)], [message(f"t/{n}", "x" * 1000, priority=1)])


def check_incidents(journal: Journal, count: int) -> None:
    """Every incident is there, and every message waits or is counted."""
    assert [s.incident for s in journal.incidents(100_000)] == [incident(n) for n in reversed(range(count))]
    left = [m for m in waiting(journal) if m.topic != "drops"]
    assert len(left) + sum(drop.count for drop in journal.drops()) == count
    assert not journal.damaged


@pytest.mark.parametrize("free_bytes", [0, 4096, 700_000])
def test_on_a_full_disk_incidents_are_recorded_in_room_already_taken(
    disk: SmallDisk, free_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """However suddenly the disk filled up. Messages make room, by policy and counted; the report of that is queued."""
    with open_journal(disk.path, SETTINGS, tombstone=report_of) as journal:
        record(journal, range(60))
        assert journal.trouble == ""
        disk.leave(free_bytes)
        assert "free space there" in journal.trouble, "known before any write fails"
        record(journal, range(60, 400))
        assert "free space there" in journal.trouble
        check_incidents(journal, 400)
        assert {drop.reason for drop in journal.drops()} == {"file-full"}
        assert any(m == report_of(journal.drops()) for m in waiting(journal))
        disk.clear()
        record(journal, range(400, 401))
        assert journal.trouble == ""
        check_incidents(journal, 401)
        assert "there is room again" in caplog.text
        assert Path(reserve_path(str(disk.path))).exists(), "for the next time"
    with open_journal(disk.path, SETTINGS) as journal:
        assert not journal.opening.damage
        check_incidents(journal, 401)


def test_when_nothing_may_go_it_is_said_and_passes(disk: SmallDisk, caplog: pytest.LogCaptureFixture) -> None:
    with open_journal(disk.path, SETTINGS) as journal:
        disk.leave(0)
        stored = fill(journal)
        assert stored > 100, "the reserve is for what must stay"
        assert len(journal.incidents(100_000)) == stored
        assert "writing failed" in journal.trouble
        disk.clear()
        journal.record([incident(stored)], [])
        assert journal.trouble == ""
        assert "can be written again" in caplog.text
    with open_journal(disk.path, SETTINGS) as journal:
        assert not journal.opening.damage
        assert len(journal.open_incidents()) == stored + 1


def test_below_the_floor_others_keep_their_room(disk: SmallDisk) -> None:
    with open_journal(disk.path, SETTINGS) as journal:
        record(journal, range(60))
        disk.leave(600_000)
        record(journal, range(60, 90))
        stat = os.statvfs(disk.folder)
        record(journal, range(90, 300))
        after = os.statvfs(disk.folder)
        assert stat.f_bavail - after.f_bavail <= 16, "the file does not grow"
        check_incidents(journal, 300)


@pytest.mark.parametrize("closed", [True, False])
def test_a_start_on_a_full_disk_finds_everything_and_says_so(disk: SmallDisk, closed: bool) -> None:
    with open_journal(disk.path, SETTINGS) as journal:
        record(journal, range(50))
        if not closed:
            for suffix in ("", "-wal", ".reserve"):
                shutil.copy(f"{disk.path}{suffix}", f"{disk.folder}/crashed.db{suffix}")
    path = disk.path if closed else disk.folder / "crashed.db"
    disk.leave(0)
    with open_journal(path, SETTINGS) as journal:
        assert "no space left" in journal.trouble or "are free on its file system" in journal.trouble
        assert not journal.opening.damage
        check_incidents(journal, 50)
        record(journal, range(50, 80))
        check_incidents(journal, 80)
        disk.clear()
        record(journal, range(80, 81))
        assert journal.trouble == ""


def test_a_start_on_a_full_disk_without_a_reserve_is_an_error_and_works_later(disk: SmallDisk) -> None:
    with open_journal(disk.path, SETTINGS) as journal:
        journal.record([incident(1)], [])
    Path(reserve_path(str(disk.path))).unlink()
    disk.leave(0)
    with pytest.raises(StorageError, match="no space left"):
        open_journal(disk.path, SETTINGS)
    disk.clear()
    with open_journal(disk.path, SETTINGS) as journal:
        assert not journal.opening.damage
        assert len(journal.open_incidents()) == 1


def test_failing_writes_are_said_lose_nothing_and_pass(tmp_path: Path, file_size_limit: None) -> None:
    stored: list[int] = []
    with open_journal(tmp_path / "journal.db", SETTINGS) as journal:
        stored.extend(range(fill(journal, 1000)))
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
