"""The secret from which pseudonyms are made: 32 random bytes in `egress.key` in the state folder, this device's alone.

Rules: the file is made at first use and never changed; whoever loses it gets other pseudonyms for the same names, no more.
It is there whole or not at all: it is written under another name, synced, and linked into place, so that of two processes
that make it at once one wins and both use the same. A file that anyone else could read, or that is no plain file of 32 bytes,
is not used. The secret is never logged and stands in no message.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from edge_agent.atomic import fsync_folder, write_new
from edge_agent.errors import StorageError

KEY_NAME = "egress.key"
KEY_BYTES = 32

_REMOVE = "remove it: a new one is made at the next start, and the pseudonyms of all names change"


def egress_key(state_dir: str | os.PathLike[str]) -> bytes:
    """The secret, 32 bytes; made where there is none yet. Raises StorageError."""
    path = Path(state_dir) / KEY_NAME
    key = _read(path)
    if key is None:
        _make(path)
        key = _read(path)
    if key is None:
        raise StorageError(f"{path}: was there and is gone; something else removes files in the state folder, stop that")
    return key


def existing_egress_key(state_dir: str | os.PathLike[str]) -> bytes | None:
    """The secret, for who only looks; None where none was made yet. Raises StorageError."""
    return _read(Path(state_dir) / KEY_NAME)


def _read(path: Path) -> bytes | None:
    """The secret; None where there is no such file."""
    try:
        # NONBLOCK: opening a FIFO would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise StorageError(f"{path}: is a symbolic link, which is not followed; {_REMOVE}") from None
        raise StorageError(f"{path}: cannot be read: {error.strerror}; give it to the service's user, mode 0600") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise StorageError(f"{path}: is no regular file; {_REMOVE}")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise StorageError(f"{path}: others than its owner may use it; `chmod 600` it, or {_REMOVE}")
        key = os.read(handle, KEY_BYTES + 1)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}; check the disk") from None
    finally:
        os.close(handle)
    if len(key) != KEY_BYTES or found.st_size != KEY_BYTES:
        raise StorageError(f"{path}: has {found.st_size} bytes, not {KEY_BYTES}; {_REMOVE}")
    return key


def _make(path: Path) -> None:
    """Put a new secret at `path`, unless another process did so meanwhile. Raises StorageError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            write_new(temporary, secrets.token_bytes(KEY_BYTES), 0o600, _owner(path.parent))
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be made: {error.strerror}; check that the state folder is there, is the service's, has room,"
            " and lies on a file system of Linux"
        ) from None
    fsync_folder(path.parent)


def _owner(folder: Path) -> tuple[int, int] | None:
    """Whose the file shall be: where root runs a command, the service's user's, who owns the folder and has to read it."""
    if os.geteuid() != 0:
        return None
    found = os.stat(folder)
    return found.st_uid, found.st_gid
