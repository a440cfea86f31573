"""Files of any size by name: read in parts below a folder, and written in parts under a name that they get when they are whole.

Rules: what is small (metadata, manifests) is read whole, within a limit; what may be large is never held whole; a file that is
named by its digest gets its name only after every byte was compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from edge_agent.atomic import fsync_folder, make_folder
from edge_agent.errors import StorageError
from edge_agent.regular_file import open_regular
from edge_ota.signing import OperatorError

PART_BYTES = 1 << 20
MAX_SMALL_BYTES = 1 << 20
"""As large as metadata or a manifest may be; a device takes no larger ones."""


class Files(Protocol):
    """Files by name, with `/`: a repository's folder or a bundle."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a small file; None where there is none. Raises OperatorError, also for a large one."""

    def parts(self, name: str) -> Iterator[bytes] | None:
        """The bytes of a file, a part at a time; None where there is none. Raises OperatorError."""


class Folder:
    """The files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        """See `Files`."""
        parts = self.parts(name)
        return None if parts is None else small(parts, str(self._folder / name))

    def parts(self, name: str) -> Iterator[bytes] | None:
        """See `Files`. The file is opened at once, and closed after its last part. Nothing but a regular file is read."""
        path = self._folder / name
        try:
            fd = open_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise OperatorError(f"{path}: cannot be read: {error.strerror}") from error
        return _parts(os.fdopen(fd, "rb"), path)


def small(parts: Iterable[bytes], what: str) -> bytes:
    """The parts in one. Raises OperatorError where they are more than a small file's."""
    data = bytearray()
    for part in parts:
        data += part
        if len(data) > MAX_SMALL_BYTES:
            raise OperatorError(f"{what}: larger than {MAX_SMALL_BYTES} bytes; a device would not take it")
    return bytes(data)


def is_whole(parts: Iterable[bytes], size_bytes: int, sha256: str) -> bool:
    """Whether the parts are the bytes of this size and digest."""
    digest, length = hashlib.sha256(), 0
    for part in parts:
        digest.update(part)
        length += len(part)
    return (length, digest.hexdigest()) == (size_bytes, sha256)


def put(path: Path, parts: Iterable[bytes], size_bytes: int, sha256: str) -> None:
    """Write a file that is named by its digest; nothing if it stands whole already. Its folder is made.

    Raises OperatorError where the parts are not those bytes, StorageError; nothing new has its name then.
    """
    standing = Folder(path.parent).parts(path.name)
    if standing is not None and is_whole(standing, size_bytes, sha256):
        return
    make_folder(path.parent, 0o755)
    with whole(path) as file:
        digest, length = hashlib.sha256(), 0
        for part in parts:
            digest.update(part)
            length += len(part)
            file.write(part)
        if (length, digest.hexdigest()) != (size_bytes, sha256):
            raise OperatorError(
                f"{path.name}: {length} bytes that are not those of its name: changed or damaged since it was built"
            )


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which replaces `path` durably when the block ends, and is gone if the block is left by an error.

    Raises StorageError.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fchmod(fd, 0o644)  # whatever the umask: a web server reads it
            os.fsync(fd)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"{path}: not written: {error.strerror}; check the disk: free space, mount state") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def _parts(file: BinaryIO, path: Path) -> Iterator[bytes]:
    with file:
        try:
            while part := file.read(PART_BYTES):
                yield part
        except OSError as error:
            raise OperatorError(f"{path}: cannot be read: {error.strerror}") from error
