"""Where the variables stand in a writer's `model.bin`, the file that CTranslate2 loads.

Format (version 6 of CTranslate2's binary models, little-endian): u32 version; string name of the architecture; u32 its revision;
u32 number of variables; for each a string name, u8 number of dimensions, u32 each dimension, u8 type, u32 number of bytes, and
the bytes; u32 number of aliases; for each two strings, the alias and the variable. A string is u16 its length with the zero
that ends it, then the bytes. A weight in INT8 is a matrix (out, in) whose row i stands for `row / scale[i]`; its scales are the
float32 variable of the same name with `_scale` after it.

Rules: the weights themselves are not read here; nothing is allocated because a header says so: each size is compared with the
file first, and names and counts are bounded. What is not exactly of this format is refused with a ReleaseError that names it.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

from msgspec import Struct

from edge_agent.errors import ReleaseError, StorageError
from edge_agent.regular_file import NotRegularError, open_regular

VERSION = 6
TYPES: tuple[tuple[str, int], ...] = (
    ("float32", 4),
    ("int8", 1),
    ("int16", 2),
    ("int32", 4),
    ("float16", 2),
    ("bfloat16", 2),
)
"""Name and bytes of an element, by the number in the file."""
MAX_VARIABLES = 16_384
MAX_NAME_BYTES = 256
MAX_DIMENSIONS = 8
SCALE_SUFFIX = "_scale"


class Variable(Struct, frozen=True, kw_only=True):
    """One variable: what it is and where its bytes stand."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.size_bytes


class Weights(Struct, frozen=True, kw_only=True):
    """The variables of a file by name, in the order of the file, and how long the file is."""

    variables: dict[str, Variable]
    aliases: dict[str, str]
    size_bytes: int

    def scale_of(self, variable: Variable) -> Variable | None:
        """The scales of a weight in INT8, one a row; None where `variable` is no such weight."""
        scale = self.variables.get(variable.name + SCALE_SUFFIX)
        if variable.dtype != "int8" or len(variable.shape) != 2 or scale is None:
            return None
        return scale if (scale.dtype, scale.shape) == ("float32", variable.shape[:1]) else None


class OpenFile:
    """A regular file that is read in parts, wherever they stand. Build it with `open`."""

    def __init__(self, fd: int, name: str, size_bytes: int) -> None:
        self._fd = fd
        self.name = name
        """The path, for messages."""
        self.size_bytes = size_bytes

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[OpenFile]:
        """Open for reading until the block ends. Raises StorageError, ReleaseError for what is no regular file."""
        try:
            fd = open_regular(path)
        except NotRegularError as error:
            raise ReleaseError(f"{path}: is no regular file") from error
        except OSError as error:
            raise StorageError(
                f"{path}: cannot be read: {error.strerror}; check the disk, and install the release again"
            ) from error
        try:
            yield cls(fd, str(path), os.fstat(fd).st_size)
        finally:
            os.close(fd)

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset` on. Raises ReleaseError where the file ends before, StorageError."""
        if not 0 <= offset <= offset + count <= self.size_bytes:
            raise ReleaseError(f"{self.name}: ends after {self.size_bytes} bytes, {count} are missing at {offset}: cut short")
        parts: list[bytes] = []
        while count:
            try:
                part = os.pread(self._fd, count, offset)
            except OSError as error:
                raise StorageError(f"{self.name}: cannot be read: {error.strerror}; check the disk") from error
            if not part:
                raise ReleaseError(f"{self.name}: became shorter while it was read")
            parts.append(part)
            offset += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def index(source: OpenFile) -> Weights:
    """Find every variable of a `model.bin`. Raises ReleaseError that says what is wrong, StorageError."""
    return _Scan(source).weights()


class _Scan:
    """One pass over a file's headers, from front to end."""

    def __init__(self, source: OpenFile) -> None:
        self._source = source
        self._at = 0

    def weights(self) -> Weights:
        version = self._number("I", "version")
        if version != VERSION:
            raise self._wrong(f"is of version {version}, only {VERSION} is read: not a model of CTranslate2, or a newer one")
        self._name("architecture")
        self._number("I", "revision")
        variables: dict[str, Variable] = {}
        for _ in range(self._count("variables")):
            found = self._variable()
            if found.name in variables:
                raise self._wrong(f"has the variable {found.name!r} twice")
            variables[found.name] = found
        aliases: dict[str, str] = {}
        for _ in range(self._count("aliases")):
            alias, target = self._name("alias"), self._name("aliased variable")
            if alias in variables or alias in aliases or target not in variables:
                raise self._wrong(f"has an alias {alias!r} of {target!r}, which is none or is one twice")
            aliases[alias] = target
        if self._at != self._source.size_bytes:
            raise self._wrong(f"has {self._source.size_bytes - self._at} bytes after its end")
        return Weights(variables=variables, aliases=aliases, size_bytes=self._at)

    def _variable(self) -> Variable:
        name = self._name("variable")
        dimensions = self._number("B", "number of dimensions")
        if dimensions > MAX_DIMENSIONS:
            raise self._wrong(f"{name}: has {dimensions} dimensions, at most {MAX_DIMENSIONS} are read")
        shape = tuple(self._number("I", "dimension") for _ in range(dimensions))
        number = self._number("B", "type")
        if number >= len(TYPES):
            raise self._wrong(f"{name}: is of type {number}, which is none")
        dtype, element_bytes = TYPES[number]
        size_bytes = self._number("I", "size")
        if size_bytes != prod(shape) * element_bytes:
            raise self._wrong(f"{name}: {size_bytes} bytes are not {shape} of {dtype}")
        if size_bytes > self._source.size_bytes - self._at:
            raise self._wrong(f"{name}: says it has {size_bytes} bytes, the file ends before")
        found = Variable(name=name, dtype=dtype, shape=shape, offset=self._at, size_bytes=size_bytes)
        self._at = found.end
        return found

    def _count(self, what: str) -> int:
        count = self._number("I", f"number of {what}")
        if count > MAX_VARIABLES:
            raise self._wrong(f"says it has {count} {what}, at most {MAX_VARIABLES} are read")
        return count

    def _name(self, what: str) -> str:
        length = self._number("H", f"length of the name of the {what}")
        if not 1 <= length <= MAX_NAME_BYTES:
            raise self._wrong(f"has a name of {length} bytes for the {what}, 1 to {MAX_NAME_BYTES} are read")
        data = self._bytes(length)
        text = data[:-1].decode("ascii", "replace")
        if data[-1] != 0 or not text.isprintable() or not text.isascii():
            raise self._wrong(f"has a name for the {what} that is no printable ASCII: {text[:40]!r}")
        return text

    def _number(self, form: str, what: str) -> int:
        try:
            (number,) = struct.unpack("<" + form, self._bytes(struct.calcsize("<" + form)))
        except ReleaseError as error:
            raise self._wrong(f"ends within its {what}: cut short") from error
        return int(number)

    def _bytes(self, count: int) -> bytes:
        data = self._source.read(self._at, count)
        self._at += count
        return data

    def _wrong(self, what: str) -> ReleaseError:
        return ReleaseError(f"{self._source.name}: {what}")
