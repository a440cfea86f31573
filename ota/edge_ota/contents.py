"""What a component may not be: a format whose loading runs code. Judged by content first, and by name.

A pickle runs what it names when it is loaded; PyTorch's files are pickles, bare or in a zip archive; joblib's are pickles, bare
or packed; NumPy's hold pickles where they hold objects; HDF5 holds Keras layers made of code. The files of the engines here
(CTranslate2 `model.bin`, TFLite), JSON and text hold none of these.

How a pickle is told from bytes that only look like one: its opcodes are followed, with what they do to the stack, from where it
begins to its STOP (`pickletools`, which runs nothing).
* At the first byte: it is one if it opens as protocol 2 or later does; or if it runs to a legal STOP that is the file's end, or
  that comes earlier and something was imported and called on the way.
* Further in (a header or rubbish in front): it is one if it opens as protocol 2 or later does and imports something or runs to a
  legal STOP at the end of a frame or of the file; or if it imports something, calls it and runs to a legal STOP.
What merely holds data, of protocol 0 or 1, behind something else, is not told from text; it could not run anything.

Rules: reads only, in parts; what is in JSON, whole, is JSON.
"""

from __future__ import annotations

import io
import json
import math
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from edge_agent.errors import ReleaseError

_REFUSED_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npz", ".npy", ".h5", ".hdf5", ".keras")
_PACKED = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"(\xb5/\xfd", b"\x04\x22\x4d\x18"),
    *(b"\x5d\x00\x00", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x89HDF\r\n\x1a\n"),
)
"""How zip, gzip, bzip2, xz, 7z, zstd, lz4, lzma, zlib and HDF5 begin."""
_TAR_MAGIC = (257, b"ustar")
_MAX_JSON_BYTES = 64 << 20
_JSON_BEGINS = tuple(b"%c" % each for each in b'{["-0123456789tfn')
_WINDOW_BYTES = 1 << 20
_OVERLAP_BYTES = 1 << 10
_MAX_LINE_BYTES = 1 << 16
_MAX_ARGUMENT_BYTES = 4 << 20
_NAME = rb"[A-Za-z_][A-Za-z0-9_.]{0,127}"
_OPENS = re.compile(rb"\x80[\x02-\x05]")
_IMPORTS = re.compile(rb"(?=[ci]" + _NAME + rb"\n" + _NAME + rb"\n)")
_BEFORE_BYTES = 256
"""So far before what it imports a pickle of protocol 0 or 1 is looked for: its marks and arguments stand there."""
_MAX_IMPORTS = 8
"""So many one after the other, and nothing called, are lines of words: `c` at the beginning of a line reads as an import."""
_STARTS = frozenset(b"(])}cNIFLSTUVKMJXG")
"""Opcodes with which a pickle of protocol 0 or 1 can begin."""
_IMPORTING = frozenset({"GLOBAL", "STACK_GLOBAL", "INST"})
_CALLING = frozenset({"REDUCE", "BUILD", "OBJ", "INST", "NEWOBJ", "NEWOBJ_EX"})
_ERRORS = (ValueError, IndexError, KeyError, OverflowError, EOFError, UnicodeError, MemoryError)


