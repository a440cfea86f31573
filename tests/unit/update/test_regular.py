"""A file in pieces: only a regular one, whatever becomes of it while it is read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edge_agent.errors import LinkError
from edge_agent.update.exchange import Meter
from edge_agent.update.regular import Regular


def test_pieces_come_from_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    meter = Meter(100)
    file = Regular(path, meter)
    assert (file.read(2, 3), file.read(8, 5), file.size_bytes) == (b"234", b"89", 10)
    assert meter.received_bytes == 5
    with pytest.raises(LinkError, match="ended at 10 or before"):
        file.read(10, 1)
    file.close()


def test_what_is_open_is_read_on_when_its_name_is_gone_and_ends_when_it_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = Regular(path, Meter(100))
    os.truncate(path, 4)
    path.unlink()
    assert file.read(0, 10) == b"0123"
    with pytest.raises(LinkError):
        file.read(4, 1)
    file.close()


def test_what_is_no_regular_file_is_not_opened_or_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(os, "open", lambda path, *_: opened.append(path))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "fifo", tmp_path / "link", tmp_path / "folder", tmp_path / "nul\0", Path("/dev/zero")):
        with pytest.raises(LinkError):
            Regular(path, Meter(100))
    assert opened == []
    for path in (tmp_path / "none", tmp_path / "none/file"):
        with pytest.raises(FileNotFoundError):
            Regular(path, Meter(100))


def test_a_medium_that_fails_is_said_and_a_stick_that_comes_back_is_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "file").write_bytes(b"0123456789")
    file = Regular(tmp_path / "file", Meter(100))
    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(LinkError, match="file: Input/output error"):
        file.read(0, 5)
    monkeypatch.undo()
    assert file.read(0, 5) == b"01234"
    file.close()


def test_more_than_may_be_read_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    file = Regular(tmp_path / "file", Meter(99))
    with pytest.raises(LinkError, match="more came"):
        file.read(0, 100)
    file.close()
