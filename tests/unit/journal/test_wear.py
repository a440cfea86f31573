"""`edge_agent.journal.wear`: what was really written, by the hour of running time, over restarts and set clocks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.journal import wear
from edge_agent.journal.wear import SAVE_BYTES, Wear
from tests.journals import TwoClocks

HOUR_S = 3600.0


@pytest.fixture
def io(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's figures, as the test sets them."""
    path = tmp_path / "io"
    say(path, 5_000, 9_000)
    monkeypatch.setattr(wear, "_IO", str(path))
    return path


def say(path: Path, flash: int, calls: int) -> None:
    path.write_text(f"rchar: 77\nwchar: {calls}\nsyscr: 1\nread_bytes: 3\nwrite_bytes: {flash}\ncancelled_write_bytes: 0\n")


def begun(clock: TwoClocks, limit_bytes: int = 0, saved: bytes | None = None) -> Wear:
    count = Wear(clock, limit_bytes)
    count.load(saved)
    count.measure()
    return count


def test_pages_that_go_to_the_disk_count_and_calls_where_there_are_none(io: Path) -> None:
    count = begun(TwoClocks())
    assert count.day_bytes == 0, "what was written before is not ours"
    say(io, 5_000, 9_700)
    count.measure()
    assert count.day_bytes == 700, "a file system that shows no pages"
    say(io, 9_096, 10_000)
    count.measure()
    assert count.day_bytes == 700 + 4_096
    say(io, 9_096, 10_500)
    count.measure()
    assert count.day_bytes == count.total_bytes == 700 + 4_096
    count.close()


def test_the_real_figures_grow_with_what_is_written(tmp_path: Path) -> None:
    count = begun(TwoClocks())
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    os.write(fd, bytes(50_000))
    os.fsync(fd)
    os.close(fd)
    count.measure()
    count.close()
    assert 50_000 <= count.day_bytes < 200_000


def test_a_system_that_does_not_count_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wear, "_IO", str(tmp_path / "absent"))
    count = begun(TwoClocks(), limit_bytes=1)
    assert (count.day_bytes, count.spent) == (0, False)


def test_what_was_written_a_day_of_running_time_ago_is_forgotten(io: Path) -> None:
    clock = TwoClocks()
    count = begun(clock, limit_bytes=600)
    say(io, 5_700, 0)
    count.measure()
    clock.pass_s(12 * HOUR_S)
    say(io, 5_800, 0)
    count.measure()
    assert (count.day_bytes, count.spent) == (800, True)
    clock.wall_s += 1e9
    count.measure()
    assert count.spent, "a clock that is set does not begin a new day"
    clock.pass_s(12 * HOUR_S)
    count.measure()
    assert (count.day_bytes, count.spent) == (100, False)
    clock.pass_s(500 * HOUR_S)
    count.measure()
    assert count.day_bytes == 0
    assert count.total_bytes == 800
    count.close()


def test_a_restart_goes_on_where_it_stood(io: Path) -> None:
    clock = TwoClocks()
    count = begun(clock)
    say(io, 5_900, 0)
    clock.pass_s(5 * HOUR_S)
    count.measure()
    saved = count.body()
    count.close()
    later = TwoClocks(0.0)
    count = begun(later, saved=saved)
    assert (count.day_bytes, count.total_bytes) == (900, 0)
    later.pass_s(23 * HOUR_S)
    count.measure()
    assert count.day_bytes == 900
    later.pass_s(HOUR_S)
    count.measure()
    assert count.day_bytes == 0
    count.close()
    assert begun(later, saved=b'{"running_s":"x"}').day_bytes == 0


def test_saving_is_due_after_so_much(io: Path) -> None:
    count = begun(TwoClocks())
    say(io, 5_000 + SAVE_BYTES, 0)
    count.measure()
    assert count.due
    count.body()
    assert not count.due
    count.close()
