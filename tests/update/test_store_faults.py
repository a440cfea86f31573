"""A disk that is full, fails or turns read-only at any operation: that is said, nothing is lost, the next attempt succeeds."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from edge_agent.errors import StorageError
from edge_agent.update.record import Record
from tests.update.small_device import SmallDevice
from tests.update.small_releases import adapted, release

FIRST, SECOND = release(1), release(2)
BASE, ADAPTER = b"base" * 1_000, b"adapter"
OFFERED = adapted(3, BASE, ADAPTER, BASE + ADAPTER)

TAKES_SPACE = ("open", "write", "pwrite", "fsync", "rename", "replace", "link", "mkdir")
CHANGES = (*TAKES_SPACE, "ftruncate", "unlink", "rmdir", "chmod", "fchmod")


def merge(base: Path, adapter: Path, out: Path) -> None:
    fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.write(fd, base.read_bytes() + adapter.read_bytes())
    finally:
        os.close(fd)


class Fault:
    """From its `first` change of the disk on, or there alone, the operating system refuses."""

    def __init__(self, number: int, first: int, names: tuple[str, ...], *, once: bool) -> None:
        self._number = number
        self._first = first
        self._names = names
        self._once = once
        self.changes = 0

    @contextlib.contextmanager
    def injected(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name in self._names:
                stack.enter_context(mock.patch.object(os, name, self._faulty(name, getattr(os, name))))
            yield

    def _faulty(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(*arguments: Any, **others: Any) -> Any:
            if name != "open" or arguments[1] & os.O_CREAT:
                self.changes += 1
                if self.changes == self._first or (self.changes > self._first and not self._once):
                    raise OSError(self._number, os.strerror(self._number))
            return function(*arguments, **others)

        return faulty


@pytest.mark.parametrize(
    ("number", "names", "once"),
    [
        (errno.ENOSPC, TAKES_SPACE, False),
        (errno.EIO, CHANGES, True),
        (errno.EROFS, CHANGES, False),
    ],
    ids=["full", "fails once", "read-only"],
)
def test_a_disk_that_refuses_at_every_write_loses_nothing(memory: Path, number: int, names: tuple[str, ...], once: bool) -> None:
    before = memory / "before"
    before.mkdir()
    for each in (FIRST, SECOND):
        SmallDevice(before, merge).take(each)
    refused = 0
    for first in range(1, changes_of(memory, before, names) + 1):
        folder = memory / "update"
        shutil.copytree(before, folder)
        saved: list[Record] = []
        try:
            with Fault(number, first, names, once=once).injected():
                SmallDevice(folder, merge, saved.append).take(OFFERED)
        except StorageError:
            refused += 1
        check(SmallDevice(folder, merge), saved)
        assert SmallDevice(folder, merge).take(OFFERED).active == OFFERED.held
        assert SmallDevice(folder, merge).store.verify(OFFERED.sha256) == []
        assert os.listdir(folder / "parts") == []
        shutil.rmtree(folder)
    assert refused > 50


def changes_of(memory: Path, before: Path, names: tuple[str, ...]) -> int:
    """How many changes a release takes where nothing fails."""
    shutil.copytree(before, memory / "counted")
    fault = Fault(0, 0, names, once=True)
    with fault.injected():
        SmallDevice(memory / "counted", merge).take(OFFERED)
    return fault.changes


def check(device: SmallDevice, saved: list[Record]) -> None:
    """What was saved before the disk refused is there, or what was being saved; and what is active is whole."""
    record = device.record
    if saved:
        assert record == saved[-1] or record.generation == saved[-1].generation + 1
    for held in (record.active, record.previous):
        assert held is not None
        assert device.store.verify(held.manifest_sha256) == []
        assert device.store.release_folder(held.manifest_sha256) is not None
