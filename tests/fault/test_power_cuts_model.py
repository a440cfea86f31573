"""The simulation of power cuts itself: what it reads from strace, and what its disk keeps and may lose."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fault.power_cuts.disk import Disk, cuts, materialise
from tests.fault.power_cuts.trace import (
    FOLDER,
    Create,
    Event,
    Mark,
    Rename,
    Resize,
    SyncBegun,
    SyncEnded,
    Trace,
    UnknownCallError,
    Unlink,
    Write,
    read,
)

TRIES = 300


def quoted(text: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def read_lines(*lines: str, before: Mapping[str, bytes] | None = None) -> list[Event]:
    return list(read([line + "\n" for line in lines], "/f", before or {}).events)


def outcomes(*events: Event, before: bytes | None = None, sector: int = 512) -> set[tuple[tuple[str, bytes], ...]]:
    """Every state of the folder that many cuts after these events left."""
    disk = Disk(Trace({} if before is None else {"a": (1, before)}, events))
    for event in events:
        disk.happen(event)
    return {tuple(sorted(disk.after_cut(random.Random(seed), sector).items())) for seed in range(TRIES)}


def contents(*events: Event, before: bytes = b"", sector: int = 512) -> set[bytes]:
    """Every content of the one file `a`."""
    return {dict(state)["a"] for state in outcomes(*events, before=before, sector=sector)}


def synced(inode: int, number: int = 1) -> tuple[Event, Event]:
    return SyncBegun(number, inode), SyncEnded(number, inode)


def test_calls_become_events() -> None:
    open_new = f"7 openat(AT_FDCWD, {quoted('/f/a')}, O_RDWR|O_CREAT|O_CLOEXEC, 0640) = 3"
    events = read_lines(
        open_new,
        f"7 write(3, {quoted('xy')}, 2) = 2",
        f"7 write(3, {quoted('z')}, 1) = 1",
        f"7 pwrite64(3, {quoted('w')}, 1, 9) = 1",
        "7 ftruncate(3, 5)           = 0",
        "7 fallocate(3, 0, 4, 8)           = 0",
        "7 fdatasync(3)                      = 0",
        f"7 write(1, {quoted('done')}, 4) = 4",
        f"7 rename({quoted('/f/a')}, {quoted('/f/b')}) = 0",
        f"7 openat(AT_FDCWD, {quoted('/f')}, O_RDONLY|O_CLOEXEC) = 4",
        "7 fsync(4)                      = 0",
        f"7 unlink({quoted('/f/b')}) = 0",
    )
    assert [event for event in events if not isinstance(event, SyncBegun | SyncEnded)] == [
        Create("a", 1),
        Write(1, 0, b"xy"),
        Write(1, 2, b"z"),
        Write(1, 9, b"w"),
        Resize(1, 5),
        Resize(1, 12),
        Mark("done"),
        Rename("a", "b", 1),
        Unlink("b"),
    ]
    assert [event.inode for event in events if isinstance(event, SyncEnded)] == [1, FOLDER]


def test_what_fails_or_is_elsewhere_is_left_out() -> None:
    assert not read_lines(
        f"7 openat(AT_FDCWD, {quoted('/g/a')}, O_RDWR|O_CREAT|O_CLOEXEC, 0640) = 3",
        f"7 write(3, {quoted('x')}, 1) = 1",
        f"7 unlink({quoted('/f/a')}) = -1 ENOENT (No such file or directory)",
        f"7 openat(AT_FDCWD, {quoted('/f/a')}, O_RDWR) = -1 ENOENT (No such file or directory)",
        "7 +++ exited with 0 +++",
    )


def test_descriptor_is_used_again_for_another_file() -> None:
    events = read_lines(
        f"7 openat(AT_FDCWD, {quoted('/f/a')}, O_RDWR) = 3",
        "7 close(3)                          = 0",
        f"7 openat(AT_FDCWD, {quoted('/g/a')}, O_RDWR) = 3",
        f"7 write(3, {quoted('x')}, 1) = 1",
        before={"a": b"old"},
    )
    assert events == []


def test_sync_vouches_for_what_ended_before_it_began() -> None:
    events = read_lines(
        f"7 openat(AT_FDCWD, {quoted('/f/a')}, O_RDWR) = 3",
        f"7 pwrite64(3, {quoted('x')}, 1, 0) = 1",
        "7 fdatasync(3 <unfinished ...>",
        f"8 pwrite64(3, {quoted('y')}, 1, 1) = 1",
        f"8 write(1, {quoted('said')}, 4 <unfinished ...>",
        "7 <... fdatasync resumed>)           = 0",
        "8 <... write resumed>) = 4",
        before={"a": b""},
    )
    assert [type(event) for event in events] == [Write, SyncBegun, Write, Mark, SyncEnded]
    assert {content[:1] for content in contents(*events)} == {b"x"}
    assert {content[1:] for content in contents(*events)} >= {b"", b"y"}


@pytest.mark.parametrize(
    "call",
    [
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f0000000000",
        "copy_file_range(4, NULL, 3, NULL, 100, 0) = 100",
        f"link({quoted('/f/a')}, {quoted('/f/b')}) = 0",
        f"rename({quoted('/g/a')}, {quoted('/f/b')}) = 0",
    ],
)
def test_what_cannot_be_followed_is_an_error(call: str) -> None:
    with pytest.raises(UnknownCallError):
        read_lines(f"7 openat(AT_FDCWD, {quoted('/f/a')}, O_RDWR) = 3", "7 " + call, before={"a": b"old"})


def test_reading_maps_and_the_index_of_a_log_are_left_alone() -> None:
    assert not read_lines(
        f"7 openat(AT_FDCWD, {quoted('/f/a-shm')}, O_RDWR) = 3",
        "7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f0000000000",
        f"7 openat(AT_FDCWD, {quoted('/f/a')}, O_RDWR) = 4",
        "7 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 4, 0) = 0x7f0000000000",
        before={"a": b"old", "a-shm": b""},
    )


def test_synced_bytes_stay() -> None:
    assert contents(Write(1, 0, b"new"), *synced(1), before=b"old") == {b"new"}


def test_unsynced_sectors_survive_each_by_chance() -> None:
    old, new = b"a" * 1024, b"b" * 1024
    assert contents(Write(1, 0, new), before=old) == {old, new, b"a" * 512 + b"b" * 512, b"b" * 512 + b"a" * 512}
    assert contents(Write(1, 0, new), before=old, sector=4096) == {old, new}


def test_sector_may_be_found_as_it_was_in_between() -> None:
    assert contents(Write(1, 0, b"b"), Write(1, 0, b"c"), before=b"a") == {b"a", b"b", b"c"}


def test_size_may_grow_without_the_data() -> None:
    found = contents(Write(1, 512, b"b" * 512), before=b"a" * 512)
    assert b"a" * 512 in found
    assert b"a" * 512 + b"b" * 512 in found
    assert b"a" * 512 + bytes(512) in found
    assert len(found) > 3, "what somebody else had written there"


def test_cut_off_file_may_come_back() -> None:
    assert contents(Resize(1, 1), before=b"abc") == {b"a", b"abc"}
    assert contents(Resize(1, 1), *synced(1), before=b"abc") == {b"a"}


def test_names_are_durable_when_the_folder_was_synced() -> None:
    new = (Create("b", 2), Write(2, 0, b"n"), *synced(2))
    assert outcomes(*new) == {(), (("b", b"n"),)}
    assert outcomes(*new, *synced(FOLDER, 2)) == {(("b", b"n"),)}
    assert outcomes(*new, *synced(FOLDER, 2), Unlink("b")) == {(), (("b", b"n"),)}


def test_rename_is_one_step() -> None:
    replaced = (Create("b", 2), Write(2, 0, b"new"), *synced(2), Rename("b", "a", 2))
    states = [dict(state) for state in outcomes(*replaced, before=b"old")]
    assert {state["a"] for state in states} == {b"old", b"new"}
    assert all(("b" in state) <= (state["a"] == b"old") for state in states)


def test_renaming_what_was_not_synced_may_leave_nothing() -> None:
    events = (Create("b", 2), Write(2, 0, b"new"), Rename("b", "a", 2), *synced(FOLDER))
    assert {b"", b"new"} <= contents(*events, before=b"old")


def test_changes_of_names_survive_in_order_or_in_any() -> None:
    states = {tuple(name for name, _ in state) for state in outcomes(Create("b", 2), Create("c", 3))}
    assert states == {(), ("b",), ("c",), ("b", "c")}


def test_cuts_tell_the_marks_between_them(tmp_path: Path) -> None:
    trace = Trace({"a": (1, b"old")}, (Mark("1"), Write(1, 0, b"new"), *synced(1), Mark("2")))
    found = list(cuts(trace, [1, 1, 5], random.Random(1)))
    assert [cut.marks for cut in found] == [["1"], [], ["2"]]
    assert [cut.files["a"] for cut in found] == [b"old", b"old", b"new"]
    (tmp_path / "stale").touch()
    materialise(found[-1].files, tmp_path)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a": b"new"}
