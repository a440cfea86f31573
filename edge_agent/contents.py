"""What stands in the folder of a release: its components, each compared with the manifest, opened where it is sealed.

Rules: a component is handed out whole and verified, or not at all. What is sealed is in the clear in memory only, or, for as long
as native code reads it by its name, in files: of memory, or in a folder that the operator named for it. Where a file is as
long as the component itself, as in the folder that a release was built in, it is taken for that, and no key is asked for.
Regular files alone are read, and nothing is waited for. Links are followed where a person or an image builder made the folder,
who may have reasons for them; in the agent's own store there are none.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from edge_agent.device_key import open_keys
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.regular_file import open_regular
from edge_agent.release.group_keys import GroupKey
from edge_agent.release.manifest import KEYS_NAME, MANIFEST_NAME, MAX_KEYS_BYTES, MAX_MANIFEST_BYTES, check_parts, parse_manifest
from edge_agent.release.sealing import open_sealed, seal_of

_PART_BYTES = 1 << 20
_CLEAR = "edge-agent-clear"
"""Begins the names of folders in the clear; the number of the process that made one follows."""


class Contents:
    """The components of a release in its folder."""

    def __init__(self, folder: Path, key_file: str = "", *, follow_links: bool = True) -> None:
        """Read the manifest, and where something is sealed the keys, with the device's own key in `key_file`.

        Without `follow_links` a link in the folder is a file that cannot be read. Raises ReleaseError that names the file and
        what is wrong, also for the device's key: the release cannot be used then.
        """
        self.folder = folder
        self._follow_links = follow_links
        self.manifest = parse_manifest(self._small(MANIFEST_NAME, MAX_MANIFEST_BYTES), str(folder / MANIFEST_NAME))
        self._sealed = frozenset(name for name in self.manifest.components if self._is_sealed(name))
        self._keys: Mapping[str, GroupKey] = self._open_keys(key_file) if self._sealed else {}

    @property
    def is_sealed(self) -> bool:
        """Whether the files in the folder are not all what the components are."""
        return bool(self._sealed)

    def read(self, name: str) -> bytes:
        """A component, verified. Raises ReleaseError that names the file and what is wrong with it."""
        out = io.BytesIO()  # gives its buffer away without a copy, unlike a list of parts that is joined
        self._copy(name, out)
        return out.getvalue()

    def check(self, name: str) -> None:
        """Compare a component with the manifest, a part at a time, so that a large one takes no memory. Raises ReleaseError."""
        if name in self._sealed:
            for _ in self._parts(name):  # verified as it is opened, the last part with the whole
                pass
        else:
            check_parts(self.manifest, name, self._parts(name))

    @contextlib.contextmanager
    def in_the_clear(self, names: Iterable[str], below: str = "") -> Iterator[Path]:
        """A folder that holds these components under their paths, for this user alone, until the block ends.

        It stands below the folder `below`. Without one it has only links to files of this process's memory, and stands
        where temporary files do. What a process that was killed left there is removed. Raises ReleaseError, StorageError.
        """
        above = Path(below or tempfile.gettempdir())
        folder = above / f"{_CLEAR}-{os.getpid()}-{secrets.token_hex(8)}"
        with contextlib.ExitStack() as held:
            held.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                _remove_left_behind(above)
                folder.mkdir(mode=0o700)
                for name in names:
                    (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    file = held.enter_context(_file_of_memory(folder / name) if not below else _file(folder / name))
                    self._copy(name, file)
                    file.flush()
            except OSError as error:
                why = f"{error.strerror}; check that there is room, and `update.decrypt_folder`"
                raise StorageError(f"{folder}: not written: {why}") from error
            yield folder

    def _copy(self, name: str, out: BinaryIO) -> None:
        """Write a component to `out`, a part at a time. Raises ReleaseError; what was written then is worth nothing."""
        if name in self._sealed:
            out.writelines(self._parts(name))
        else:
            check_parts(self.manifest, name, _written(out, self._parts(name)))

    def _parts(self, name: str) -> Iterator[bytes]:
        """A component as it is meant to be, verified only where it is sealed."""
        found = self._file(name)
        if name not in self._sealed:
            return found
        path = str(self.folder / name)
        return open_sealed(path, found, self.manifest.components[name], self._keys[seal_of(self.manifest, name)])

    def _file(self, name: str) -> Iterator[bytes]:
        """What stands in a file of the folder, in parts. Raises ReleaseError."""
        path = self.folder / name
        try:
            if not self._follow_links and os.path.realpath(path) != os.path.join(os.path.realpath(self.folder), name):
                raise ReleaseError(f"{path}: is a link, or stands behind one; install the release again")
            with open(open_regular(path, follow_links=self._follow_links), "rb", buffering=0) as file:
                while part := file.read(_PART_BYTES):
                    yield part
        except OSError as error:
            raise ReleaseError(f"{path}: cannot be read: {error.strerror}; install the release again") from error

    def _small(self, name: str, max_bytes: int) -> bytes:
        """The content of a small file, or more of it than is taken. Raises ReleaseError."""
        data = bytearray()
        for part in self._file(name):
            data += part
            if len(data) > max_bytes:
                break
        return bytes(data)

    def _is_sealed(self, name: str) -> bool:
        """Whether the file is not the component itself; what is sealed is always longer."""
        if not seal_of(self.manifest, name):
            return False
        try:
            return (self.folder / name).stat().st_size != self.manifest.components[name].size_bytes
        except OSError:
            return True  # whoever reads it is told

    def _open_keys(self, key_file: str) -> Mapping[str, GroupKey]:
        path = self.folder / KEYS_NAME
        try:
            return open_keys(self.manifest, self._small(KEYS_NAME, MAX_KEYS_BYTES), str(path), key_file)
        except StorageError as error:
            raise ReleaseError(f"{self.manifest.id}: is sealed, and this device's key cannot be used: {error}") from error


def _written(out: BinaryIO, parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts, each when it is written to `out`."""
    for part in parts:
        out.write(part)
        yield part


def _file(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb")


def _file_of_memory(path: Path) -> BinaryIO:
    """A new file of memory, for as long as it is open, with a link at `path` by which this process alone reaches it."""
    file = open(os.memfd_create(path.name), "wb")  # noqa: SIM115 - the caller holds it open for as long as it is read
    path.symlink_to(f"/proc/self/fd/{file.fileno()}")
    return file


def _remove_left_behind(below: Path) -> None:
    """Remove the folders of processes that are not any more. Raises OSError."""
    for path in below.glob(f"{_CLEAR}-*-*"):
        owner = path.name.removeprefix(f"{_CLEAR}-").partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)
