"""Where the files of a bundle stand in it: the headers of a plain tar, POSIX.1-1988 `ustar`, and nothing else of that format.

A header of 512 bytes a file; its data, filled up to 512; in the end two blocks of zeros, and nothing after them. The format is
described in `docs/formats/repository.md`.

Rules:
* Only regular files, each behind one header; no folders, links, devices, sparse or extended members, so that no two readers
  can see different files in one bundle. Numbers are octal digits, checksums are right, no name stands there twice.
* A name begins with `metadata/` or `targets/` and has no part that is empty or begins with a dot.
* What is read is bounded: so many headers, each once. Nothing is believed of what a header says but where to look next, which
  always lies further on and within the bundle.
* A bundle that breaks a rule is refused; one that only ends too early may not be whole yet, which is told apart where it may
  grow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from edge_agent.errors import LinkError, RepositoryRefusedError

BLOCK_BYTES = 512
MAX_MEMBERS = 2_048
MAX_NAME_CHARACTERS = 200
_MAGIC = b"ustar\x0000"
_REGULAR = (b"0", b"\0")
_NAME = re.compile(r"(?:metadata|targets)(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_NUMBER = re.compile(rb" *([0-7]{1,11})[ \0]*")
_KINDS: dict[bytes, str] = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a FIFO",
    b"x": "an extended header",
    b"g": "an extended header",
    b"L": "a long name of GNU tar",
    b"K": "a long name of GNU tar",
    b"S": "a sparse file",
}

Read: TypeAlias = Callable[[int, int], bytes]
"""Exactly so many bytes at an offset. Raises LinkError."""


class Span(Struct, frozen=True):
    """Where a file is."""

    offset: int
    size_bytes: int


def spans(read: Read, size_bytes: int, *, may_grow: bool = True) -> dict[str, Span]:
    """The files of a bundle of `size_bytes` by their names in it, in order.

    Raises RepositoryRefusedError (`bundle`) for what is no bundle, LinkError where it ends too early and may grow, or `read`
    raises it.
    """
    found: dict[str, Span] = {}
    at = 0
    while True:
        _within(at + BLOCK_BYTES, size_bytes, may_grow=may_grow)
        header = read(at, BLOCK_BYTES)
        if not any(header):
            break
        name, length = _member(header, at)
        if name in found:
            raise _refused(at, f"{name!r} stands in it twice")
        if len(found) >= MAX_MEMBERS:
            raise _refused(at, f"it has more than {MAX_MEMBERS} files")
        found[name] = Span(at + BLOCK_BYTES, length)
        at += BLOCK_BYTES + -(-length // BLOCK_BYTES) * BLOCK_BYTES
    end = at + 2 * BLOCK_BYTES
    _within(end, size_bytes, may_grow=may_grow)
    if end != size_bytes or any(read(at + BLOCK_BYTES, BLOCK_BYTES)):
        raise _refused(at, "it does not end with two blocks of zeros and nothing after them")
    return found


def _member(header: bytes, at: int) -> tuple[str, int]:
    """Name and size of a file. Raises RepositoryRefusedError."""
    stated = _number(header[148:156])
    if stated is None or stated != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
        raise _refused(at, "not a header: this is no bundle, or it is damaged")
    if header[257:265] != _MAGIC:
        raise _refused(at, "a header of another kind of tar: make bundles with `edge-ota bundle`")
    kind = header[156:157]
    if kind not in _REGULAR or any(header[157:257]):
        raise _refused(at, f"{_KINDS.get(kind, 'not a regular file')}: bundles hold files alone")
    prefix, name = _text(header[345:500]), _text(header[:100])
    full = f"{prefix}/{name}" if prefix else name
    if len(full) > MAX_NAME_CHARACTERS or _NAME.fullmatch(full) is None:
        raise _refused(at, f"{full[:80]!r} is no name of a file of a repository")
    length = _number(header[124:136])
    if length is None:
        raise _refused(at, f"{full!r} has no size in octal digits")
    return full, length


def _number(field: bytes) -> int | None:
    matched = _NUMBER.fullmatch(field)
    return int(matched[1], 8) if matched is not None else None


def _text(field: bytes) -> str:
    """A name up to its first zero; what is no ASCII becomes a character that no name may have."""
    return field.partition(b"\0")[0].decode("ascii", "replace")


def _within(end: int, size_bytes: int, *, may_grow: bool) -> None:
    if end > size_bytes:
        early = f"ends after {size_bytes} bytes, before its bundle does"
        if may_grow:
            raise LinkError(f"{early}: it is still being copied, was not copied whole, or is none")
        raise RepositoryRefusedError("bundle", f"{early}: it was not uploaded whole, or is none")


def _refused(at: int, what: str) -> RepositoryRefusedError:
    return RepositoryRefusedError("bundle", f"at {at}: {what}")
