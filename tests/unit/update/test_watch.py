"""The folder's watch, on real folders: it wakes at changes, not at reading, and gives way where it cannot be had."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from watchdog.events import FileSystemEvent
from watchdog.observers.api import BaseObserver

from edge_agent.update import watch
from edge_agent.update.watch import FolderWatch
from tests.deadline import eventually


def test_a_file_that_comes_or_grows_wakes(tmp_path: Path) -> None:
    followed = FolderWatch()
    try:
        assert followed.follow(tmp_path)
        assert followed.follow(tmp_path)
        followed.take()
        (tmp_path / "a.tar").write_bytes(b"1")
        eventually(followed.take)
        os.rename(tmp_path / "a.tar", tmp_path / "b.tar")
        eventually(followed.take)
        with (tmp_path / "b.tar").open("ab") as file:
            file.write(b"2")
        eventually(followed.take)
    finally:
        followed.close()


def test_reading_does_not_wake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []

    class Notes(watch._Wakes):
        """Notes what wakes."""

        def on_any_event(self, event: FileSystemEvent) -> None:
            self._woken.clear()
            super().on_any_event(event)
            if self._woken.is_set():
                paths.append(os.fsdecode(event.src_path))

    (tmp_path / "a.tar").write_bytes(b"1")
    monkeypatch.setattr(watch, "_Wakes", Notes)
    followed = FolderWatch()
    try:
        assert followed.follow(tmp_path)
        assert (tmp_path / "a.tar").read_bytes() == b"1"
        assert os.listdir(tmp_path) == ["a.tar"]
        (tmp_path / "end.tar").write_bytes(b"")
        # The kernel tells things in their order.
        eventually(lambda: bool(paths))
        assert {Path(path).name for path in paths} <= {"end.tar"}
    finally:
        followed.close()


def test_a_folder_that_is_another_one_now_is_followed_anew(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    followed = FolderWatch()
    try:
        assert followed.follow(folder)
        folder.rename(tmp_path / "old")
        assert not followed.follow(folder)
        folder.mkdir()
        assert followed.follow(folder)
        followed.take()
        (folder / "a.tar").write_bytes(b"1")
        eventually(followed.take)
    finally:
        followed.close()


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    followed = FolderWatch()
    try:
        assert followed.follow(tmp_path / "link")
        (tmp_path / "real" / "a.tar").write_bytes(b"1")
        eventually(followed.take)
    finally:
        followed.close()


def test_its_threads_end_with_it(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    followed = FolderWatch()
    for _ in range(3):
        assert followed.follow(tmp_path)
        assert set(threading.enumerate()) - before
        followed.close()
        eventually(lambda: not set(threading.enumerate()) - before)


def test_where_the_kernel_gives_no_more_watches_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    before = set(threading.enumerate())
    monkeypatch.setattr(BaseObserver, "schedule", full)
    followed = FolderWatch()
    assert not followed.follow(tmp_path)
    assert not followed.follow(tmp_path)
    assert caplog.text.count("inotify watch limit reached") == 1
    eventually(lambda: not set(threading.enumerate()) - before)
    followed.close()
