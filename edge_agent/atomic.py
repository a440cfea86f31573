"""Files that are replaced whole: after a crash or a power cut a reader finds the old content or the new, never a mixture.

Rules: one owner a file (two writers of one path would take each other's temporary file); the temporary file stands in the
same folder, because a rename is atomic only within one file system; the order is write, fsync the file, rename, fsync the
folder. Without the first fsync ext4 and xfs may show an empty file after a power cut, without the second the old name.
Every failure is a StorageError that names the path.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edge_agent.errors import StorageError


def write_atomic(path: str | os.PathLike[str], data: bytes, mode: int = 0o640) -> None:
    """Replace the content of `path` with `data`, durably; the file gets exactly the permissions `mode`, whatever the umask.

    The folder must exist. A symbolic link at `path` is replaced, not followed. A temporary file that an interrupted write
    left behind is removed. Raises StorageError; the old content then still stands, except where the message says that only
    the folder could not be synced: the new content is then in place and may be lost in a power cut.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        write_new(temporary, data, mode)
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"{target}: not written, the old content stands: {error.strerror or error}; {_advice(error)}"
        ) from error
    fsync_folder(target.parent)


def make_folder(path: str | os.PathLike[str], mode: int = 0o750) -> None:
    """Make `path`, and what is missing above it, durably; nothing if it is there. Raises StorageError.

    A folder that was made and whose parent was not synced may be gone after a power cut, with everything that was synced in it.
    """
    target = Path(path)
    for folder in reversed([each for each in (target, *target.parents) if not each.is_dir()]):
        try:
            folder.mkdir(mode=mode, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be made: {error.strerror}; {_advice(error)}") from error
        fsync_folder(folder.parent)


def fsync_folder(folder: str | os.PathLike[str]) -> None:
    """Make the names in `folder` durable (files created, renamed or removed there). Raises StorageError."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise StorageError(f"{Path(folder)}: folder not synced to disk: {error.strerror or error}; {_advice(error)}") from error


def write_new(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Create `path`, which must not exist, with all of `data` on disk; its name is durable after `fsync_folder`.

    `owner` is (user, group), where it shall not be the process's own. Raises OSError; a part of it may stand there then.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if owner is not None:
            os.fchown(fd, *owner)
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)


def _advice(error: OSError) -> str:
    """What a person can do about `error`."""
    match error:
        case PermissionError():
            return "give the service's user write access to the folder"
        case FileNotFoundError() | NotADirectoryError():
            return "create the folder first"
        case _:
            return "check the disk: free space, mount state, health"
