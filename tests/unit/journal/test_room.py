"""`edge_agent.journal.room`: the file grows or not by what is free; the reserve is there when it is needed."""

from __future__ import annotations

import os
import sqlite3
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.journal.room import Room, keep_reserve, release_reserve, reserve_path
from edge_agent.journal.schema import connect_writer, file_pages, migrate, reserve_bytes

MAX_BYTES = 8 << 20
FLOOR_BYTES = 16 << 20
Figures = namedtuple("Figures", "f_bavail f_blocks f_frsize")


class Disk:
    """What `statvfs` says, in bytes."""

    def __init__(self) -> None:
        self.free = 1 << 30
        self.size = 64 << 30

    def statvfs(self, _: object) -> Figures:
        return Figures(self.free // 512, self.size // 512, 512)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "statvfs", disk.statvfs)
    return disk


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    db = connect_writer(str(tmp_path / "j"), MAX_BYTES)
    migrate(db)
    yield db
    db.close()


@pytest.fixture
def room(tmp_path: Path, db: sqlite3.Connection, disk: Disk) -> Room:
    return Room(str(tmp_path / "j"), db, MAX_BYTES, FLOOR_BYTES)


def pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def test_with_room_the_file_may_grow_to_its_limit_and_there_is_a_reserve(
    room: Room, db: sqlite3.Connection, tmp_path: Path
) -> None:
    room.look()
    assert pragma(db, "max_page_count") == file_pages(db, MAX_BYTES)
    assert (tmp_path / "j.reserve").stat().st_size == reserve_bytes(MAX_BYTES) == 1 << 19
    assert (tmp_path / "j.reserve").stat().st_blocks * 512 >= 1 << 19, "allocated, not only long"
    assert room.trouble == ""


def test_below_the_floor_the_file_does_not_grow_until_there_is_room_again(room: Room, db: sqlite3.Connection, disk: Disk) -> None:
    room.look()
    disk.free = FLOOR_BYTES - 1
    room.look()
    assert room.low
    assert pragma(db, "max_page_count") == pragma(db, "page_count")
    assert "the file does not grow" in room.trouble
    disk.free = FLOOR_BYTES + 4096
    room.look()
    assert room.low, "not at every block that comes and goes"
    disk.free = FLOOR_BYTES + (1 << 20)
    room.look()
    assert not room.low
    assert room.trouble == ""
    assert pragma(db, "max_page_count") == file_pages(db, MAX_BYTES)


def test_the_trouble_is_known_before_anything_is_written(room: Room, disk: Disk) -> None:
    room.look()
    disk.free = FLOOR_BYTES - 1
    assert "15 MiB are free on its file system, where 16 MiB are kept" in room.trouble
    disk.free = 4096
    assert "no space left" in room.trouble
    assert room.full


def test_a_small_file_system_can_be_used_all_the_same(room: Room, disk: Disk) -> None:
    disk.size, disk.free = 20 << 20, 3 << 20
    room.look()
    assert not room.low
    disk.free = 1 << 20
    room.look()
    assert room.low


def test_the_reserve_is_used_once_and_made_again_when_there_is_room(room: Room, db: sqlite3.Connection, disk: Disk) -> None:
    room.look()
    disk.free = 4096
    room.look()
    before = pragma(db, "max_page_count")
    assert room.use_reserve()
    assert pragma(db, "max_page_count") == before + (1 << 18) // 2048
    assert not room.use_reserve()
    room.look()
    assert not os.path.exists(reserve_path(room._path))
    disk.free = 1 << 30
    room.look()
    assert os.path.exists(reserve_path(room._path))


def test_a_file_system_that_cannot_allocate_has_no_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    keep_reserve(str(tmp_path / "j"), 4096)
    assert not release_reserve(str(tmp_path / "j"))
    keep_reserve(str(tmp_path / "absent" / "j"), 4096)


def test_a_file_system_that_says_nothing_has_room(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(os, "statvfs", refuse)
    room.look()
    assert (room.low, room.full, room.trouble) == (False, False, "")
