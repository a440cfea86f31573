"""The manifests that the store keeps, by digest, and the wrapped keys of sealed releases beside them.

    manifests/<sha256>.json        the manifest of that digest
    manifests/<sha256>.keys.json   the wrapped keys of its sealed blobs; signed by itself, and no part of the digest

Rules: a manifest is read anew each time and is one only where its digest is its name. One that was installed stands in the
release's folder too: whichever is good counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from pathlib import Path

from edge_agent.atomic import write_atomic
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.release.manifest import KEYS_NAME, MANIFEST_NAME, MAX_KEYS_BYTES, MAX_MANIFEST_BYTES, parse_manifest
from edge_agent.update.state_files import clear_way, names_in, read_regular, remove

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Manifests:
    """The manifests in `folder`. `releases` is where releases are installed, each in a folder named by its manifest."""

    def __init__(self, folder: Path, releases: Path) -> None:
        self._folder = folder
        self._releases = releases

    def put(self, data: bytes) -> str:
        """Keep a manifest, durably; its digest. Raises ReleaseError, StorageError."""
        parse_manifest(data, "the manifest")
        sha256 = hashlib.sha256(data).hexdigest()
        _write(self._folder / f"{sha256}.json", data, MAX_MANIFEST_BYTES)
        return sha256

    def get(self, sha256: str) -> bytes | None:
        """The manifest of that digest; None where none is good. Raises ReleaseError for what is no digest, StorageError."""
        for path in (self._folder / f"{checked(sha256)}.json", self._releases / sha256 / MANIFEST_NAME):
            data = read_regular(path, MAX_MANIFEST_BYTES)
            if data and hashlib.sha256(data).hexdigest() == sha256:
                return data
        return None

    def put_keys(self, sha256: str, data: bytes) -> None:
        """Keep the keys of a manifest's blobs, durably, in place of those before. Raises ReleaseError, StorageError."""
        if len(data) > MAX_KEYS_BYTES:
            raise StorageError(f"{len(data)} bytes of keys, {MAX_KEYS_BYTES} are allowed; not kept")
        _write(self._folder / f"{checked(sha256)}.{KEYS_NAME}", data, MAX_KEYS_BYTES)

    def keys(self, sha256: str) -> bytes | None:
        """The keys of a manifest's blobs; None where there are none. Raises ReleaseError, StorageError."""
        return read_regular(self._folder / f"{checked(sha256)}.{KEYS_NAME}", MAX_KEYS_BYTES) or None

    def collect(self, needed: Collection[str]) -> int:
        """Remove all but the `needed` ones; the bytes that this frees. Raises StorageError."""
        unneeded = [name for name in names_in(self._folder) if is_digest(name[:64]) and name[:64] not in needed]
        return sum(remove(self._folder / name) for name in unneeded)


def is_digest(name: str) -> bool:
    """Whether `name` is a SHA-256 in lower-case hexadecimal."""
    return _DIGEST.fullmatch(name) is not None


def checked(sha256: str) -> str:
    """`sha256`, which becomes a part of a path. Raises ReleaseError where it is none."""
    if not is_digest(sha256):
        raise ReleaseError(f"{sha256!r} is no digest")
    return sha256


def _write(path: Path, data: bytes, max_bytes: int) -> None:
    """Write a file unless it holds that already."""
    if read_regular(path, max_bytes) != data:
        clear_way(path)
        write_atomic(path, data)
