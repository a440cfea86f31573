"""The folder that the client works in, and the limits of what it may fetch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface

from edge_agent.errors import ReleaseError, RepositoryRefusedError, StorageError
from edge_agent.update.floor import Floor, RoleFloor
from edge_agent.update.trusted import Trusted, TrustedFile
from edge_agent.update.working_copy import Bounded, Limits, WorkingCopy, trusted_root
from tests.update.simulator import Repository


class Parts(FetcherInterface):
    """Gives the same parts for every address."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter(self._parts)


def filled(folder: Path, repository: Repository) -> WorkingCopy:
    """A working copy in which the client has just verified the root, the timestamp and the snapshot."""
    scratch, kept = folder / "scratch", folder / "kept"
    for path in (scratch, kept, scratch / "root_history"):
        path.mkdir()
    root = repository.factory_root
    trusted = Trusted(generation=0, factory_sha256="0" * 64, metadata={"root": root}, floor=Floor())
    work = WorkingCopy(TrustedFile(kept), scratch, trusted, whole=False)
    (scratch / "root.json").write_bytes(root)
    for role in ("timestamp", "snapshot"):
        (scratch / f"{role}.json").write_bytes(repository.sign(role))
    return work


def test_what_the_client_verified_is_kept_and_raises_the_floor(tmp_path: Path) -> None:
    repository = Repository()
    work = filled(tmp_path, repository)
    floor = work.keep(Floor())
    assert {"root", "timestamp", "snapshot", "targets", "group-a", "group-b"} == set(floor.roles)
    loaded = TrustedFile(tmp_path / "kept").load()
    assert loaded is not None
    assert loaded.trusted == work.trusted
    assert (loaded.trusted.generation, set(loaded.trusted.metadata)) == (1, {"root", "timestamp", "snapshot"})


def test_the_same_again_is_not_written_again(tmp_path: Path) -> None:
    work = filled(tmp_path, Repository())
    floor = work.keep(Floor())
    assert work.keep(floor) == floor
    assert work.trusted.generation == 1


def test_a_role_that_the_snapshot_does_not_list_is_not_kept(tmp_path: Path) -> None:
    repository = Repository()
    work = filled(tmp_path, repository)
    for role in ("group-a", "group-z"):
        (tmp_path / "scratch" / f"{role}.json").write_bytes(repository.sign("group-a"))
    work.keep(Floor())
    assert set(work.trusted.metadata) == {"root", "timestamp", "snapshot", "group-a"}


def test_below_the_floor_only_the_root_goes_on(tmp_path: Path) -> None:
    repository = Repository()
    work = filled(tmp_path, repository)
    repository.rotate("root")
    newer = repository.files["metadata/2.root.json"]
    (tmp_path / "scratch" / "root.json").write_bytes(newer)
    (tmp_path / "scratch" / "root_history" / "2.root.json").write_bytes(newer)
    floor = Floor(roles={"root": RoleFloor(version=3)})
    with pytest.raises(RepositoryRefusedError, match="root 2, 3 was seen before"):
        work.keep(floor)
    assert work.trusted.metadata == {"root": newer}


def test_a_scratch_that_cannot_be_read_is_the_disks_fault(tmp_path: Path) -> None:
    work = filled(tmp_path, Repository())
    (tmp_path / "scratch" / "timestamp.json").unlink()
    (tmp_path / "scratch" / "timestamp.json").mkdir()
    with pytest.raises(StorageError):
        work.keep(Floor())


def test_no_signed_length_lifts_the_limits() -> None:
    limits = Limits(root_bytes=10, timestamp_bytes=10, snapshot_bytes=10, targets_bytes=20, session_bytes=50)
    assert Bounded(Parts(b"a" * 20), limits).download_bytes("memory:", 1 << 40) == b"a" * 20
    with pytest.raises(DownloadLengthMismatchError, match="more than 20"):
        Bounded(Parts(b"a" * 20, b"a"), limits).download_bytes("memory:", 1 << 40)
    with pytest.raises(DownloadLengthMismatchError, match="more than 5"):
        Bounded(Parts(b"a" * 6), limits).download_bytes("memory:", 5)


def test_a_session_has_a_limit_of_its_own() -> None:
    bounded = Bounded(Parts(b"a" * 20), Limits(session_bytes=50))
    for _ in range(2):
        bounded.download_bytes("memory:", 100)
    with pytest.raises(DownloadLengthMismatchError, match="more than 10"):
        bounded.download_bytes("memory:", 100)


def test_a_root_that_is_none_is_said() -> None:
    with pytest.raises(ReleaseError, match="start anew"):
        trusted_root(b"{}")
