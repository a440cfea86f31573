"""The folder that python-tuf's client works in, and what of it is kept; and the limits of what the client may fetch.

Rules: the working copy is filled from what is trusted and thrown away after the session. `keep` is the one way from there into
what is trusted: verified by the client, counted by key, held against the floor, written durably.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from msgspec import Struct
from tuf.api.exceptions import DownloadLengthMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import FetcherInterface

from edge_agent.errors import ReleaseError, RepositoryRefusedError, StorageError
from edge_agent.update.floor import ROOT, SNAPSHOT, TOP_LEVEL, Floor
from edge_agent.update.seen import checked_chain, seen_in
from edge_agent.update.trusted import Trusted, TrustedFile


class Limits(Struct, frozen=True, kw_only=True):
    """How much of a repository's metadata is taken."""

    root_bytes: int = 128 << 10
    timestamp_bytes: int = 16 << 10
    snapshot_bytes: int = 256 << 10
    targets_bytes: int = 1 << 20
    session_bytes: int = 8 << 20
    """Of all metadata in one session."""
    root_rotations: int = 64
    """In one session; the next goes on from there."""
    delegations: int = 32
    """Roles visited in search of one target."""


class WorkingCopy:
    """The working copy, and what of it is kept."""

    def __init__(self, file: TrustedFile, scratch: Path, trusted: Trusted, *, whole: bool) -> None:
        self.trusted = trusted
        self._file = file
        self._scratch = scratch
        self._whole = whole
        self._put(trusted)

    def keep(self, floor: Floor) -> Floor:
        """Make what the client verified durable, and raise `floor` by it. Raises RepositoryRefusedError, StorageError."""
        metadata, roots = self._found()
        checked_chain([self.trusted.metadata[ROOT], *roots])
        seen = seen_in(metadata)
        if below := floor.below(seen):
            # A newer root is one link more of its chain, whatever stands below it.
            self._save({**self.trusted.metadata, ROOT: metadata[ROOT]}, self.trusted.floor)
            raise RepositoryRefusedError("rollback", f"an older state of the repository: {'; '.join(below)}")
        raised = floor.raised(seen)
        listed = {name: data for name, data in metadata.items() if name in TOP_LEVEL or SNAPSHOT not in seen or name in seen}
        self._save(listed, raised)
        return raised

    def _save(self, metadata: dict[str, bytes], floor: Floor) -> None:
        """Write what is new, or what stands in one copy only."""
        if self._whole and metadata == self.trusted.metadata and floor == self.trusted.floor:
            return
        kept = Trusted(
            generation=self.trusted.generation + 1,
            factory_sha256=self.trusted.factory_sha256,
            metadata=metadata,
            floor=floor,
        )
        self._file.save(kept)
        self.trusted, self._whole = kept, True

    def _put(self, trusted: Trusted) -> None:
        try:
            for role, data in trusted.metadata.items():
                if role != ROOT:
                    (self._scratch / f"{quote(role, '')}.json").write_bytes(data)
        except OSError as error:
            raise StorageError(f"{self._scratch}: {error.strerror}; check free memory") from error

    def _found(self) -> tuple[dict[str, bytes], list[bytes]]:
        """What the client verified: by role, and the roots that are new, oldest first."""
        try:
            found = {unquote(path.name.removesuffix(".json")): path.read_bytes() for path in self._scratch.glob("*.json")}
            first = trusted_root(self.trusted.metadata[ROOT]).version + 1
            last = trusted_root(found[ROOT]).version
            history = self._scratch / "root_history"
            return found, [(history / f"{version}.root.json").read_bytes() for version in range(first, last + 1)]
        except OSError as error:
            raise StorageError(f"{self._scratch}: {error.strerror}; check free memory") from error


class Bounded(FetcherInterface):
    """The caller's fetcher, within limits that no signed length lifts."""

    def __init__(self, inner: FetcherInterface, limits: Limits) -> None:
        self._inner = inner
        self._most = max(limits.root_bytes, limits.timestamp_bytes, limits.snapshot_bytes, limits.targets_bytes)
        self._left = limits.session_bytes

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._inner.fetch(url)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """See `FetcherInterface`. In memory: metadata is small."""
        limit = min(max_length, self._most, self._left)
        data = bytearray()
        for part in self._inner.fetch(url):
            data += part
            if len(data) > limit:
                raise DownloadLengthMismatchError(f"{url} has more than {limit} bytes")
        self._left -= len(data)
        return bytes(data)


def trusted_root(data: bytes) -> Root:
    """The root in `data`, which was trusted before. Raises ReleaseError where it is none."""
    try:
        return Metadata[Root].from_bytes(data).signed
    except RepositoryError as error:
        raise ReleaseError(f"the root that is trusted is none: {error}; start anew from a good factory root") from error
