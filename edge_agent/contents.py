"""What stands in the folder of a release: its components, each compared with the manifest, opened where it is sealed.

Rules: a component is handed out whole and verified, or not at all. What is sealed is in the clear in memory only, or in a folder
that the operator named for it, such as one of a tmpfs: under a name of its own, for its owner alone, and whole or not there.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from edge_agent.errors import ReleaseError, StorageError
from edge_agent.release.group_keys import GroupKey
from edge_agent.release.manifest import MANIFEST_NAME, Manifest, check_component, encode_manifest
from edge_agent.release.sealing import open_sealed, seal_of, seals

_PART_BYTES = 1 << 20


class Contents:
    """The components of a release in its folder."""

    def __init__(self, folder: Path, manifest: Manifest, keys: Mapping[str, GroupKey] | None = None) -> None:
        """`keys` are the group keys that the release is sealed with, by id; none for one in the clear."""
        self.folder = folder
        self.manifest = manifest
        self._keys = keys or {}

    @property
    def is_sealed(self) -> bool:
        """Whether the files in the folder are not all what the components are."""
        return bool(seals(self.manifest))

    def read(self, name: str) -> bytes:
        """A component, verified. Raises ReleaseError that names the file and what is wrong with it."""
        key_id = seal_of(self.manifest, name)
        out = io.BytesIO()  # gives its buffer away without a copy, unlike a list of parts that is joined
        out.writelines(self._opened(name, key_id) if key_id else self._parts(name))
        data = out.getvalue()
        if not key_id:
            check_component(self.manifest, name, data)
        return data

    def write_clear(self, folder: Path) -> None:
        """Make `folder`, which must not be there, the folder of the same release in the clear.

        It is whole when it is there; nothing is synced, because nothing of it is to outlast the memory it stands in. Its manifest
        says nothing of how components are stored. Raises ReleaseError, StorageError.
        """
        making = folder.with_name(f".{folder.name}.making")
        try:
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(mode=0o700)
            for name in self.manifest.components:
                (making / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write(making / name, self._clear(name))
            _write(making / MANIFEST_NAME, [encode_manifest(_in_the_clear(self.manifest))])
            os.rename(making, folder)
        except OSError as error:
            raise StorageError(f"{folder}: not written: {error.strerror}; check that the folder has room") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _clear(self, name: str) -> Iterable[bytes]:
        key_id = seal_of(self.manifest, name)
        return self._opened(name, key_id) if key_id else [self.read(name)]

    def _opened(self, name: str, key_id: str) -> Iterator[bytes]:
        key = self._keys.get(key_id)
        if key is None:
            raise ReleaseError(f"{self.folder / name}: is sealed with the group key {key_id}, which is not at hand")
        return open_sealed(str(self.folder / name), self._parts(name), self.manifest.components[name], key)

    def _parts(self, name: str) -> Iterator[bytes]:
        """The bytes of the file, at most a part more than the component may have."""
        path = self.folder / name
        try:
            with path.open("rb", buffering=0) as file:
                while part := file.read(_PART_BYTES):
                    yield part
        except OSError as error:
            raise ReleaseError(f"{path}: cannot be read: {error.strerror}; install the release again") from error


def _in_the_clear(manifest: Manifest) -> Manifest:
    components = {name: replace(each, stored=None, merged=None) for name, each in manifest.components.items()}
    return replace(manifest, components=components)


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
        file.writelines(parts)
