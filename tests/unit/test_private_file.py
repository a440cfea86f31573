"""Secrets in files: made once and whole, and used only while nobody else can read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent.errors import StorageError
from edge_agent.private_file import OF_A_CREDENTIAL, make_private, read_private


def read(path: Path, **more: bool) -> bytes | None:
    return read_private(path, 32, "make another", **more)


def test_one_is_made_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert read(path) is None
    assert make_private(path, b"first")
    assert not make_private(path, b"second")
    assert read(path) == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_of_several_that_make_it_at_once_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: make_private(path, b"%d" % number), range(8)))
    assert made.count(True) == 1
    assert read(path) == b"%d" % made.index(True)
    assert list(tmp_path.iterdir()) == [path]


def _file(data: bytes, mode: int) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(mode)

    return put


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (_file(b"x", 0o640), "others than its owner may use it; `chmod 600` it, or make another"),
        (_file(b"x", 0o604), "others than its owner"),
        (_file(b"x", 0o602), "others than its owner"),
        (_file(bytes(33), 0o600), "has 33 bytes, more than 32; make another"),
        (lambda path: path.symlink_to("elsewhere"), "symbolic link, which is not followed; make another"),
        (lambda path: path.mkdir(mode=0o700), "no regular file"),
        (lambda path: os.mkfifo(path, 0o600), "no regular file"),
    ],
    ids=["group", "others", "written by others", "large", "link", "folder", "fifo"],
)
def test_what_others_could_use_or_is_no_such_file_is_refused(tmp_path: Path, put: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "secret"
    put(path)
    with pytest.raises(StorageError, match=said) as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_a_link_is_followed_where_a_person_named_it(tmp_path: Path) -> None:
    make_private(tmp_path / "secret", b"x")
    (tmp_path / "link").symlink_to("secret")
    assert read(tmp_path / "link", follow_links=True) == b"x"
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(StorageError, match="others than its owner"):
        read(tmp_path / "link", follow_links=True)


def test_a_credential_may_show_a_group_that_reads_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for mode, is_read in ((0o440, True), (0o400, True), (0o444, False), (0o460, False)):
        path.unlink(missing_ok=True)
        _file(b"x", mode)(path)
        if is_read:
            assert read_private(path, 32, "", forbidden=OF_A_CREDENTIAL) == b"x"
            continue
        with pytest.raises(StorageError, match="others than its owner"):
            read_private(path, 32, "", forbidden=OF_A_CREDENTIAL)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be made: No such file or directory"):
        make_private(tmp_path / "none" / "secret", b"x")
