"""The record of what a program did to one folder: it runs under strace, so the record is what the kernel was asked.

Rules: nothing that changes a file may be missed. A call that changes a file of the folder in a way that is not understood
here (a writable shared mapping, a copy inside the kernel, a link) is an UnknownCallError, with one exception: the index of
SQLite's log (`*-shm`) is mapped memory, is never synced and is made anew after a cut. What the program writes to its
standard output are marks; they stand in the same record, so that their place among the writes is known.

Threads run side by side: a write counts from its end on, a mark from its beginning, and a sync vouches for what had ended
when it began, from its own end on. Each is the side on which less is promised by the disk and more by the program.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

BINARY = shutil.which("strace")
ROOT = Path(__file__).parents[3]
FOLDER: Final = 0
"""The inode of the folder itself."""

_CALLS: Final = (
    "?open,openat,?openat2,?creat,close,?dup,?dup2,?dup3,write,pwrite64,writev,pwritev,?pwritev2,lseek,?ftruncate,?truncate,"
    "fallocate,fsync,fdatasync,?sync_file_range,?rename,?renameat,renameat2,?unlink,unlinkat,?link,linkat,?symlink,symlinkat,"
    "?sendfile,copy_file_range,mmap"
)
"""With a question mark what some architectures do not have."""
_LINE = re.compile(r"(\d+) +(?:(\w+)\((.*)|<\.\.\. (\w+) resumed>(.*))", re.DOTALL)
_RESULT = re.compile(r"\) += (-?\d+)[^\"]*$")
_UNFINISHED: Final = "<unfinished ...>"
_STDOUT: Final = 1


class Mark(Struct, frozen=True):
    """A line that the program wrote to its standard output."""

    text: str


class Write(Struct, frozen=True):
    """Bytes at an offset of a file."""

    inode: int
    offset: int
    data: bytes


class Resize(Struct, frozen=True):
    """A file cut off, or extended with zeros."""

    inode: int
    size: int


class SyncBegun(Struct, frozen=True):
    """fsync or fdatasync of a file or of the folder was called."""

    number: int
    inode: int


class SyncEnded(Struct, frozen=True):
    """It returned, without an error."""

    number: int
    inode: int


class Create(Struct, frozen=True):
    """A new file under a name."""

    name: str
    inode: int


class Rename(Struct, frozen=True):
    """A name moved, over another file if there is one."""

    old: str
    new: str
    inode: int


class Unlink(Struct, frozen=True):
    """A name removed."""

    name: str


Event: TypeAlias = Mark | Write | Resize | SyncBegun | SyncEnded | Create | Rename | Unlink


class Trace(Struct, frozen=True):
    """All that happened to a folder, in order, and what stood in it before: name to inode and content, taken as synced."""

    before: Mapping[str, tuple[int, bytes]]
    events: tuple[Event, ...]

    def without_syncs(self, name: str) -> Trace:
        """The same with a disk that only says that it synced the file that was created under this name."""
        lying = {event.inode for event in self.events if isinstance(event, Create) and event.name == name}
        kept = tuple(e for e in self.events if not (isinstance(e, SyncBegun | SyncEnded) and e.inode in lying))
        return Trace(self.before, kept)

    def marks(self) -> list[str]:
        """The program's marks in order."""
        return [event.text for event in self.events if isinstance(event, Mark)]


class UnknownCallError(Exception):
    """The program changed a file in a way that the simulation cannot follow."""


