"""`edge_agent.atomic`: old content or new, at every failure, on a real file system."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from edge_agent.atomic import fsync_folder, make_folder, write_atomic
from edge_agent.errors import StorageError


def failing(error_number: int) -> Any:
    """A replacement of an `os` function that fails as a bad disk does."""

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(error_number, os.strerror(error_number))

    return fail


def test_writes_new_file_with_exact_mode_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write_atomic(tmp_path / "state", b"one", mode=0o644)
    finally:
        os.umask(old)
    assert (tmp_path / "state").read_bytes() == b"one"
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o644


def test_replaces_whole_content_and_leaves_no_other_file(tmp_path: Path) -> None:
    target = tmp_path / "state"
    write_atomic(target, b"x" * 100_000)
    write_atomic(str(target), b"")
    assert target.read_bytes() == b""
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
    write_atomic(tmp_path / "state", bytes(range(256)))
    monkeypatch.undo()
    assert (tmp_path / "state").read_bytes() == bytes(range(256))


def test_leftover_of_an_interrupted_write_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".state.tmp").write_bytes(b"half")
    write_atomic(tmp_path / "state", b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    assert (tmp_path / "state").read_bytes() == b"whole"


def test_leftover_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"safe")
    (tmp_path / ".state.tmp").symlink_to(victim)
    write_atomic(tmp_path / "state", b"new")
    assert victim.read_bytes() == b"safe"


def test_link_at_the_path_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"safe")
    (tmp_path / "state").symlink_to(victim)
    write_atomic(tmp_path / "state", b"new")
    assert victim.read_bytes() == b"safe"
    assert (tmp_path / "state").read_bytes() == b"new"
    assert not (tmp_path / "state").is_symlink()


@pytest.mark.parametrize("step", ["open", "write", "fchmod", "fsync", "replace"])
@pytest.mark.parametrize("error_number", [errno.ENOSPC, errno.EIO])
def test_failure_before_the_rename_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error_number: int
) -> None:
    target = tmp_path / "state"
    write_atomic(target, b"old")
    monkeypatch.setattr(os, step, failing(error_number))
    with pytest.raises(StorageError, match="old content stands") as caught:
        write_atomic(target, b"new")
    monkeypatch.undo()
    assert str(target) in str(caught.value)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_file_is_synced_before_the_rename_and_the_folder_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(fd: int) -> None:
        steps.append("fsync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync file")
        real_fsync(fd)

    def replace(src: Any, dst: Any) -> None:
        steps.append("rename")
        real_replace(src, dst)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_atomic(tmp_path / "state", b"new")
    assert steps == ["fsync file", "rename", "fsync folder"]


def test_failure_to_sync_the_folder_is_said_and_content_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "state"
    write_atomic(target, b"old")
    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="folder not synced"):
        write_atomic(target, b"new")
    assert target.read_bytes() in {b"old", b"new"}


def test_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="create the folder first"):
        write_atomic(tmp_path / "absent" / "state", b"new")
    with pytest.raises(StorageError, match="create the folder first"):
        fsync_folder(tmp_path / "absent")


def test_folder_at_the_path_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(StorageError):
        write_atomic(tmp_path / "state", b"new")
    assert (tmp_path / "state").is_dir()
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_makes_a_folder_and_what_is_missing_above_it_and_syncs_each_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("edge_agent.atomic.fsync_folder", lambda folder: synced.append(Path(folder)))
    make_folder(tmp_path / "a" / "b", mode=0o700)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert synced == [tmp_path, tmp_path / "a"]
    make_folder(str(tmp_path / "a" / "b"))
    assert len(synced) == 2, "what is there is left alone"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file: cannot be made"):
        make_folder(tmp_path / "file" / "folder")
