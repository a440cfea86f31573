"""What stands in the folder of a release: its components, each compared with the manifest, opened where it is sealed.

Rules: a component is handed out whole and verified, or not at all. What is sealed is in the clear in memory only, or, for as long
as it is looked at by native code that reads files by their names, in a folder that the operator named for it.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from edge_agent.device_key import open_keys
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.release.group_keys import KEYS_NAME, MAX_KEYS_BYTES, GroupKey
from edge_agent.release.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest, check_component, parse_manifest
from edge_agent.release.sealing import open_sealed, seal_of, seals

_PART_BYTES = 1 << 20
_CLEAR = "edge-agent-clear"
"""Begins the names of folders in the clear; the number of the process that made one follows."""


class Contents:
    """The components of a release in its folder. Build it with `open`, or of what is known already."""

    def __init__(self, folder: Path, manifest: Manifest, keys: Mapping[str, GroupKey] | None = None) -> None:
        """`keys` are the group keys that the release is sealed with, by id; none for one in the clear."""
        self.folder = folder
        self.manifest = manifest
        self._keys = keys or {}

    @classmethod
    def open(cls, folder: Path, key_file: str = "") -> Self:
        """Read the manifest and, where it is sealed, the keys, with the device's own key in `key_file`.

        Raises ReleaseError that names the file and what is wrong, also for the device's key: the release cannot be used then.
        """
        path, wrapped = folder / MANIFEST_NAME, folder / KEYS_NAME
        manifest = parse_manifest(_small(path, MAX_MANIFEST_BYTES), str(path))
        if not seals(manifest):
            return cls(folder, manifest)
        keys = _small(wrapped, MAX_KEYS_BYTES)
        try:
            return cls(folder, manifest, open_keys(manifest, keys, str(wrapped), key_file))
        except StorageError as error:
            raise ReleaseError(f"{manifest.id}: is sealed, and this device's key cannot be used: {error}") from error

    @property
    def is_sealed(self) -> bool:
        """Whether the files in the folder are not all what the components are."""
        return bool(seals(self.manifest))

    def read(self, name: str) -> bytes:
        """A component, verified. Raises ReleaseError that names the file and what is wrong with it."""
        out = io.BytesIO()  # gives its buffer away without a copy, unlike a list of parts that is joined
        out.writelines(self._parts(name))
        data = out.getvalue()
        if not seal_of(self.manifest, name):
            check_component(self.manifest, name, data)
        return data

    @contextlib.contextmanager
    def in_the_clear(self, names: Iterable[str], below: Path) -> Iterator[Path]:
        """A folder below `below` that holds these components under their paths, for its owner alone, until the block ends.

        What a process that was killed left there is removed. Raises ReleaseError, StorageError.
        """
        folder = below / f"{_CLEAR}-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            try:
                _remove_left_behind(below)
                folder.mkdir(mode=0o700)
                for name in names:
                    self._write(folder / name, name)
            except OSError as error:
                why = f"{error.strerror}; check `update.decrypt_folder`, and its room"
                raise StorageError(f"{folder}: not written: {why}") from error
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _write(self, path: Path, name: str) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.writelines(self._parts(name) if seal_of(self.manifest, name) else [self.read(name)])

    def _parts(self, name: str) -> Iterator[bytes]:
        """A component as it is meant to be, verified only where it is sealed."""
        path, key_id = self.folder / name, seal_of(self.manifest, name)
        if not key_id:
            return _parts(path)
        key = self._keys.get(key_id)
        if key is None:
            raise ReleaseError(f"{path}: is sealed with the group key {key_id}, which is not at hand")
        return open_sealed(str(path), _parts(path), self.manifest.components[name], key)


def _small(path: Path, max_bytes: int) -> bytes:
    """The content of a small file, or one byte more of it than is taken. Raises ReleaseError."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be read: {error.strerror}; install the release again") from error


def _parts(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while part := file.read(_PART_BYTES):
                yield part
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be read: {error.strerror}; install the release again") from error


def _remove_left_behind(below: Path) -> None:
    """Remove the folders of processes that are not any more. Raises OSError."""
    for path in below.glob(f"{_CLEAR}-*-*"):
        owner = path.name.removeprefix(f"{_CLEAR}-").partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)
