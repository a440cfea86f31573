"""Reads a bundle in place: where each file stands in it, and its bytes by its name in the repository.

Rules: nothing is written, nothing is unpacked; one header of 512 bytes a file, as `bundle` writes it: no links, folders, devices,
sparse or extended members, no name twice, none that could leave a folder, nothing after the end; all limits are those of a device
or stricter. Anything else is an OperatorError that says where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge_ota.bundle import BLOCK_BYTES, END, bundle_name
from edge_ota.files import PART_BYTES, small
from edge_ota.signing import OperatorError

MAX_MEMBERS = 2_048
MAX_NAME_CHARACTERS = 200
_NAME = re.compile(r"(?:metadata|targets)(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_NUMBER = re.compile(rb" *([0-7]{1,11})[ \0]?")
_MAGIC = b"ustar\x0000"
_REGULAR = (b"0", b"\0")


class Bundle:
    """The files of a bundle; a `files.Files`."""

    def __init__(self, path: Path) -> None:
        """Raises OperatorError for what is no bundle."""
        if path.exists() and not path.is_file():  # a FIFO would be waited for, a device read for ever
            raise OperatorError(f"{path}: is no regular file")
        self._path = path
        self._at: dict[str, tuple[int, int]] = {}
        """Offset and size of each member."""
        try:
            with path.open("rb") as file:
                self._index(file)
        except OSError as error:
            raise OperatorError(f"{path}: cannot be read: {error.strerror}") from error

    def names(self) -> tuple[str, ...]:
        """The members in order, by their names in the bundle."""
        return tuple(self._at)

    def read(self, name: str) -> bytes | None:
        """See `Files`."""
        parts = self.parts(name)
        return None if parts is None else small(parts, f"{self._path}: {name}")

    def parts(self, name: str) -> Iterator[bytes] | None:
        """See `Files`; `name` as in the repository."""
        place = self._at.get(bundle_name(name))
        return None if place is None else self._parts(*place)

    def _parts(self, offset: int, size_bytes: int) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                while size_bytes > 0 and (part := file.read(min(PART_BYTES, size_bytes))):
                    size_bytes -= len(part)
                    yield part
        except OSError as error:
            raise OperatorError(f"{self._path}: cannot be read: {error.strerror}") from error

    def _index(self, file: BinaryIO) -> None:
        end = file.seek(0, 2)
        at = 0
        while True:
            file.seek(at)
            header = file.read(BLOCK_BYTES)
            if header == bytes(BLOCK_BYTES):
                break
            name, size_bytes = self._member(header, at)
            if name in self._at or len(self._at) >= MAX_MEMBERS:
                raise OperatorError(f"{self._path}: at {at}: {name} is in it twice, or too much is")
            after = at + BLOCK_BYTES + -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
            if after + len(END) > end:
                raise OperatorError(f"{self._path}: ends within {name}: it was not copied whole")
            self._at[name] = (at + BLOCK_BYTES, size_bytes)
            at = after
        file.seek(at)
        if file.read(len(END) + 1) != END:
            raise OperatorError(f"{self._path}: at {at}: does not end as a bundle does")

    def _member(self, header: bytes, at: int) -> tuple[str, int]:
        """Name and size. Raises OperatorError."""
        where = f"{self._path}: at {at}"
        size, checksum = _NUMBER.fullmatch(header[124:136]), _NUMBER.fullmatch(header[148:156].rstrip(b"\0 "))
        if len(header) < BLOCK_BYTES or size is None or checksum is None or header[257:265] != _MAGIC:
            raise OperatorError(f"{where}: not the header of a file: this is no bundle, or it was not copied whole")
        if int(checksum[1], 8) != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
            raise OperatorError(f"{where}: the header is damaged")
        if header[156:157] not in _REGULAR or header[157:257].strip(b"\0"):
            raise OperatorError(f"{where}: not a regular file: a bundle holds nothing else")
        prefix, name = (field.split(b"\0")[0].decode("latin-1") for field in (header[345:500], header[:100]))
        full = f"{prefix}/{name}" if prefix else name
        if not _NAME.fullmatch(full) or len(full) > MAX_NAME_CHARACTERS:
            raise OperatorError(f"{where}: {full!r} is no name of a file of a bundle")
        return full, int(size[1], 8)
