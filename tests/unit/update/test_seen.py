"""Reading verified metadata once more: versions, the keys behind them, and keys that are the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api import exceptions
from tuf.api.metadata import Metadata, MetaFile, Root

from edge_agent.errors import LinkError, RepositoryRefusedError, StorageError
from edge_agent.update.floor import MAX_ROLES, Floor
from edge_agent.update.jobs import Bundle, LookJob
from edge_agent.update.look import MAX_JOB_BYTES
from edge_agent.update.record_file import MAX_FILE_BYTES
from edge_agent.update.seen import ISSUED_FIELD, checked_chain, checked_role, seen_in, told, vouching_for_timestamp
from tests.update.simulator import Repository


def held(repository: Repository) -> dict[str, bytes]:
    """What a client that is up to date holds."""
    return {role: repository.sign(role) for role in ("root", "timestamp", "snapshot", "targets")}


def test_every_role_that_is_stated_is_seen_under_what_vouches_for_it() -> None:
    repository = Repository()
    repository.timestamp.version = 7
    seen = seen_in(held(repository))
    assert {role: entry.version for role, entry in seen.items()} == {
        "root": 1, "timestamp": 7, "snapshot": 1, "targets": 1, "group-a": 1, "group-b": 1,
    }  # fmt: skip
    assert seen["root"].bound_to == ""
    assert seen["targets"].bound_to == seen["group-a"].bound_to
    assert len({seen[role].bound_to for role in ("root", "timestamp", "snapshot", "targets")}) == 4
    assert seen["timestamp"].bound_to == vouching_for_timestamp(repository.factory_root)


@pytest.mark.parametrize(
    ("rotated", "changed"),
    [
        ("timestamp", {"timestamp", "snapshot"}),
        ("snapshot", {"snapshot", "targets", "group-a", "group-b"}),
        ("targets", set()),
        ("root", set()),
    ],
)
def test_a_rotation_changes_what_vouches_for_just_these(rotated: str, changed: set[str]) -> None:
    repository = Repository()
    before = seen_in(held(repository))
    repository.rotate(rotated)
    after = seen_in(held(repository))
    assert {role for role in before if before[role].bound_to != after[role].bound_to} == changed


def test_what_the_present_keys_do_not_stand_behind_is_not_seen() -> None:
    repository = Repository()
    old = held(repository)
    repository.rotate("timestamp", "snapshot", "targets")
    assert set(seen_in({**old, "root": repository.sign("root")})) == {"root"}


def test_a_snapshot_has_nothing_to_say_of_the_roles_above_it() -> None:
    repository = Repository()
    for role in ("root", "timestamp", "snapshot"):
        repository.snapshot.meta[f"{role}.json"] = MetaFile(999)
    assert {entry.version for entry in seen_in(held(repository)).values()} == {1}


@pytest.mark.parametrize("where", ["timestamp", "snapshot", "meta"])
def test_a_version_beyond_belief_is_refused_wherever_it_stands(where: str) -> None:
    repository = Repository()
    if where == "meta":
        repository.snapshot.meta["group-a.json"] = MetaFile(1 << 53)
    else:
        repository.signed(where).version = 1 << 53
    with pytest.raises(RepositoryRefusedError, match="version"):
        seen_in(held(repository))


def test_more_roles_than_a_record_has_room_for_are_refused() -> None:
    repository = Repository()
    listed = len(repository.snapshot.meta)
    repository.snapshot.meta.update({f"{number}": MetaFile(1) for number in range(MAX_ROLES - listed)})
    most = Floor(roles={f"{'x' * 250}{number}": entry for number, entry in enumerate(seen_in(held(repository)).values())})
    job = LookJob(
        place=Bundle(path="x"), group="a", trust_folder="t", root_file="r", now_s=0.0, build_time_s=0.0, known=most
    )  # fmt: skip
    assert len(msgspec.json.encode(job)) < min(MAX_JOB_BYTES, MAX_FILE_BYTES), "and the file of the record is no smaller"
    repository.snapshot.meta["one more"] = MetaFile(1)
    with pytest.raises(RepositoryRefusedError, match="roles"):
        seen_in(held(repository))


@pytest.mark.parametrize(
    ("days", "form", "counts"),
    [(-1, "%Y-%m-%dT%H:%M:%SZ", True), (1, "%Y-%m-%dT%H:%M:%SZ", False), (-1, "%d.%m.%Y", False), (-1, "", False)],
)
def test_a_signed_time_counts_where_it_is_one_and_not_after_the_expiry(days: int, form: str, counts: bool) -> None:
    repository = Repository()
    issued = repository.expires + timedelta(days=days)
    repository.timestamp.unrecognized_fields[ISSUED_FIELD] = issued.strftime(form) if form else 5
    assert seen_in(held(repository))["timestamp"].issued_s == (issued.timestamp() if counts else 0.0)


def test_a_chain_of_roots_is_counted_by_key() -> None:
    repository = Repository()
    repository.rotate("root")
    repository.rotate("root", "timestamp")
    roots = [repository.files[f"metadata/{version}.root.json"] for version in (1, 2, 3)]
    checked_chain(roots)
    with pytest.raises(RepositoryRefusedError):
        checked_chain([roots[0], roots[2]])


@pytest.mark.parametrize("generate", [CryptoSigner.generate_ed25519, CryptoSigner.generate_ecdsa])
def test_a_key_written_differently_is_the_same_key(generate: Callable[[], CryptoSigner]) -> None:
    repository = Repository()
    signer = generate()
    public = signer.public_key
    written = public.keyval["public"]
    other = written.upper() if public.keytype == "ed25519" else written.replace("\n", "\n\n", 1) + "\n"
    twin: Any = type(public)("f" * 64, public.keytype, public.scheme, {"public": other})
    repository.signers["snapshot"] = [signer, CryptoSigner(signer._private_key, twin)]
    for key in (public, twin):
        repository.root.add_key(key, "snapshot")
    repository.root.roles["snapshot"].threshold = 2
    root = Metadata[Root].from_bytes(repository.sign("root")).signed
    snapshot: Metadata[Any] = Metadata.from_bytes(repository.sign("snapshot"))
    root.verify_delegate("snapshot", snapshot.signed_bytes, snapshot.signatures)
    with pytest.raises(RepositoryRefusedError, match="1 different keys, 2 are needed"):
        checked_role(root, "snapshot", snapshot)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (exceptions.DownloadLengthMismatchError("x"), "too-long"),
        (exceptions.ExpiredMetadataError("x"), "expired"),
        (exceptions.EqualVersionNumberError("x"), "version"),
        (exceptions.UnsignedMetadataError("x"), "signature"),
        (exceptions.LengthOrHashMismatchError("x"), "mismatch"),
        (exceptions.RepositoryError("x"), "bad-metadata"),
        (RecursionError("x"), "bad-metadata"),
        (KeyError("x"), "bad-metadata"),
    ],
)
def test_what_was_sent_wrong_has_a_stable_reason(error: Exception, reason: str) -> None:
    problem = told(error)
    assert isinstance(problem, RepositoryRefusedError)
    assert problem.reason == reason


def test_the_network_and_the_disk_are_told_apart_from_it() -> None:
    assert isinstance(told(exceptions.DownloadHTTPError("gone", 404)), LinkError)
    assert isinstance(told(exceptions.SlowRetrievalError()), LinkError)
    assert isinstance(told(OSError(28, "No space left on device")), StorageError)