def record(command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None, timeout_s: float = 100.0) -> Trace:
    """Run a program to its end and return what it did to `folder`, which has no folders in it.

    Raises AssertionError with what the program said if it failed, UnknownCallError.
    """
    assert BINARY is not None, "strace is not installed: apt-get install strace"
    folder = folder.resolve()
    before = {entry.name: entry.read_bytes() for entry in sorted(folder.iterdir())}
    with tempfile.NamedTemporaryFile("r", encoding="ascii", prefix="edge-agent-strace-") as log:
        # Every string whole and in hexadecimal; other calls than these do not stop the program.
        strace = (BINARY, "-f", "--seccomp-bpf", "-xx", "-s", "16777216", "-e", f"trace={_CALLS}", "-o", log.name)
        done = subprocess.run(
            [*strace, *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stderr.decode(errors='replace')}"
        return read(log, str(folder), before)


def read(lines: Iterable[str], folder: str, before: Mapping[str, bytes]) -> Trace:
    """The trace in the output of strace about one folder. Raises UnknownCallError."""
    reading = _Reading(folder, before)
    begun: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(lines):
        match = _LINE.match(line.rstrip("\n"))
        if match is None:
            continue
        pid, call, rest, resumed, tail = match.groups()
        if call is not None:
            unfinished = rest.endswith(_UNFINISHED)
            arguments = rest.removesuffix(_UNFINISHED)
            reading.begin(call, arguments, number)
            if unfinished:
                begun[pid] = (call, arguments, number)
            else:
                reading.end(call, arguments, number)
        elif resumed is not None and pid in begun:
            call, arguments, number = begun.pop(pid)
            reading.end(call, arguments + tail, number)
    return Trace(reading.before, tuple(reading.events))


class _Open(Struct):
    """An open file."""

    inode: int
    name: str
    append: bool
    offset: int = 0


class _Reading:
    """What names and descriptors stand for at the line that is read."""

    def __init__(self, folder: str, before: Mapping[str, bytes]) -> None:
        self._folder = folder
        self._inodes = itertools.count(FOLDER + 1)
        self.before = {name: (next(self._inodes), content) for name, content in before.items()}
        self.events: list[Event] = []
        self._names = {name: inode for name, (inode, _) in self.before.items()}
        self._sizes = {inode: len(content) for inode, content in self.before.values()}
        self._open: dict[int, _Open] = {}
        self._calls: dict[str, Callable[[list[str], int], None]] = {
            **dict.fromkeys(("open", "openat", "openat2", "creat"), self._opened),
            "write": self._written,
            "pwrite64": self._written_at,
            "lseek": self._sought,
            "ftruncate": self._resized,
            "fallocate": self._allocated,
            **dict.fromkeys(("rename", "renameat", "renameat2"), self._renamed),
            **dict.fromkeys(("unlink", "unlinkat"), self._unlinked),
            **dict.fromkeys(("link", "linkat", "symlink", "symlinkat", "truncate"), self._unknown_by_name),
            "mmap": self._mapped,
        }

    def begin(self, call: str, arguments: str, number: int) -> None:
        """A call begins: what counts from here on."""
        if call not in {"write", "fsync", "fdatasync", "close"}:
            return
        words = _words(arguments)
        fd = int(words[0].partition(")")[0])
        if call == "write":
            if fd == _STDOUT:
                self.events += [Mark(line) for line in _bytes(words[1]).decode().splitlines()]
        elif fd in self._open:
            if call == "close":
                del self._open[fd]
            else:
                self.events.append(SyncBegun(number, self._open[fd].inode))

    def end(self, call: str, text: str, number: int) -> None:
        """A call ended with the result that stands behind its arguments, or the process ended in it."""
        match = _RESULT.search(text, max(0, len(text) - 200))
        if match is None or (result := int(match[1])) < 0:
            return
        words = _words(text[: match.start()])
        if call in {"fsync", "fdatasync"}:
            if (file := self._open.get(int(words[0]))) is not None:
                self.events.append(SyncEnded(number, file.inode))
        elif call in self._calls:
            self._calls[call](words, result)
        elif call != "close":
            self._unknown_by_descriptor(call, words)

    def _name(self, text: str) -> str | None:
        """The name in the folder that a quoted path stands for; empty for the folder itself, None for others."""
        path = _bytes(text).decode(errors="surrogateescape").rstrip("/")
        if path == self._folder:
            return ""
        folder, _, name = path.rpartition("/")
        return name if folder == self._folder else None

    def _opened(self, words: list[str], result: int) -> None:
        quoted = next(place for place, word in enumerate(words) if word.startswith('"'))
        name = self._name(words[quoted])
        self._open.pop(result, None)
        if name is None:
            return
        flags = words[quoted + 1]
        if "O_TMPFILE" in flags or "{" in flags:
            raise UnknownCallError(f"open of {name} with {flags}")
        if not name:
            self._open[result] = _Open(FOLDER, "", False)
            return
        if name not in self._names:
            inode = next(self._inodes)
            self._names[name], self._sizes[inode] = inode, 0
            self.events.append(Create(name, inode))
        elif "O_TRUNC" in flags:
            self._resize(self._names[name], 0)
        self._open[result] = _Open(self._names[name], name, "O_APPEND" in flags)

    def _written(self, words: list[str], result: int) -> None:
        file = self._open.get(int(words[0]))
        if file is not None:
            offset = self._sizes[file.inode] if file.append else file.offset
            self._write(file, offset, _bytes(words[1])[:result])
            file.offset = offset + result

    def _written_at(self, words: list[str], result: int) -> None:
        file = self._open.get(int(words[0]))
        if file is not None:
            self._write(file, int(words[3]), _bytes(words[1])[:result])

    def _write(self, file: _Open, offset: int, data: bytes) -> None:
        self._sizes[file.inode] = max(self._sizes[file.inode], offset + len(data))
        self.events.append(Write(file.inode, offset, data))

    def _sought(self, words: list[str], result: int) -> None:
        if (file := self._open.get(int(words[0]))) is not None:
            file.offset = result

    def _resized(self, words: list[str], result: int) -> None:
        if (file := self._open.get(int(words[0]))) is not None:
            self._resize(file.inode, int(words[1]))

    def _allocated(self, words: list[str], result: int) -> None:
        if (file := self._open.get(int(words[0]))) is None:
            return
        if words[1] != "0":
            raise UnknownCallError(f"fallocate of {file.name} with mode {words[1]}")
        self._resize(file.inode, max(self._sizes[file.inode], int(words[2]) + int(words[3])))

    def _resize(self, inode: int, size: int) -> None:
        self._sizes[inode] = size
        self.events.append(Resize(inode, size))

    def _renamed(self, words: list[str], result: int) -> None:
        old, new = (self._name(word) for word in words if word.startswith('"'))
        if old is None and new is None:
            return
        if not old or not new or any("RENAME_EXCHANGE" in word for word in words):
            raise UnknownCallError(f"rename into or out of the folder, or an exchange: {old} to {new}")
        self._names[new] = self._names.pop(old)
        self.events.append(Rename(old, new, self._names[new]))

    def _unlinked(self, words: list[str], result: int) -> None:
        name = self._name(next(word for word in words if word.startswith('"')))
        if name:
            del self._names[name]
            self.events.append(Unlink(name))

    def _mapped(self, words: list[str], result: int) -> None:
        file = self._open.get(int(words[4]))
        writes = "PROT_WRITE" in words[2] and "MAP_SHARED" in words[3]
        if file is not None and writes and not file.name.endswith("-shm"):
            raise UnknownCallError(f"{file.name} is mapped for writing: what is written there is not seen")

    def _unknown_by_name(self, words: list[str], result: int) -> None:
        if any(self._name(word) is not None for word in words if word.startswith('"')):
            raise UnknownCallError(f"a link, or a size changed by name: {words}")

    def _unknown_by_descriptor(self, call: str, words: list[str]) -> None:
        if any(word.isdigit() and int(word) in self._open for word in words[:3]):
            raise UnknownCallError(f"{call} of a file of the folder")


def _words(arguments: str) -> list[str]:
    """The arguments of a call. Quoted ones are all hexadecimal, so that no comma stands in them."""
    return [word.strip() for word in arguments.split(",")]


def _bytes(quoted: str) -> bytes:
    """What a quoted argument stands for."""
    if not quoted.endswith('"'):
        raise UnknownCallError(f"an argument that is cut off: {quoted[-40:]}")
    return bytes.fromhex(quoted.strip('"').replace("\\x", ""))
