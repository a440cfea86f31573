"""The file operations of a piece of code, and every state in which a power cut could leave them on the disk.

The recorder stands in for the `os` module of the code: it does what it is asked, and notes it. The states are those of a
file system that keeps only what was synced: of the names that a folder gained and lost since it was last synced any subset may
have reached the disk, in their order; of a file's bytes since it was last synced none, half or all. That is more than a
journalling file system does, so what holds here holds there.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Disk = dict[str, bytes]
"""A folder: names and contents."""


class Recorder:
    """An `os` module that notes what is done to the files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, str] = {}
        self.log: list[tuple[str, Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        fd = os.open(path, flags, mode)
        self._open[fd] = "" if Path(path) == self._folder else Path(path).name
        if flags & os.O_CREAT:
            self.log.append(("create", Path(path).name, None))
        return fd

    def write(self, fd: int, data: Any) -> int:
        count = os.write(fd, data)
        self.log.append(("write", self._open[fd], bytes(data[:count])))
        return count

    def fsync(self, fd: int) -> None:
        os.fsync(fd)
        self.log.append(("sync", self._open[fd], None))

    def replace(self, source: Any, target: Any) -> None:
        os.replace(source, target)
        self.log.append(("rename", Path(source).name, Path(target).name))


class _Model:
    """A folder on a disk: which file each name means, which bytes each file has, and what of it is synced."""

    def __init__(self, disk: Disk) -> None:
        self.bytes = dict(enumerate(disk.values()))
        self.synced = dict(self.bytes)
        self.names = {name: number for number, name in enumerate(disk)}
        self.kept = dict(self.names)
        self.pending: list[tuple[str, str, Any]] = []

    def do(self, kind: str, name: str, other: Any) -> None:
        if kind == "create":
            number = len(self.bytes)
            self.bytes[number] = self.synced[number] = b""
            self.names[name] = number
            self.pending.append(("create", name, number))
        elif kind == "write":
            self.bytes[self.names[name]] += other
        elif kind == "rename":
            self.names[other] = self.names.pop(name)
            self.pending.append(("rename", name, other))
        elif name:
            self.synced[self.names[name]] = self.bytes[self.names[name]]
        else:
            self.kept, self.pending = dict(self.names), []

    def states(self) -> Iterator[Disk]:
        for count in range(len(self.pending) + 1):
            for chosen in itertools.combinations(self.pending, count):
                names = dict(self.kept)
                for kind, name, other in chosen:
                    if kind == "create":
                        names[name] = other
                    elif name in names:
                        names[other] = names.pop(name)
                yield from self._with_bytes(names)

    def _with_bytes(self, names: dict[str, int]) -> Iterator[Disk]:
        choices = []
        for number in names.values():
            synced, whole = self.synced[number], self.bytes[number]
            choices.append([whole] if synced == whole else [synced, whole[: len(whole) // 2], whole])
        for contents in itertools.product(*choices):
            yield dict(zip(names, contents, strict=True))


def after_a_cut(before: Disk, log: list[tuple[str, Any, Any]]) -> list[Disk]:
    """All different states that a cut at any point of `log` may leave of a folder that held `before`."""
    model = _Model(before)
    found: dict[tuple[tuple[str, bytes], ...], Disk] = {}
    for step in [None, *log]:
        if step is not None:
            model.do(*step)
        for disk in model.states():
            found.setdefault(tuple(sorted(disk.items())), disk)
    return list(found.values())


def read(folder: Path) -> Disk:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write(folder: Path, disk: Disk) -> None:
    folder.mkdir()
    for name, data in disk.items():
        (folder / name).write_bytes(data)
