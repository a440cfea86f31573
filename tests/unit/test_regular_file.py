"""`edge_agent.regular_file`: what is opened, and what is refused without being waited for."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edge_agent.regular_file import NotRegularError, open_regular


def test_a_file_is_opened_and_a_link_to_it_where_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"what stands there")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with os.fdopen(open_regular(tmp_path / name), "rb") as file:
            assert file.read() == b"what stands there"
    os.close(open_regular(tmp_path / "file", follow_links=False))
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        open_regular(tmp_path / "link", follow_links=False)


def test_nothing_else_is_opened_or_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    for name in (str(tmp_path / "fifo"), str(tmp_path), "/dev/zero"):
        with pytest.raises(NotRegularError, match="no regular file"):
            open_regular(name)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    assert len(os.listdir("/proc/self/fd")) == before
