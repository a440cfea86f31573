"""Only regular files are read and written; whatever else stands in the way is neither followed nor waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.errors import StorageError
from edge_agent.update.state_files import open_regular, read_regular, remove, size_of


def others(folder: Path) -> list[Path]:
    """Everything that is no regular file."""
    (folder / "outside").write_bytes(b"outside")
    os.mkfifo(folder / "fifo")
    os.symlink(folder / "outside", folder / "link")
    os.symlink(folder / "nowhere", folder / "dangling")
    (folder / "folder").mkdir()
    return [folder / name for name in ("fifo", "link", "dangling", "folder")]


def test_what_is_no_regular_file_is_not_opened_and_has_no_size(tmp_path: Path) -> None:
    for path in others(tmp_path):
        assert open_regular(path) is None, path
        assert open_regular(path, os.O_RDWR) is None, path
        assert size_of(path) is None, path
        assert read_regular(path, 100) == b"", path
    assert open_regular(Path("/dev/zero")) is None


def test_a_regular_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert read_regular(tmp_path / "x", 10) == b"0123456789"
    assert read_regular(tmp_path / "x", 9) == b""
    assert size_of(tmp_path / "x") == 10


def test_what_is_not_there_is_told_from_what_cannot_be_used(tmp_path: Path) -> None:
    assert read_regular(tmp_path / "none", 10) is None
    assert size_of(tmp_path / "none") is None
    assert size_of(tmp_path / "none" / "deeper") is None
    assert open_regular(tmp_path / "none") is None


def test_a_disk_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"1")

    def failing(*_: object, **__: object) -> int:
        raise OSError(5, "Input/output error")

    for name, do in (
        ("open", lambda: open_regular(tmp_path / "x")),
        ("read", lambda: read_regular(tmp_path / "x", 10)),
        ("lstat", lambda: size_of(tmp_path / "x")),
        ("unlink", lambda: remove(tmp_path / "x")),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, failing)
            with pytest.raises(StorageError, match="Input/output error"):
                do()


def test_removing_follows_no_link_and_frees_bytes_with_the_last_name(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_bytes(b"kept")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_bytes(b"12345")
    (tree / "a" / "twice").write_bytes(b"123")
    os.link(tree / "a" / "twice", tree / "twice")
    os.link(tree / "a" / "b" / "file", tmp_path / "elsewhere")
    os.symlink(tmp_path / "outside", tree / "link")
    os.mkfifo(tree / "fifo")
    assert remove(tree) == 3
    assert not tree.exists()
    assert (tmp_path / "outside" / "kept").read_bytes() == b"kept"
    assert remove(tmp_path / "elsewhere") == 5
    assert remove(tmp_path / "elsewhere") == 0
