"""Files in the update folder, opened, read and removed so that nothing else is followed, waited for or taken for one.

Rules: a symbolic link is never followed, a FIFO never waited for, a device never read; what stands in the way is removed
where it stands. The folders belong to the agent: what somebody put there is handled, a race with him is not.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from edge_agent.errors import StorageError

_READ_BYTES = 1 << 20


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int | None:
    """A descriptor of the regular file at `path`; None where there is nothing, or something else. Raises StorageError."""
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR):
            return None
        raise StorageError(
            f"{path}: not opened: {error.strerror}; check the disk, and that the service's user may read it"
        ) from error
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def read_regular(path: Path, max_bytes: int) -> bytes | None:
    """The bytes at `path`; None where there is nothing, and none where what is there is no regular file of a fitting size.

    Raises StorageError where the disk fails.
    """
    fd = open_regular(path)
    if fd is None:
        return b"" if os.path.lexists(path) else None
    try:
        if os.fstat(fd).st_size > max_bytes:
            return b""
        data = bytearray()
        while portion := os.read(fd, _READ_BYTES):
            data += portion
            if len(data) > max_bytes:
                return b""
        return bytes(data)
    except OSError as error:
        raise StorageError(f"{path}: not read: {error.strerror}; check the disk") from error
    finally:
        os.close(fd)


def size_of(path: Path) -> int | None:
    """The size of the regular file at `path` in bytes; None where there is none. Raises StorageError."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; check the disk") from error
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def clear_way(path: Path) -> None:
    """Remove what stands at `path` unless it is a regular file, which may be replaced as it is. Raises StorageError."""
    if size_of(path) is None:
        remove(path)


def names_in(folder: Path) -> list[str]:
    """The names in a folder, sorted. Raises StorageError."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise StorageError(f"{folder}: not listed: {error.strerror}; check the disk and the folder's permissions") from error


def remove(path: Path) -> int:
    """Remove whatever stands at `path`, a folder with all that is in it; the bytes that this frees. Raises StorageError."""
    try:
        return _removed(path)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(f"{path}: cannot be removed: {error.strerror}; check the disk and the folder's permissions") from error


def _removed(path: Path) -> int:
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(path)
        # The bytes of a file go with its last name.
        return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0
    freed = sum(_removed(path / name) for name in os.listdir(path))
    os.rmdir(path)
    return freed
