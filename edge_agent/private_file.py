"""Files that nobody but their owner may read: secrets that are made on the device, and those that a person put there.

Rules: a secret is made whole or not at all: it is written under another name, synced, and linked into place, so that of two
processes that make one at once one wins and both use the same; a file that is there is never written over. A file that anyone
else could read, that is no regular file, or that is larger than what is meant, is not used. Every failure is a StorageError that
names the path and says what to do; no content is ever told.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from edge_agent.atomic import fsync_folder, write_new
from edge_agent.errors import StorageError
from edge_agent.regular_file import NotRegularError, open_regular

OWNER_ONLY = 0o077
"""The permissions that a secret's file may not have."""
OF_A_CREDENTIAL = 0o037
"""The same for a file that systemd made: it may show a group that reads, which is how its access list for the service looks."""


def read_private(
    path: Path, max_bytes: int, remedy: str, *, forbidden: int = OWNER_ONLY, follow_links: bool = False
) -> bytes | None:
    """What stands in a secret's file; None where there is no such file. `remedy` says what to do where it is of no use."""
    try:
        handle = open_regular(path, follow_links=follow_links)
    except FileNotFoundError:
        return None
    except NotRegularError:
        raise StorageError(f"{path}: is no regular file; {remedy}") from None
    except OSError as error:
        if path.is_symlink() and not follow_links:
            raise StorageError(f"{path}: is a symbolic link, which is not followed; {remedy}") from None
        raise StorageError(f"{path}: cannot be read: {error.strerror}; give it to the service's user, mode 0600") from None
    try:
        found = os.fstat(handle)
        if stat.S_IMODE(found.st_mode) & forbidden:
            raise StorageError(f"{path}: others than its owner may use it; `chmod 600` it, or {remedy}")
        if found.st_size > max_bytes:
            raise StorageError(f"{path}: has {found.st_size} bytes, more than {max_bytes}; {remedy}")
        return os.read(handle, max_bytes)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}; check the disk") from None
    finally:
        os.close(handle)


def make_private(path: Path, data: bytes) -> bool:
    """Put a new secret at `path`, durably; whether it is this one: False where there was one, or another process was quicker."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    made = False
    try:
        try:
            write_new(temporary, data, 0o600, _owner(path.parent))
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
                made = True
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be made: {error.strerror}; check that its folder is there, is the service's, has room,"
            " and lies on a file system of Linux"
        ) from None
    fsync_folder(path.parent)
    return made


def _owner(folder: Path) -> tuple[int, int] | None:
    """Whose the file shall be: where root runs a command, the folder's owner's, who has to read it."""
    if os.geteuid() != 0:
        return None
    found = os.stat(folder)
    return found.st_uid, found.st_gid
