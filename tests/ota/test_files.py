"""Files that get their name when they are whole: what is not whole, or not writable, leaves what stood before."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from edge_ota.files import MAX_SMALL_BYTES, Folder, is_whole, put, whole
from edge_ota.signing import OperatorError
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import StorageError

DATA = b"some bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()


def test_a_file_is_written_under_its_name_for_anyone_to_read(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        put(tmp_path / "a/b", iter([DATA[:4], DATA[4:]]), len(DATA), DIGEST)
    finally:
        os.umask(before)
    assert (tmp_path / "a/b").read_bytes() == DATA
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("parts", [[], [DATA[:-1]], [DATA, b"more"], [DATA[:-1] + b"?"]])
def test_other_bytes_do_not_get_the_name(tmp_path: Path, parts: list[bytes]) -> None:
    with pytest.raises(OperatorError, match="changed or damaged"):
        put(tmp_path / "a", iter(parts), len(DATA), DIGEST)
    assert not list(tmp_path.iterdir())


def test_what_stands_whole_is_not_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)

    def asked() -> Iterator[bytes]:
        pytest.fail("it stands already")
        yield b""

    put(tmp_path / "a", asked(), len(DATA), DIGEST)
    (tmp_path / "a").write_bytes(DATA + b"rotten")
    put(tmp_path / "a", iter([DATA]), len(DATA), DIGEST)
    assert (tmp_path / "a").read_bytes() == DATA


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_refuses_leaves_what_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, why: int) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise OSError(why, os.strerror(why))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with pytest.raises(StorageError, match=os.strerror(why)), whole(tmp_path / "a") as file:
            file.write(DATA)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError), whole(tmp_path / "absent/a") as file:
        file.write(DATA)


def test_what_a_killed_task_left_is_written_over_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").symlink_to(tmp_path / "victim")
    (tmp_path / "a").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_bytes(b"untouched")
    with whole(tmp_path / "a") as file:
        file.write(DATA)
    assert (tmp_path / "victim").read_bytes() == b"untouched"
    assert not (tmp_path / "a").is_symlink()
    assert not (tmp_path / ".a.tmp").exists()


def test_an_error_of_the_writer_leaves_what_stood(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def write() -> None:
        with whole(tmp_path / "a") as file:
            file.write(DATA)
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_small_files_are_small(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(MAX_SMALL_BYTES))
    assert Folder(tmp_path).read("a") == bytes(MAX_SMALL_BYTES)
    (tmp_path / "a").write_bytes(bytes(MAX_SMALL_BYTES + 1))
    with pytest.raises(OperatorError, match="a device would not take it"):
        Folder(tmp_path).read("a")
    assert Folder(tmp_path).read("absent") is None
    assert Folder(tmp_path).read("a/below") is None
    with pytest.raises(OperatorError, match="cannot be read"):
        Folder(tmp_path.parent).read(tmp_path.name)


@given(parts=st.lists(st.binary(max_size=20)), other=st.binary(max_size=20))
def test_parts_are_whole_however_they_are_cut(parts: list[bytes], other: bytes) -> None:
    data = b"".join(parts)
    assert is_whole(parts, len(data), hashlib.sha256(data).hexdigest())
    assert is_whole([other], len(data), hashlib.sha256(data).hexdigest()) == (other == data)
