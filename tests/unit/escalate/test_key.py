"""The secret of the pseudonyms: made once, whole or not at all, and used only while nobody else can read it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent.errors import StorageError
from edge_agent.escalate.key import KEY_BYTES, KEY_NAME, egress_key, existing_egress_key


def test_it_is_made_at_first_use_and_stays(tmp_path: Path) -> None:
    key = egress_key(tmp_path)
    assert len(key) == KEY_BYTES
    assert egress_key(tmp_path) == key == (tmp_path / KEY_NAME).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [KEY_NAME]


def test_who_only_looks_makes_none(tmp_path: Path) -> None:
    assert existing_egress_key(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    made = egress_key(tmp_path)
    assert existing_egress_key(tmp_path) == made


def test_two_devices_have_two(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert egress_key(tmp_path / "a") != egress_key(tmp_path / "b")


def test_nobody_else_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        egress_key(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / KEY_NAME).stat().st_mode & 0o777 == 0o600


def test_of_several_that_make_it_at_once_one_wins(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: egress_key(tmp_path), range(8)))
    assert keys == {(tmp_path / KEY_NAME).read_bytes()}
    assert [path.name for path in tmp_path.iterdir()] == [KEY_NAME]


def _file(data: bytes, mode: int = 0o600) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(mode)

    return put


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    _file(bytes(KEY_BYTES))(target)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (_file(b""), "has 0 bytes, not 32"),
        (_file(bytes(31)), "has 31 bytes"),
        (_file(bytes(33)), "has 33 bytes"),
        (_file(bytes(KEY_BYTES), 0o640), "chmod 600"),
        (_file(bytes(KEY_BYTES), 0o604), "chmod 600"),
        (_link, "symbolic link"),
        (lambda path: path.symlink_to("nowhere"), "symbolic link"),
        (lambda path: path.mkdir(mode=0o700), "no regular file"),
        (lambda path: os.mkfifo(path, 0o600), "no regular file"),
    ],
    ids=["empty", "short", "long", "group", "others", "link", "dead-link", "folder", "fifo"],
)
def test_what_is_not_a_secret_file_is_refused_and_left_alone(tmp_path: Path, put: Callable[[Path], None], said: str) -> None:
    path = tmp_path / KEY_NAME
    put(path)
    before = path.lstat()
    with pytest.raises(StorageError, match=said) as caught:
        egress_key(tmp_path)
    assert str(path) in str(caught.value)
    assert path.lstat().st_ino == before.st_ino


def test_a_state_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be made"):
        egress_key(tmp_path / "none")


def test_it_is_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        key = egress_key(tmp_path)
    assert key.hex() not in caplog.text
    (tmp_path / KEY_NAME).write_bytes(key + b"x")
    with pytest.raises(StorageError) as caught:
        egress_key(tmp_path)
    assert key.hex() not in str(caught.value)
    assert repr(key) not in str(caught.value)
