"""A value in one checksummed file that stands twice: one good copy is enough, and no power cut takes both.

Format: a line `<what it is> <version>`, a line with the SHA-256 of all that follows, then one JSON object. These two lines
stay as they are in every version, so that a copy of another version can be told from a damaged one.

Rules:
* Both copies hold the same. Each is replaced whole and synced before the other is touched, the bad or older one first, so
  that a power cut leaves one good copy at least. The copy of the higher generation counts.
* One good copy is enough, and is written to the other's place again. With none, and any sign that there was one (a damaged
  copy, the marker that is left after the first save), the value is lost, which is not the same as never saved.
* A copy is a regular file of bounded size, or it is damaged. What cannot be read because the disk fails is not lost: it is a
  StorageError, and is tried again later.
* One owner at a time, held by a lock on the folder. Reading needs no lock: a copy is replaced, never changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from edge_agent.atomic import write_atomic
from edge_agent.errors import StorageError
from edge_agent.update.state_files import clear_way, read_regular

_DIGEST = re.compile(rb"[0-9a-f]{64}")


class Generational(Protocol):
    """A value that counts its saves."""

    @property
    def generation(self) -> int:
        """Grows with every save."""


_Value = TypeVar("_Value", bound=Generational)


class Kind(Struct, Generic[_Value], frozen=True, kw_only=True):
    """What is kept twice, where, and what is said when it is not as it should be."""

    type: type[_Value]
    what: str
    """Such as `edge-agent trusted`: the first line without the version."""
    version: int
    copies: tuple[str, str]
    marker: str
    marker_text: str
    max_bytes: int
    busy: str
    """Said where another process holds the lock."""
    lost: Callable[[str], StorageError]
    """The error, by folder, where there was a value and none is left."""
    other: Callable[[str], StorageError] | None = None
    """The error, by folder, for a whole copy of another version. None: such a copy counts as a damaged one."""


class Found(Struct, Generic[_Value], frozen=True, kw_only=True):
    """What was found. `whole`: both copies are good and equal, so that nothing needs to be written again."""

    value: _Value
    whole: bool


class _Other(Struct, frozen=True):
    """A copy whose checksum is right and whose content is not of our version."""


class Twice(Generic[_Value]):
    """The two copies and the marker in one folder, which must exist."""

    def __init__(self, folder: Path, kind: Kind[_Value]) -> None:
        self._folder = folder
        self._kind = kind

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process alone. Raises StorageError where another one holds it."""
        try:
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"{self._folder}: not opened: {error.strerror}; create the folder first") from error
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StorageError(f"{self._folder}: {self._kind.busy}") from error
            yield
        finally:
            os.close(fd)

    def load(self) -> Found[_Value] | None:
        """The value; None where none was ever saved. Raises the kind's errors where it is lost or other, StorageError."""
        found: list[bytes | None] = []
        unread: list[StorageError] = []
        for name in self._kind.copies:
            try:
                found.append(read_regular(self._folder / name, self._kind.max_bytes))
            except StorageError as error:
                unread.append(error)
        decoded = [self._decoded(data) for data in found]
        self._refuse_other(decoded)
        good = [value for value in decoded if value is not None and not isinstance(value, _Other)]
        if good:
            newest = max(good, key=lambda value: value.generation)
            return Found(value=newest, whole=len(good) == len(self._kind.copies) and found[0] == found[1])
        if unread:
            raise unread[0]
        if all(data is None for data in found) and not os.path.lexists(self._folder / self._kind.marker):
            return None
        raise self._kind.lost(str(self._folder))

    def save(self, value: _Value) -> None:
        """Write both copies, durably, then the marker. Raises StorageError; what was loaded before, or `value`, stands."""
        data = self._encoded(value)
        if len(data) > self._kind.max_bytes:
            raise StorageError(f"{self._folder}: {len(data)} bytes, {self._kind.max_bytes} are allowed; not kept")
        generations = self.generations()
        for name in sorted(self._kind.copies, key=lambda name: generations[name]):
            clear_way(self._folder / name)
            write_atomic(self._folder / name, data)
        if not os.path.lexists(self._folder / self._kind.marker):
            write_atomic(self._folder / self._kind.marker, f"{self._kind.marker_text}\n".encode())

    def generations(self) -> dict[str, int]:
        """Of the copies by name; -1 for one that is not good. Raises the kind's error for one of another version."""
        generations: dict[str, int] = {}
        for name in self._kind.copies:
            try:
                value = self._decoded(read_regular(self._folder / name, self._kind.max_bytes))
            except StorageError:
                value = None
            self._refuse_other([value])
            generations[name] = -1 if value is None or isinstance(value, _Other) else value.generation
        return generations

    def _refuse_other(self, decoded: list[_Value | _Other | None]) -> None:
        if self._kind.other is not None and any(isinstance(value, _Other) for value in decoded):
            raise self._kind.other(str(self._folder))

    def _encoded(self, value: _Value) -> bytes:
        body = msgspec.json.encode(value)
        head = f"{self._kind.what} {self._kind.version}\n{hashlib.sha256(body).hexdigest()}\n"
        return head.encode() + body

    def _decoded(self, data: bytes | None) -> _Value | _Other | None:
        """None for what is missing or damaged."""
        head, _, rest = (data or b"").partition(b"\n")
        digest, line_end, body = rest.partition(b"\n")
        named = re.fullmatch(rb"%b ([1-9][0-9]{0,8})" % re.escape(self._kind.what.encode()), head)
        if named is None or not line_end or not _DIGEST.fullmatch(digest):
            return None
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None
        if int(named[1]) != self._kind.version:
            return _Other()
        try:
            return msgspec.json.decode(body, type=self._kind.type)
        except (msgspec.ValidationError, msgspec.DecodeError):
            return _Other()
