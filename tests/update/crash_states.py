"""The file operations of a piece of code, and every state in which a power cut could leave them on the disk.

The recorder stands in for functions of the `os` module while the code runs: each does what it is asked, and is noted. That takes
milliseconds and no privileges, and a test sees which operation it is about; what it cannot see, an operation of another kind, is
found by holding the model's last state against the disk (`Recorder.check`).

Two models of what a cut leaves:
* any subset: a file system that keeps only what was synced. Of the changes to the names in a folder since that folder was last
  synced any subset may have reached the disk, in their order; a rename from one folder to another is a change to each. Of a
  file's bytes since it was last synced none, half, zeros in their place, or all. That is more than a journalling file system
  does, so what holds here holds there.
* ordered: ext4 with data=ordered. Changes of names reach the disk in their order, and a sync of anything takes all before it
  along; a file's unsynced bytes as above.

Where there are more ways than `MOST_NAMES` for the names at one point, or than `MOST_CONTENTS` for the bytes of the files, as
many are drawn, always the same, with both extremes among them.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias
from unittest import mock

Disk: TypeAlias = dict[str, bytes]
"""A folder: the contents of files by relative path; a folder within is its path with a slash at its end, and no bytes."""

Model: TypeAlias = Literal["any subset", "ordered"]
MODELS: tuple[Model, ...] = ("any subset", "ordered")
MOST_NAMES = 24
MOST_CONTENTS = 6
SEED = 20_261_123

_ROOT = 0


class Change(NamedTuple):
    """A name in a folder means another file or folder, by number, or nothing any more."""

    folder: int
    name: str
    number: int | None


class Names(NamedTuple):
    """Names that change at once."""

    changes: tuple[Change, ...]


class New(NamedTuple):
    """A file, or a folder, comes into being."""

    number: int
    is_folder: bool


class Write(NamedTuple):
    number: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    number: int
    size: int


class Sync(NamedTuple):
    number: int


class Mark(NamedTuple):
    """The code under test reported something."""

    value: Any


Step: TypeAlias = Names | New | Write | Truncate | Sync | Mark


class State(NamedTuple):
    """What a cut left, and what had been reported before it; None for nothing."""

    disk: Disk
    reported: Any


class Recorder:
    """Notes what is done to the files below one folder while `recording` lasts."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.before = read(root)
        self.log: list[Step] = []
        self._names, files = _numbered(self.before)
        self._count = len(self._names) + len(files)
        self._open: dict[int, int] = {}
        self._os: dict[str, Any] = {}

    @contextlib.contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Record in this block, then see that nothing was missed."""
        ours = {
            "open": self._opened,
            "close": self._closed,
            "write": self._wrote,
            "pwrite": self._wrote_at,
            "fsync": self._synced,
            "ftruncate": self._truncated,
            "rename": self._renamed,
            "replace": self._renamed,
            "link": self._linked,
            "unlink": self._unlinked,
            "mkdir": self._made,
            "rmdir": self._unlinked_folder,
        }
        self._os = {name: getattr(os, name) for name in ours}
        with contextlib.ExitStack() as stack:
            for name, function in ours.items():
                stack.enter_context(mock.patch.object(os, name, function))
            yield self
        self.check()

    def report(self, value: Any) -> None:
        """Note that the code reported `value` at this point."""
        self.log.append(Mark(value))

    def check(self) -> None:
        """The model must end where the disk does, or something was done that was not recorded."""
        model = _Tree(self.before)
        for step in self.log:
            model.do(step)
        assert model.live() == read(self._root)

    def _place(self, path: Any) -> tuple[int, str] | None:
        """The folder's number and the name within; None for what is not below the root, or the root itself."""
        try:
            relative = Path(os.path.abspath(os.fspath(path))).relative_to(self._root)
        except (TypeError, ValueError):
            return None
        folder = _ROOT
        for name in relative.parts[:-1]:
            folder = self._names[folder][name]
        return (folder, relative.name) if relative.parts else None

    def _number(self, path: Any) -> int | None:
        place = self._place(path)
        if place is None:
            return _ROOT if isinstance(path, str | os.PathLike) and Path(os.fspath(path)) == self._root else None
        return self._names[place[0]].get(place[1])

    def _make(self, place: tuple[int, str], *, is_folder: bool) -> None:
        number, self._count = self._count, self._count + 1
        if is_folder:
            self._names[number] = {}
        self.log.append(New(number, is_folder))
        self._set(Change(*place, number))

    def _set(self, *changes: Change) -> None:
        for folder, name, number in changes:
            if number is None:
                del self._names[folder][name]
            else:
                self._names[folder][name] = number
        self.log.append(Names(changes))

    def _opened(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        ours = dir_fd is None
        place = self._place(path) if ours else None
        was_there = place is not None and os.path.lexists(path)
        fd: int = self._os["open"](path, flags, mode, dir_fd=dir_fd)
        if place is not None and not was_there:
            self._make(place, is_folder=False)
        number = self._number(path) if ours else None
        if number is not None:
            self._open[fd] = number
            if flags & os.O_TRUNC and was_there:
                self.log.append(Truncate(number, 0))
        return fd

    def _closed(self, fd: int) -> None:
        self._open.pop(fd, None)
        self._os["close"](fd)

    def _wrote(self, fd: int, data: Any) -> int:
        offset = os.lseek(fd, 0, os.SEEK_CUR) if fd in self._open else 0
        return self._noted(fd, offset, data, self._os["write"](fd, data))

    def _wrote_at(self, fd: int, data: Any, offset: int) -> int:
        return self._noted(fd, offset, data, self._os["pwrite"](fd, data, offset))

    def _noted(self, fd: int, offset: int, data: Any, count: int) -> int:
        if fd in self._open:
            self.log.append(Write(self._open[fd], offset, bytes(data[:count])))
        return count

    def _synced(self, fd: int) -> None:
        self._os["fsync"](fd)
        if fd in self._open:
            self.log.append(Sync(self._open[fd]))

    def _truncated(self, fd: int, size: int) -> None:
        self._os["ftruncate"](fd, size)
        if fd in self._open:
            self.log.append(Truncate(self._open[fd], size))

    def _renamed(self, source: Any, target: Any, **others: Any) -> None:
        here, there, number = self._place(source), self._place(target), self._number(source)
        self._os["rename"](source, target, **others)
        if here is not None and there is not None:
            self._set(Change(*here, None), Change(*there, number))

    def _linked(self, source: Any, target: Any, **others: Any) -> None:
        there, number = self._place(target), self._number(source)
        self._os["link"](source, target, **others)
        if there is not None:
            self._set(Change(*there, number))

    def _unlinked(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._gone("unlink", path, dir_fd)

    def _unlinked_folder(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._gone("rmdir", path, dir_fd)

    def _gone(self, how: str, path: Any, dir_fd: int | None) -> None:
        self._os[how](path, dir_fd=dir_fd)
        if dir_fd is None and (place := self._place(path)) is not None:
            self._set(Change(*place, None))

    def _made(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self._os["mkdir"](path, mode, dir_fd=dir_fd)
        if dir_fd is None and (place := self._place(path)) is not None:
            self._make(place, is_folder=True)


class _Tree:
    """A folder on a disk: what each name means, which bytes each file has, and what of it reached the disk."""

    def __init__(self, disk: Disk) -> None:
        self._names, self._bytes = _numbered(disk)
        self._kept = {folder: dict(names) for folder, names in self._names.items()}
        self._synced = dict(self._bytes)
        self._pending: list[Names] = []

    def do(self, step: Step, model: Model = "any subset") -> None:
        match step:
            case New(number, is_folder):
                if is_folder:
                    self._names[number], self._kept[number] = {}, {}
                else:
                    self._bytes[number] = self._synced[number] = b""
            case Names(changes):
                _apply(self._names, changes)
                self._pending += [step] if model == "ordered" else _by_folder(changes)
            case Write(number, offset, data):
                before = self._bytes[number].ljust(offset, b"\0")
                self._bytes[number] = before[:offset] + data + before[offset + len(data) :]
            case Truncate(number, size):
                self._bytes[number] = self._bytes[number][:size].ljust(size, b"\0")
            case Sync(number):
                self._sync(number, model)

    def _sync(self, number: int, model: Model) -> None:
        if number in self._bytes:
            self._synced[number] = self._bytes[number]
        taken = [names for names in self._pending if model == "ordered" or names.changes[0].folder == number]
        for names in taken:
            _apply(self._kept, names.changes)
        left = [names for names in self._pending if names not in taken]
        there = self._reachable(left)
        self._pending = [names for names in left if any(change.folder in there for change in names.changes)]

    def _reachable(self, pending: Sequence[Names]) -> set[int]:
        """The folders that may be there after a cut. What happened in others no longer matters."""
        inner: dict[int, set[int]] = {folder: set(names.values()) for folder, names in self._kept.items()}
        for folder, _, number in (change for names in pending for change in names.changes):
            inner[folder] |= {number} if number is not None else set()
        there, waiting = {_ROOT}, [_ROOT]
        while waiting:
            found = {number for number in inner[waiting.pop()] if number in self._names} - there
            there |= found
            waiting += found
        return there

    def live(self) -> Disk:
        return _disk(self._names, self._bytes)

    def states(self, model: Model, draw: random.Random) -> Iterator[Disk]:
        """What a cut now may leave."""
        for names in self._names_left(model, draw):
            files = sorted(set(_files(names)) & set(self._bytes))
            choices = [_contents(self._synced[number], self._bytes[number]) for number in files]
            for contents in _some(choices, MOST_CONTENTS, draw):
                yield _disk(names, dict(zip(files, contents, strict=True)))

    def _names_left(self, model: Model, draw: random.Random) -> Iterator[dict[int, dict[str, int]]]:
        masks: Iterator[Sequence[bool]]
        if model == "ordered":
            count = len(self._pending)
            masks = ([number < first for number in range(count)] for first in range(count + 1))
        else:
            masks = _some([(False, True)] * len(self._pending), MOST_NAMES, draw)
        for mask in masks:
            names = {folder: dict(kept) for folder, kept in self._kept.items()}
            for pending, reached in zip(self._pending, mask, strict=True):
                if reached:
                    _apply(names, pending.changes)
            yield names


def after_a_cut(recorder: Recorder, model: Model = "any subset") -> list[State]:
    """All different states that a cut at any point of what was recorded may leave, those that the model's limit draws."""
    tree, draw = _Tree(recorder.before), random.Random(SEED)
    found: dict[tuple[frozenset[tuple[str, bytes]], int], State] = {}
    reported: Any = None
    reports = 0
    for step in [None, *recorder.log]:
        if isinstance(step, Mark):
            reported, reports = step.value, reports + 1
        elif step is not None:
            tree.do(step, model)
        for disk in tree.states(model, draw):
            found.setdefault((frozenset(disk.items()), reports), State(disk, reported))
    return list(found.values())


def one_cut(recorder: Recorder, model: Model, draw: random.Random) -> State:
    """What one cut at a point that is drawn may leave."""
    tree, reported = _Tree(recorder.before), None
    for step in recorder.log[: draw.randrange(len(recorder.log) + 1)]:
        if isinstance(step, Mark):
            reported = step.value
        else:
            tree.do(step, model)
    return State(draw.choice(list(tree.states(model, draw))), reported)


def read(folder: Path) -> Disk:
    """What is in a folder now."""
    disk: Disk = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        disk.update({f"{name}/": b""} if path.is_dir() else {name: path.read_bytes()})
    return disk


def write(folder: Path, disk: Disk) -> None:
    """Make a folder that holds `disk`."""
    folder.mkdir()
    for name, data in sorted(disk.items()):
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(data)


def _numbered(disk: Disk) -> tuple[dict[int, dict[str, int]], dict[int, bytes]]:
    """The names in each folder and the bytes of each file, both by number; the outermost folder's is 0."""
    names: dict[int, dict[str, int]] = {_ROOT: {}}
    files: dict[int, bytes] = {}
    numbers = {".": _ROOT}
    for number, (path, data) in enumerate(sorted(disk.items()), start=1):
        place = Path(path)
        names[numbers[str(place.parent)]][place.name] = number
        if path.endswith("/"):
            numbers[str(place)], names[number] = number, {}
        else:
            files[number] = data
    return names, files


def _disk(names: dict[int, dict[str, int]], files: dict[int, bytes]) -> Disk:
    disk: Disk = {}

    def walk(folder: int, path: str) -> None:
        for name, number in names[folder].items():
            if number in names:
                disk[f"{path}{name}/"] = b""
                walk(number, f"{path}{name}/")
            else:
                disk[f"{path}{name}"] = files[number]

    walk(_ROOT, "")
    return disk


def _files(names: dict[int, dict[str, int]], folder: int = _ROOT) -> Iterator[int]:
    for number in names[folder].values():
        yield from _files(names, number) if number in names else (number,)


def _apply(names: dict[int, dict[str, int]], changes: Sequence[Change]) -> None:
    for folder, name, number in changes:
        if number is None:
            names[folder].pop(name, None)
        else:
            names[folder][name] = number


def _by_folder(changes: Sequence[Change]) -> list[Names]:
    return [Names(tuple(of_folder)) for _, of_folder in itertools.groupby(changes, key=lambda change: change.folder)]


def _contents(synced: bytes, whole: bytes) -> list[bytes]:
    """What may be left of a file's bytes."""
    if synced == whole:
        return [whole]
    zeros = whole[: len(synced)] if whole.startswith(synced) else b""
    return list(dict.fromkeys([synced, whole[: len(whole) // 2], zeros.ljust(len(whole), b"\0"), whole]))


def _some(choices: Sequence[Sequence[Any]], most: int, draw: random.Random) -> Iterator[Sequence[Any]]:
    """All combinations, or `most` of them."""
    if math.prod(len(each) for each in choices) <= most:
        yield from itertools.product(*choices)
        return
    yield [each[0] for each in choices]
    yield [each[-1] for each in choices]
    for _ in range(most - 2):
        yield [draw.choice(each) for each in choices]