def refuse_contents(name: str, file: BinaryIO) -> None:
    """Raises ReleaseError if the component `name` is or may be a pickle or an archive. `file` is read from its start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strings that are no strings: bytes are tried as opcodes here
        why = _why(name, file)
    if why:
        raise ReleaseError(f"{name}: {why}: only formats that cannot run code are released")


def _why(name: str, file: BinaryIO) -> str:
    if PurePosixPath(name).suffix.lower() in _REFUSED_SUFFIXES:
        return "named as a pickle, an archive of arrays or a PyTorch or Keras file"
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(512)
    at, magic = _TAR_MAGIC
    if head.startswith(_PACKED) or head[at : at + len(magic)] == magic:
        return "a packed archive, as PyTorch's and Keras's files are"
    if _OPENS.match(head):
        return "begins as a pickle"
    if size_bytes <= _MAX_JSON_BYTES and head.lstrip()[:1] in _JSON_BEGINS and _is_json(file):
        return ""
    walk = _walk(file, 0, size_bytes)
    if walk.stopped_at and (walk.stopped_at == size_bytes or (walk.imports and walk.calls)):
        return "a pickle"
    if zipfile.is_zipfile(file):
        return "a zip archive behind something else, as PyTorch's files may be"
    return "holds a pickle" if any(_is_inner(file, start, size_bytes) for start in _suspects(file, size_bytes)) else ""


def _is_json(file: BinaryIO) -> bool:
    file.seek(0)
    try:
        json.loads(file.read())
    except (ValueError, RecursionError):
        return False
    return True


@dataclass(frozen=True)
class _Walk:
    """What following opcodes found."""

    stopped_at: int = 0
    """The offset behind a legal STOP; 0 where there was none."""
    imports: bool = False
    calls: bool = False
    framed: bool = False
    """Whether its last frame ended with it."""


def _is_inner(file: BinaryIO, start: int, size_bytes: int) -> bool:
    """Whether a pickle begins at `start`, which is not the first byte."""
    file.seek(start)
    opened = _OPENS.match(file.read(2)) is not None
    walk = _walk(file, start, size_bytes, math.inf if opened else _MAX_IMPORTS)
    if opened:
        return walk.imports or (walk.stopped_at > 0 and (walk.framed or walk.stopped_at == size_bytes))
    return walk.stopped_at > 0 and walk.imports and walk.calls


def _suspects(file: BinaryIO, size_bytes: int) -> Iterator[int]:
    """Where a pickle could begin behind the first byte."""
    for step in range(0, size_bytes, _WINDOW_BYTES):
        base = max(0, step - _BEFORE_BYTES)
        file.seek(base)
        window = file.read(_WINDOW_BYTES + _OVERLAP_BYTES)
        yield from (base + found.start() for found in _OPENS.finditer(window) if base + found.start() > 0)
        tried = 0
        for found in _IMPORTS.finditer(window):
            first = max(tried, found.start() - _BEFORE_BYTES)
            tried = found.start() + 1
            yield from (base + at for at in range(first, tried) if window[at] in _STARTS and base + at > 0)


def _walk(file: BinaryIO, start: int, size_bytes: int, max_imports: float = math.inf) -> _Walk:
    """Follow a pickle's opcodes from `start`, with the kinds of things on its stack, up to STOP or what is no pickle.

    It is given up where more than `max_imports` came and nothing was called.
    """
    file.seek(start)
    reader = _Bounded(file, size_bytes)
    stack: list[object] = []
    memo: dict[object, object] = {}
    imports, calls, frame_end = 0, False, 0
    try:
        for opcode, argument, _ in pickletools.genops(reader):  # type: ignore[arg-type]  # it reads as a file does
            if opcode.name == "STOP":
                legal = bool(stack) and stack[-1] is not pickletools.markobject
                return _Walk(file.tell() if legal else 0, imports > 0, calls, frame_end == file.tell())
            if opcode.name in ("GLOBAL", "INST") and not _is_name(argument):
                break
            if opcode.name == "STACK_GLOBAL" and not _are_names(stack[-2:]):
                break
            _apply(opcode, argument, stack, memo)
            imports += opcode.name in _IMPORTING
            calls = calls or opcode.name in _CALLING
            if opcode.name == "FRAME" and isinstance(argument, int):
                frame_end = file.tell() + argument
            if imports > max_imports and not calls:
                break
    except _ERRORS:
        pass
    return _Walk(0, imports > 0, calls)


def _apply(opcode: pickletools.OpcodeInfo, argument: object, stack: list[object], memo: dict[object, object]) -> None:
    """Do to the stack what `opcode` does. Raises IndexError, ValueError, KeyError where it holds too little or has no mark."""
    before = list(opcode.stack_before)
    if opcode.name == "POP" and stack[-1:] == [pickletools.markobject]:
        del stack[-1]
        return
    if pickletools.stackslice in before or pickletools.markobject in before:
        at = len(stack) - 1 - stack[::-1].index(pickletools.markobject)  # ValueError: no mark
        del stack[at:]
        before = before[: before.index(pickletools.markobject)]
    if len(before) > len(stack) or any(each is pickletools.markobject for each in stack[len(stack) - len(before) :]):
        raise IndexError(opcode.name)
    top = stack[-1] if stack else None
    del stack[len(stack) - len(before) :]
    if opcode.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
        memo[len(memo) if opcode.name == "MEMOIZE" else argument] = top
    if opcode.name in ("DUP", "MEMOIZE"):
        stack += [top] * len(opcode.stack_after)
    elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif isinstance(argument, str):
        stack += [argument] * len(opcode.stack_after)
    else:
        stack += opcode.stack_after


def _is_name(argument: object) -> bool:
    """Whether an opcode's two names, with a blank between, could be a module and what it has."""
    return isinstance(argument, str) and re.fullmatch(rb"%b %b" % (_NAME, _NAME), argument.encode()) is not None


def _are_names(top: list[object]) -> bool:
    """Whether the two things on top could be a module and what it has."""
    return len(top) == 2 and all(isinstance(each, str) and re.fullmatch(_NAME, each.encode()) for each in top)


class _Bounded:
    """The reading half of a file, which says that it ended instead of reading what is not there."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises EOFError, also for more than is held here."""
        if size > min(_MAX_ARGUMENT_BYTES, self._size_bytes - self._file.tell()):
            raise EOFError
        return self._file.read(size)

    def readline(self) -> bytes:
        """A line of bounded length. Raises EOFError where there is none."""
        line = self._file.readline(_MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def tell(self) -> int:
        """Where the next byte is."""
        return self._file.tell()
