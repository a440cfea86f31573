"""The releases on this device: blobs by digest, manifests, and one folder a release, in the update folder.

    blobs/<sha256>                verified bytes; each stands once, whatever releases share it
    parts/<sha256>                a blob on its way in (`part`)
    manifests/<sha256>.json       the manifest of that digest; <sha256>.keys.json: the wrapped keys of its sealed blobs
    releases/<sha256>/            the release of the manifest of that digest (`assembly`)

Rules:
* What is there under its name is whole and durable; temporary names begin with a dot and are worth nothing. So every step may
  be cut off, and is simply done again.
* Nothing here decides what is active: that is the record's alone. `collect` is told what must stay.
* A blob has the right size when it is there; its bytes are hashed by whoever loads them, and by `verify`.
* One owner at a time: the agent and its children take turns. Symbolic links are not followed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection
from pathlib import Path

from edge_agent.atomic import fsync_folder, make_folder
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.release.manifest import (
    KEYS_NAME,
    MANIFEST_NAME,
    MAX_KEYS_BYTES,
    Component,
    Manifest,
    Stored,
    parse_manifest,
    stored_form,
)
from edge_agent.update.assembly import FILE_MODE, FOLDER_MODE, Source, assemble
from edge_agent.update.manifests import Manifests, checked, is_digest
from edge_agent.update.part import Part
from edge_agent.update.state_files import clear_way, names_in, open_regular, read_regular, remove, size_of

BLOBS, PARTS, MANIFESTS, RELEASES = "blobs", "parts", "manifests", "releases"
_READ_BYTES = 1 << 20

Merge = Callable[[Path, Path, Path], None]
"""Makes a component of base and adapter, and writes it to a new path. Raises ReleaseError, OSError, StorageError."""


class Store:
    """The store in one folder, which must exist. `prepare` comes first in every process that writes."""

    def __init__(self, folder: Path, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._manifests = Manifests(folder / MANIFESTS, folder / RELEASES)
        self._monotonic_s = monotonic_s

    def prepare(self) -> None:
        """Make the folders, and remove what an interrupted step left under temporary names. Raises StorageError."""
        for name in (BLOBS, PARTS, MANIFESTS, RELEASES):
            folder = self._folder / name
            _make(folder)
            for entry in names_in(folder):
                if entry.startswith("."):
                    remove(folder / entry)

    # Manifests

    def put_manifest(self, data: bytes) -> str:
        """Keep a manifest, durably; its digest, which is its name from now on. Raises ReleaseError, StorageError."""
        return self._manifests.put(data)

    def has_manifest(self, manifest_sha256: str) -> bool:
        """Whether the manifest is there, undamaged. Raises ReleaseError for what is no digest, StorageError."""
        return self._manifests.get(manifest_sha256) is not None

    def manifest(self, manifest_sha256: str) -> Manifest:
        """The manifest of that digest. Raises ReleaseError where it is missing or damaged, StorageError."""
        return parse_manifest(self._manifest_bytes(manifest_sha256), manifest_sha256)

    def put_keys(self, manifest_sha256: str, data: bytes) -> None:
        """Keep the wrapped keys of a manifest's sealed blobs, durably, in place of those that were there. Raises StorageError."""
        self._manifests.put_keys(manifest_sha256, data)

    # Blobs

    def has(self, stored: Stored) -> bool:
        """Whether a blob of that name and size is there. Raises StorageError."""
        return self._has(stored.sha256, stored.size_bytes)

    def missing(self, manifest: Manifest) -> list[tuple[str, Stored]]:
        """What has to be fetched: each blob once, with the first component that it is. Raises ReleaseError, StorageError."""
        wanted: dict[str, tuple[str, Stored]] = {}
        for path, component in manifest.components.items():
            if component.merged is None:
                stored = stored_form(path, component)
                wanted.setdefault(stored.sha256, (path, stored))
        return [(path, stored) for path, stored in wanted.values() if not self.has(stored)]

    def missing_bytes(self, manifest: Manifest) -> int:
        """How many bytes these have, less what stands in parts of them. Raises ReleaseError, StorageError."""
        return sum(stored.size_bytes - self._begun_bytes(stored) for _, stored in self.missing(manifest))

    def unmerged_bytes(self, manifest: Manifest) -> int:
        """How many bytes the components have that are yet to be merged on the device. Raises StorageError."""
        made = {component.sha256: component.size_bytes for component in manifest.components.values() if component.merged}
        return sum(size_bytes for sha256, size_bytes in made.items() if not self._has(sha256, size_bytes))

    def part(self, stored: Stored) -> Part:
        """The blob on its way in."""
        return Part(stored, self._path(PARTS, stored.sha256), self._path(BLOBS, stored.sha256), self._monotonic_s)

    # Releases

    def release_folder(self, manifest_sha256: str) -> Path | None:
        """Where the release stands, whole; None where it was not installed. Raises StorageError."""
        folder = self._path(RELEASES, manifest_sha256)
        try:
            return folder if stat.S_ISDIR(os.lstat(folder).st_mode) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{folder}: {error.strerror}; check the disk") from error

    def install(self, manifest_sha256: str, min_free_bytes: int = 0, merge: Merge | None = None) -> Path:
        """Make the release's folder of its blobs, durably; nothing where it stands already. The folder.

        Raises ReleaseError where a blob is missing or a merged component does not come out as declared, StorageError; what
        was there before is still there then.
        """
        data = self._manifest_bytes(manifest_sha256)
        manifest = parse_manifest(data, manifest_sha256)
        documents = {MANIFEST_NAME: data, **self._keys(manifest_sha256, manifest)}
        sources = {path: self._source(path, component) for path, component in manifest.components.items()}
        folder = self._path(RELEASES, manifest_sha256)
        if self.release_folder(manifest_sha256) is not None:
            if self._is_whole(folder, sources, documents):
                return folder
            self._manifests.put(data)  # the folder's may be the only one
            self._take_away([folder])
        for path, component in manifest.components.items():
            if component.merged is not None and not self._has(component.sha256, component.size_bytes):
                self._merge(path, component, sources, min_free_bytes, merge)
        for path, source in sources.items():
            if not self._has(source.sha256, source.size_bytes):
                raise ReleaseError(f"release {manifest.id}: {path}: its blob is not in the store; it has to be fetched again")
        remove(folder)
        assemble(folder, sources, documents, lambda size_bytes: self.room_for(size_bytes, min_free_bytes))
        return folder

    def verify(self, manifest_sha256: str) -> list[str]:
        """Hash all that the release consists of; what is damaged or missing, as paths below the store. Raises StorageError."""
        data = self._manifests.get(manifest_sha256)
        if data is None:
            return [f"{MANIFESTS}/{manifest_sha256}.json", f"{RELEASES}/{manifest_sha256}"]
        manifest = parse_manifest(data, manifest_sha256)
        checked: dict[tuple[int, int], bool] = {}
        damaged: dict[str, None] = {}
        installed = self.release_folder(manifest_sha256)
        for path, component in manifest.components.items():
            source = self._source(path, component)
            names = [f"{BLOBS}/{source.sha256}"]
            if installed is not None:
                names.append(f"{RELEASES}/{manifest_sha256}/{path}")
            damaged.update((name, None) for name in names if not self._is_good(name, source.sha256, checked))
        if installed is not None and not self._is_good(f"{RELEASES}/{manifest_sha256}/{MANIFEST_NAME}", manifest_sha256, checked):
            damaged[f"{RELEASES}/{manifest_sha256}/{MANIFEST_NAME}"] = None
        return list(damaged)

    def discard(self, names: Collection[str]) -> None:
        """Remove what `verify` named; of an installed release all, so that it is made anew. Raises StorageError."""
        releases: dict[Path, None] = {}
        for name in names:
            kind, _, rest = name.partition("/")
            first = rest.partition("/")[0]
            if kind not in (BLOBS, MANIFESTS, RELEASES) or first in ("", ".", ".."):
                raise ValueError(f"{name!r} is not in the store")
            if kind == RELEASES:
                releases[self._folder / RELEASES / first] = None
            else:
                remove(self._folder / kind / first)
        self._take_away(list(releases))
        for kind in (BLOBS, MANIFESTS):
            fsync_folder(self._folder / kind)

    def collect(self, needed: Collection[str]) -> int:
        """Remove what the releases of the manifests `needed` do not need; the bytes that this frees. Raises StorageError.

        Where a needed manifest cannot be read, no blob is removed: nobody knows then which ones it names.
        """
        kept: set[str] | None = set()
        for sha256 in needed:
            kept = self._with_blobs_of(sha256, kept)
        releases = self._folder / RELEASES
        freed = self._take_away([releases / name for name in names_in(releases) if is_digest(name) and name not in needed])
        freed += self._manifests.collect(needed)
        if kept is None:
            return freed
        for kind in (BLOBS, PARTS):
            for name in names_in(self._folder / kind):
                done = kind == PARTS and size_of(self._folder / BLOBS / name) is not None
                if is_digest(name) and (name not in kept or done):
                    freed += remove(self._folder / kind / name)
        return freed

    # Room

    def free_bytes(self) -> int:
        """What an ordinary process may still write to the file system. Raises StorageError."""
        try:
            found = os.statvfs(self._folder)
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror}; check the disk") from error
        return found.f_bavail * found.f_frsize

    def room_for(self, size_bytes: int, min_free_bytes: int) -> None:
        """Raises StorageError where `size_bytes` more would leave less than `min_free_bytes` free."""
        free = self.free_bytes()
        if free - size_bytes < min_free_bytes:
            raise StorageError(
                f"{self._folder}: {size_bytes:,} bytes are to be written and {min_free_bytes:,} must stay free, but only"
                f" {free:,} are free; make room, or lower `update.min_free_bytes`"
            )

    # Within

    def _path(self, kind: str, sha256: str) -> Path:
        return self._folder / kind / checked(sha256)

    def _manifest_bytes(self, sha256: str) -> bytes:
        data = self._manifests.get(sha256)
        if data is None:
            raise ReleaseError(f"manifest {sha256}: not in the store, or damaged; it has to be looked up again")
        return data

    def _keys(self, sha256: str, manifest: Manifest) -> dict[str, bytes]:
        """The keys of a release with sealed blobs, by the name of their file; nothing for one without."""
        if not any(component.stored is not None and component.stored.sealed for component in manifest.components.values()):
            return {}
        data = self._manifests.keys(sha256)
        if data is None:
            raise ReleaseError(f"release {manifest.id}: is sealed, but its keys are not in the store; look it up again")
        return {KEYS_NAME: data}

    def _source(self, path: str, component: Component) -> Source:
        if component.merged is not None:
            return Source(self._path(BLOBS, component.sha256), component.sha256, component.size_bytes)
        stored = stored_form(path, component)
        return Source(self._path(BLOBS, stored.sha256), stored.sha256, stored.size_bytes)

    def _has(self, sha256: str, size_bytes: int) -> bool:
        return size_of(self._path(BLOBS, sha256)) == size_bytes

    def _begun_bytes(self, stored: Stored) -> int:
        try:
            found = os.lstat(self._path(PARTS, stored.sha256))
        except OSError:
            return 0
        # A hole has a size and no bytes.
        return min(found.st_size, found.st_blocks * 512, stored.size_bytes) if stat.S_ISREG(found.st_mode) else 0

    def _merge(
        self, path: str, component: Component, sources: dict[str, Source], min_free_bytes: int, merge: Merge | None
    ) -> None:
        """Make a component of two others, and a blob of it. Raises ReleaseError, StorageError."""
        if merge is None or component.merged is None:
            raise ReleaseError(f"{path}: has to be merged on the device, which this agent cannot do")
        base, adapter = sources[component.merged.base], sources[component.merged.adapter]
        self.room_for(max(component.size_bytes, base.size_bytes), min_free_bytes)  # what comes out is as long as the base
        out = self._folder / PARTS / f".{component.sha256}.merged"
        remove(out)
        try:
            merge(base.blob, adapter.blob, out)
            if size_of(out) != component.size_bytes or _digest(out) != component.sha256:
                raise ReleaseError(f"{path}: merging did not give the bytes that the manifest declares")
            self._keep(out, self._path(BLOBS, component.sha256))
        except OSError as error:
            raise StorageError(f"{out}: {error.strerror}; check the disk: free space, mount state, health") from error
        finally:
            with contextlib.suppress(StorageError):
                remove(out)

    def _keep(self, made: Path, blob: Path) -> None:
        """Sync a file and give it its name among the blobs. Raises OSError, StorageError."""
        fd = open_regular(made)
        if fd is None:
            raise StorageError(f"{made}: gone")
        try:
            os.fchmod(fd, FILE_MODE)
            os.fsync(fd)
        finally:
            os.close(fd)
        clear_way(blob)
        os.replace(made, blob)
        fsync_folder(blob.parent)

    def _is_whole(self, folder: Path, sources: dict[str, Source], documents: dict[str, bytes]) -> bool:
        """Whether everything is in the folder of a release, by size, and its documents are these."""
        return all(size_of(folder / path) == source.size_bytes for path, source in sources.items()) and all(
            read_regular(folder / name, MAX_KEYS_BYTES) == data for name, data in documents.items()
        )

    def _is_good(self, name: str, sha256: str, checked: dict[tuple[int, int], bool]) -> bool:
        """Whether a file has that digest; one that has two names is read once."""
        path = self._folder / name
        try:
            found = os.lstat(path)
        except OSError:
            return False
        key = (found.st_dev, found.st_ino)
        if key not in checked:
            checked[key] = _digest(path) == sha256
        return checked[key]

    def _take_away(self, folders: list[Path]) -> int:
        """Remove folders of releases so that none of them is ever there in part; the bytes that this frees."""
        gone = [folder.with_name(f".{folder.name}.gone") for folder in folders]
        if not gone:
            return 0
        try:
            for folder, away in zip(folders, gone, strict=True):
                remove(away)
                with contextlib.suppress(FileNotFoundError):
                    os.rename(folder, away)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be removed: {error.strerror}; check the disk") from error
        fsync_folder(self._folder / RELEASES)
        freed = sum(remove(away) for away in gone)
        fsync_folder(self._folder / RELEASES)
        return freed

    def _with_blobs_of(self, sha256: str, kept: set[str] | None) -> set[str] | None:
        try:
            manifest = self.manifest(sha256)
        except (ReleaseError, StorageError):
            return None
        if kept is None:
            return None
        return kept | {self._source(path, component).sha256 for path, component in manifest.components.items()}


def _make(folder: Path) -> None:
    """Make a folder of the store. Raises StorageError, also where a link or a file stands there."""
    try:
        if os.path.lexists(folder):
            if not stat.S_ISDIR(os.lstat(folder).st_mode):
                raise StorageError(f"{folder}: is no folder; remove it")
            return
        make_folder(folder, FOLDER_MODE)
        os.chmod(folder, FOLDER_MODE)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}; check the disk and the folder's permissions") from error


def _digest(path: Path) -> str | None:
    """The SHA-256 of a regular file; None where it cannot be read to its end."""
    try:
        fd = open_regular(path)
    except StorageError:
        return None
    if fd is None:
        return None
    try:
        digest = hashlib.sha256()
        while portion := os.read(fd, _READ_BYTES):
            digest.update(portion)
        return digest.hexdigest()
    except OSError:
        return None
    finally:
        os.close(fd)
