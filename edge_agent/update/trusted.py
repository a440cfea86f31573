"""What the device trusts of a repository, kept in one checksummed file that stands twice.

Format: a line `edge-agent trusted 1`, a line with the SHA-256 of all that follows, then one JSON object (`Trusted`), in which
metadata is base64, byte for byte as it was signed.

Rules:
* Both copies hold the same. Each is replaced whole and synced before the other is touched, the bad or older one first, so
  that a power cut leaves one good copy at least. The copy of the higher generation counts.
* One good copy is enough, and is written to the other's place again. With none, and any sign that there was one (a damaged
  copy, the marker that is left after the first save), nothing is believed: a person must start anew from the factory root.
  A folder without copies and marker was never used: only then is it started without being told to.
* A copy is a regular file of bounded size, or it is damaged. What cannot be read because the disk fails is not lost: it is a
  StorageError, and is tried again later.
* One owner at a time, held by a lock on the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.atomic import write_atomic
from edge_agent.errors import StorageError, TrustLostError
from edge_agent.update.floor import Floor

COPIES: tuple[str, str] = ("trusted.a", "trusted.b")
MARKER = "trusted.begun"
MAX_FILE_BYTES = 32 << 20
_HEAD = b"edge-agent trusted 1\n"
_DIGEST_BYTES = 64
_READ_BYTES = 1 << 20


class Trusted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a device keeps of a repository between two looks at it."""

    generation: int
    """Grows by one with every save."""
    factory_sha256: str
    """Of the factory root that this started from."""
    metadata: dict[str, bytes]
    """By role, as signed. The root is always there; the others as far as they were verified."""
    floor: Floor


class Loaded(Struct, frozen=True, kw_only=True):
    """What was found. `whole`: both copies are good and equal, so that nothing needs to be written again."""

    trusted: Trusted
    whole: bool


class TrustedFile:
    """The two copies and the marker in one folder, which must exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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
                raise StorageError(f"{self._folder}: another process is looking for updates there; try later") from error
            yield
        finally:
            os.close(fd)

    def load(self) -> Loaded | None:
        """What is trusted; None where nothing ever was. Raises TrustLostError where it is gone, StorageError."""
        found: list[bytes | None] = []
        unread: list[StorageError] = []
        for name in COPIES:
            try:
                found.append(_read(self._folder / name))
            except StorageError as error:
                unread.append(error)
        good = [trusted for trusted in map(_decoded, found) if trusted is not None]
        if good:
            newest = max(good, key=lambda trusted: trusted.generation)
            return Loaded(trusted=newest, whole=len(good) == len(COPIES) and found[0] == found[1])
        if unread:
            raise unread[0]
        if all(data is None for data in found) and not (self._folder / MARKER).exists():
            return None
        raise TrustLostError(
            f"{self._folder}: what was trusted of the repository is gone: both copies ({', '.join(COPIES)}) are missing or"
            " damaged. Nothing is installed until a person decides: check the disk, then start anew from the factory root"
        )

    def save(self, trusted: Trusted) -> None:
        """Write both copies, durably, then the marker. Raises StorageError; what was loaded before, or `trusted`, stands."""
        data = _encoded(trusted)
        if len(data) > MAX_FILE_BYTES:
            raise StorageError(f"{self._folder}: {len(data)} bytes of metadata, {MAX_FILE_BYTES} are allowed; not kept")
        for name in sorted(COPIES, key=self._generation):
            write_atomic(self._folder / name, data)
        if not (self._folder / MARKER).exists():
            write_atomic(self._folder / MARKER, b"Metadata was trusted here. Do not remove.\n")

    def _generation(self, name: str) -> int:
        """Of the copy `name`; -1 where it is not good."""
        try:
            trusted = _decoded(_read(self._folder / name))
        except StorageError:
            return -1
        return -1 if trusted is None else trusted.generation


def _encoded(trusted: Trusted) -> bytes:
    body = msgspec.json.encode(trusted)
    return _HEAD + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _decoded(data: bytes | None) -> Trusted | None:
    """None for what is not exactly such a file."""
    start = len(_HEAD) + _DIGEST_BYTES + 1
    if data is None or not data.startswith(_HEAD) or data[start - 1 : start] != b"\n":
        return None
    body = data[start:]
    if hashlib.sha256(body).hexdigest().encode() != data[len(_HEAD) : start - 1]:
        return None
    try:
        return msgspec.json.decode(body, type=Trusted)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None


def _read(path: Path) -> bytes | None:
    """The bytes at `path`; None where there is nothing, and none where what is there is no regular file of a fitting size."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return b""
        raise StorageError(
            f"{path}: not read: {error.strerror}; check the disk, and that the service's user may read it"
        ) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            return b""
        data = bytearray()
        while portion := os.read(fd, _READ_BYTES):
            data += portion
            if len(data) > MAX_FILE_BYTES:
                return b""
        return bytes(data)
    except OSError as error:
        raise StorageError(f"{path}: not read: {error.strerror}; check the disk") from error
    finally:
        os.close(fd)
