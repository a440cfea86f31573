"""The folder of one release: its components under their paths as hard links of blobs, beside the documents that name them.

Rules: built under a temporary name, every folder synced, renamed as a whole, the folder above synced; so a release's folder
that is there is whole. A path comes from a signed manifest and is checked all the same. Where the file system has no hard
links a blob is copied, and its digest taken on the way.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from msgspec import Struct

from edge_agent.atomic import fsync_folder, write_new
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.update.state_files import open_regular, remove

FOLDER_MODE = 0o750
FILE_MODE = 0o640
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP)
_COPY_BYTES = 1 << 20


class Source(Struct, frozen=True):
    """The blob that a component is."""

    blob: Path
    sha256: str
    size_bytes: int


def assemble(
    target: Path, components: Mapping[str, Source], documents: Mapping[str, bytes], room_for: Callable[[int], None]
) -> None:
    """Make the folder `target`, which must not be there, durably. `room_for` is asked before a blob is copied.

    Raises ReleaseError for paths that cannot stand beside each other or leave the folder, and for a blob that is gone or
    damaged; StorageError.
    """
    folders = _folders([*components, *documents])
    making = target.with_name(f".{target.name}.making")
    remove(making)
    try:
        for folder in ("", *folders):
            os.mkdir(making / folder, FOLDER_MODE)
            os.chmod(making / folder, FOLDER_MODE)
        for path, source in components.items():
            _put(making / path, source, room_for)
        for name, data in documents.items():
            write_new(making / name, data, FILE_MODE)
        for folder in (*reversed(folders), ""):
            fsync_folder(making / folder)
        os.rename(making, target)
    except OSError as error:
        raise StorageError(f"{target}: not made: {error.strerror}; check the disk: free space, mount state, health") from error
    fsync_folder(target.parent)


def _folders(paths: list[str]) -> list[str]:
    """The folders that `paths` stand in, outer ones first. Raises ReleaseError."""
    folders: dict[str, None] = {}
    for path in paths:
        names = path.split("/")
        if not all(_NAME.fullmatch(name) and name not in (".", "..") for name in names):
            raise ReleaseError(f"{path!r}: not a path within a release; build the release anew")
        for parent in reversed(PurePosixPath(path).parents):
            if str(parent) != ".":
                folders[str(parent)] = None
    doubled = next((path for path in paths if path in folders or paths.count(path) > 1), None)
    if doubled is not None:
        raise ReleaseError(f"{doubled!r}: stands twice in the release, as two things; build the release anew")
    return sorted(folders, key=lambda folder: folder.count("/"))


def _put(path: Path, source: Source, room_for: Callable[[int], None]) -> None:
    try:
        os.link(source.blob, path, follow_symlinks=False)
    except FileNotFoundError:
        raise _gone(source) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        room_for(source.size_bytes)
        _copy(path, source)


def _copy(path: Path, source: Source) -> None:
    """Copy a blob, and sync the copy. Raises ReleaseError where it is damaged, OSError, StorageError."""
    read = open_regular(source.blob)
    if read is None:
        raise _gone(source)
    try:
        written = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            digest = hashlib.sha256()
            while portion := os.read(read, _COPY_BYTES):
                digest.update(portion)
                rest = memoryview(portion)
                while rest:
                    rest = rest[os.write(written, rest) :]
            if digest.hexdigest() != source.sha256:
                raise ReleaseError(f"{source.blob}: damaged; it has to be fetched again")
            os.fchmod(written, FILE_MODE)
            os.fsync(written)
        finally:
            os.close(written)
    finally:
        os.close(read)


def _gone(source: Source) -> ReleaseError:
    return ReleaseError(f"{source.blob}: not in the store; it has to be fetched again")
