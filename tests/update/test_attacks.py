"""What an attacker does who serves the repository, holds old states of it, damages the device's files or stole a key."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile
from tuf.ngclient import FetcherInterface
from tuf.ngclient._internal import trusted_metadata_set

from edge_agent.errors import EdgeAgentError, LinkError, RepositoryRefusedError, TrustLostError
from edge_agent.update.seen import ISSUED_FIELD
from edge_agent.update.trust import Trust
from edge_agent.update.trusted import COPIES, MARKER
from edge_agent.update.working_copy import Limits
from tests.update.device import RELEASE, Device
from tests.update.simulator import Repository, Served

State = dict[str, bytes]


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def device(memory: Path, repository: Repository) -> Device:
    return Device(memory / "update", repository.factory_root)


def refused(device: Device, files: State | FetcherInterface, name: str = RELEASE) -> str:
    """The reason for which nothing is named."""
    with pytest.raises(RepositoryRefusedError) as told:
        device.look(files, name)
    return told.value.reason


def test_a_new_release_is_named_with_its_role_length_and_place(device: Device, repository: Repository) -> None:
    assert device.look(repository.files) is not None
    repository.release()
    target = device.look(repository.files)
    assert target is not None
    assert (target.role, target.length) == ("group-a", len(b'{"counter": 2}'))
    assert repository.files[f"targets/{target.path}"] == b'{"counter": 2}'
    assert device.versions() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 1, "group-a": 2}


def test_what_no_role_names_is_none(device: Device, repository: Repository) -> None:
    assert device.look(repository.files, "groups/a/other.json") is None


def test_a_group_cannot_name_another_groups_release(device: Device, repository: Repository) -> None:
    del repository.groups["group-b"].targets["groups/b/release.json"]
    repository.add("group-a", "groups/b/release.json", b"a's idea of b's release")
    repository.publish()
    assert device.look(repository.files, "groups/b/release.json") is None


def test_asleep_through_many_rotations_in_which_all_keys_were_revoked(device: Device, repository: Repository) -> None:
    device.look(repository.files)
    stolen = {role: list(signers) for role, signers in repository.signers.items()}
    for _ in range(7):
        repository.rotate("root", "timestamp", "snapshot", "targets", "group-a", "group-b")
        repository.release()
    assert device.look(repository.files) is not None
    assert device.versions()["root"] == 8
    repository.signers["timestamp"] = stolen["timestamp"]
    repository.timestamp.version += 1
    repository.sign("timestamp")
    assert refused(device, repository.files) == "signature"


def test_more_rotations_than_a_session_takes_are_taken_in_several(memory: Path, repository: Repository) -> None:
    device = Device(memory / "update", repository.factory_root)
    device.trust = Trust(device.folder, repository.factory_root, limits=Limits(root_rotations=3))
    for _ in range(4):
        repository.rotate("root")
    repository.rotate("timestamp")
    with pytest.raises(EdgeAgentError):
        device.look(repository.files)
    assert device.versions()["root"] == 4
    assert device.look(repository.files) is not None


def test_a_root_that_the_one_before_did_not_sign_is_refused(device: Device, repository: Repository) -> None:
    device.look(repository.files)
    repository.give_keys("root", 3)
    repository.root.version += 1
    repository.sign("root")
    assert refused(device, repository.files) == "signature"
    assert device.versions()["root"] == 1


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "group-a"])
def test_a_rollback_signed_with_a_stolen_key_is_refused(device: Device, repository: Repository, role: str) -> None:
    for _ in range(2):
        repository.release()
        repository.targets.version += 1
        repository.publish()
    device.look(repository.files)
    held = device.versions()
    repository.signed(role).version -= 1
    if role != "timestamp":
        repository.timestamp.version += 1
    if role not in ("timestamp", "snapshot"):
        repository.snapshot.version += 1
    repository.publish()
    assert refused(device, repository.files) == "version"
    assert device.versions() | {"timestamp": 0} == held | {"timestamp": 0}


def test_a_role_that_vanishes_from_the_snapshot_is_missed(device: Device, repository: Repository) -> None:
    device.look(repository.files)
    repository.release()
    del repository.snapshot.meta["group-a.json"]
    repository.stamp()
    assert refused(device, repository.files) == "bad-metadata"


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "group-a"])
def test_expired_metadata_names_nothing(device: Device, repository: Repository, role: str) -> None:
    device.look(repository.files)
    repository.release()
    repository.targets.version += 1
    repository.signed(role).expires = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    if role == "root":
        repository.root.version += 1
        repository.sign("root")
    repository.publish()
    assert refused(device, repository.files) == "expired"


def test_a_frozen_repository_names_nothing_once_its_time_is_over(device: Device, repository: Repository) -> None:
    assert device.look(repository.files) is not None
    with pytest.raises(RepositoryRefusedError, match="expired"):
        device.look(repository.files, now_s=repository.expires.timestamp() + 1)
    assert device.look(repository.files) is not None, "a clock that was wrong leaves nothing behind"


class _Frozen(datetime):
    """The system's clock, for the client that asks it."""

    stands_at = datetime(1970, 1, 1, tzinfo=UTC)

    @classmethod
    def now(cls, tz: Any = None) -> _Frozen:
        return cls.fromtimestamp(cls.stands_at.timestamp(), tz)


@pytest.mark.parametrize("year", [1970, 2000, 2106])
def test_a_wrong_clock_costs_at_most_new_installs(
    device: Device, repository: Repository, year: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(year, 1, 1, 0, 0, 1, tzinfo=UTC)
    monkeypatch.setattr(_Frozen, "stands_at", now)
    with monkeypatch.context() as clock:
        clock.setattr(trusted_metadata_set.datetime, "datetime", _Frozen)
        if year < 2106:
            assert device.look(repository.files, now_s=now.timestamp()) is not None
        else:
            with pytest.raises(RepositoryRefusedError, match="expired"):
                device.look(repository.files, now_s=now.timestamp())
    assert device.look(repository.files) is not None, "when the clock is set, all is as it was"


def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted_metadata_set.datetime, "datetime", _Frozen)


def test_with_a_clock_at_1970_the_build_time_is_a_floor(
    memory: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped_clock(monkeypatch)
    device = Device(memory / "update", repository.factory_root)
    assert device.look(repository.files, now_s=0.0) is not None
    device.trust = Trust(device.folder, repository.factory_root, build_time_s=repository.expires.timestamp() + 1)
    with pytest.raises(RepositoryRefusedError, match="expired"):
        device.look(repository.files, now_s=0.0)


def test_with_a_clock_at_1970_the_latest_signed_time_is_a_floor_until_its_keys_are_rotated(
    device: Device, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped_clock(monkeypatch)
    early = repository.expires
    repository.timestamp.unrecognized_fields[ISSUED_FIELD] = f"{early + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    assert device.look(repository.files, now_s=0.0) is not None
    for role in ("timestamp", "snapshot"):
        repository.signed(role).expires = early + timedelta(days=9)
    repository.timestamp.version += 1
    repository.stamp()
    with pytest.raises(RepositoryRefusedError, match="root: expired"):
        device.look(repository.files, now_s=0.0)
    del repository.timestamp.unrecognized_fields[ISSUED_FIELD]
    repository.rotate("timestamp")
    assert device.look(repository.files, now_s=0.0) is not None


def test_parts_of_two_states_do_not_mix(device: Device, repository: Repository) -> None:
    device.look(repository.files)
    before = dict(repository.files)
    repository.release()
    mixed = {**repository.files, "metadata/2.group-a.json": before["metadata/1.group-a.json"]}
    assert refused(device, mixed) == "version"
    mixed = {**repository.files, "metadata/2.snapshot.json": before["metadata/1.snapshot.json"]}
    device.trust.start_anew()
    device.floor = type(device.floor)()
    assert refused(device, mixed) == "version"


def test_metadata_for_another_role_is_not_taken_for_it(device: Device, repository: Repository) -> None:
    files = dict(repository.files)
    files["metadata/1.group-a.json"] = files["metadata/1.group-b.json"]
    assert refused(device, files) == "signature"


def test_one_key_under_two_ids_counts_once(device: Device, repository: Repository) -> None:
    device.look(repository.files)
    held = device.trust.held()
    first = repository.signers["root"][0]
    twin = CryptoSigner(first._private_key, _renamed(first.public_key))
    repository.root.add_key(twin.public_key, "snapshot")
    repository.root.add_key(first.public_key, "snapshot")
    repository.root.revoke_key(repository.signers["snapshot"][0].public_key.keyid, "snapshot")
    repository.root.roles["snapshot"].threshold = 2
    repository.signers["snapshot"] = [first, twin]
    repository.root.version += 1
    repository.sign("root")
    repository.release()
    assert refused(device, repository.files) == "signature"
    assert device.trust.held() == held


def _renamed(key: Any) -> Any:
    return type(key)("f" * 64, key.keytype, key.scheme, {"public": key.keyval["public"].upper()})


def test_a_snapshot_pushed_forward_is_recovered_from_by_rotation(device: Device, repository: Repository) -> None:
    repository.snapshot.version = 99_999
    repository.timestamp.version = 99_999
    repository.publish()
    device.look(repository.files)
    repository.snapshot.version = repository.timestamp.version = 2
    repository.rotate("timestamp", "snapshot")
    assert device.look(repository.files) is not None
    assert device.versions()["snapshot"] == 2


def test_targets_pushed_forward_are_recovered_from_by_a_new_snapshot_key(device: Device, repository: Repository) -> None:
    repository.targets.version = 100
    repository.publish()
    device.look(repository.files)
    repository.targets.version = 2
    repository.snapshot.version += 1
    repository.timestamp.version += 1
    repository.rotate("snapshot")
    assert device.look(repository.files) is not None
    assert device.versions()["targets"] == 2


def test_a_version_beyond_belief_is_refused(device: Device, repository: Repository) -> None:
    device.look(repository.files)
    repository.timestamp.version = 1 << 60
    repository.sign("timestamp")
    assert refused(device, repository.files) == "version"
    assert device.versions()["timestamp"] == 1


def test_the_agents_record_alone_keeps_an_old_state_out(device: Device, repository: Repository) -> None:
    device.look(repository.files)
    old = dict(repository.files)
    repository.release()
    repository.rotate("timestamp")
    repository.release()
    device.look(repository.files)
    device.trust.start_anew()
    assert refused(device, old) == "rollback"
    middle = {path: data for path, data in repository.files.items() if path in old or "root" in path} | {
        "metadata/timestamp.json": old["metadata/timestamp.json"]
    }
    assert refused(device, middle) in ("signature", "rollback")
    assert device.look(repository.files) is not None


class _Endless(FetcherInterface):
    """Sends zeros for one file, for ever."""

    def __init__(self, files: State, path: str) -> None:
        self._inner = Served(files)
        self._path = path

    def _fetch(self, url: str) -> Iterator[bytes]:
        if url.endswith(self._path):
            return itertools.repeat(b"\0" * 4096)
        return self._inner.fetch(url)


@pytest.mark.parametrize("path", ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json", "1.group-a.json"])
def test_a_file_that_never_ends_is_left(device: Device, repository: Repository, path: str) -> None:
    if path == "1.snapshot.json":
        # A stolen timestamp key may sign a length; ours holds all the same.
        repository.timestamp.snapshot_meta = MetaFile(1, length=1 << 40)
        repository.sign("timestamp")
    assert refused(device, _Endless(repository.files, path)) == "too-long"


def test_a_repository_out_of_reach_is_told_apart(device: Device, repository: Repository) -> None:
    files = {path: data for path, data in repository.files.items() if path != "metadata/timestamp.json"}
    with pytest.raises(LinkError):
        device.look(files)


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[]",
    "deep": b"[" * 50_000,
    "deep object": b'{"signed":' * 20_000 + b"1" + b"}" * 20_000,
    "no text": b"\xff\xfe\x00",
    "a page": b"<!doctype html><title>It works!</title>",
    "digits": b'{"signed":{"_type":"timestamp","version":' + b"9" * 9_000 + b"}}",
    "NaN": b'{"signatures":[],"signed":{"_type":"timestamp","version":NaN}}',
    "null": b'{"signatures":null,"signed":null}',
    "not a number": b'{"signatures":[],"signed":{"_type":"timestamp","spec_version":"1.0","version":"1","expires":1,"meta":{}}}',
    "odd keys": b'{"signatures":[{"keyid":[],"sig":{}}],"signed":{"_type":["timestamp"]}}',
    "surrogate": b'{"signatures":[],"signed":{"_type":"\\ud800"}}',
}


@pytest.mark.parametrize("path", ["timestamp.json", "2.root.json"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_json_is_refused_and_changes_nothing(device: Device, repository: Repository, kind: str, path: str) -> None:
    device.look(repository.files)
    held = device.trust.held()
    repository.release()
    assert refused(device, {**repository.files, f"metadata/{path}": HOSTILE[kind]}) in ("bad-metadata", "too-long")
    assert device.trust.held() == held
    assert device.look(repository.files) is not None


def test_signed_json_of_a_shape_nobody_expected_is_refused(device: Device, repository: Repository) -> None:
    device.look(repository.files)
    changes: tuple[dict[str, Any], ...] = (
        {"version": True},
        {"meta": {}},
        {"meta": {"snapshot.json": 3}},
        {"expires": "soon"},
        {"version": 1.5},
    )
    for change in changes:
        document = json.loads(repository.files["metadata/timestamp.json"])
        document["signed"].update(change)
        files = {**repository.files, "metadata/timestamp.json": json.dumps(document).encode()}
        with pytest.raises(RepositoryRefusedError):
            device.look(files)
    repository.timestamp.version = True
    repository.sign("timestamp")
    assert device.look(repository.files) is not None
    assert device.trust.held() is not None, "what was kept can be read again"


def _delete(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _make_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "deleted": _delete,
    "emptied": _empty,
    "halved": _halve,
    "flipped": _flip,
    "a FIFO": _make_fifo,
    "a link": _make_link,
}
FILES = (*COPIES, MARKER)
ORDINARY = ("deleted", "emptied", "halved", "flipped")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Repository, State]:
    """A device that has seen two states of a repository, and the first of them."""
    repository = Repository()
    device = Device(tmp_path_factory.mktemp("used") / "update", repository.factory_root)
    device.look(repository.files)
    old = dict(repository.files)
    repository.release()
    device.look(repository.files)
    return device.folder, repository, old


PAIRS = [
    *((name, kind, None, None) for name in FILES for kind in DAMAGE),
    *((one, kind, other, also) for one, other in itertools.combinations(FILES, 2) for kind in ORDINARY for also in ORDINARY),
]


@pytest.mark.parametrize("recorded", [True, False], ids=["record", "no-record"])
def test_after_any_damage_an_old_state_stays_out(used: tuple[Path, Repository, State], memory: Path, recorded: bool) -> None:
    folder, repository, old = used
    for number, (one, kind, other, also) in enumerate(PAIRS):
        if other is not None and recorded and number % 3:
            continue  # each pair of damages is tried without the record; with it, which only adds to safety, every third
        copy = memory / "copy"
        shutil.copytree(folder, copy)
        DAMAGE[kind](copy / one)
        if other is not None and also is not None:
            DAMAGE[also](copy / other)
        device = Device(copy, repository.factory_root)
        what = f"{one} {kind}, {other} {also}"
        lost = {one, other} >= set(COPIES)
        with pytest.raises(TrustLostError if lost else RepositoryRefusedError):
            assert device.look(old, recorded=recorded) is None, what
        if lost:
            with pytest.raises(TrustLostError, match="start anew"):
                device.look(repository.files, recorded=recorded)
        else:
            assert device.look(repository.files, recorded=recorded) is not None, what
            assert (copy / COPIES[0]).read_bytes() == (copy / COPIES[1]).read_bytes(), what
        shutil.rmtree(copy)


def test_all_three_files_gone_is_noticed_by_the_record(used: tuple[Path, Repository, State], memory: Path) -> None:
    folder, repository, old = used
    copy = memory / "copy"
    shutil.copytree(folder, copy)
    device = Device(copy, repository.factory_root)
    device.look(repository.files)
    for name in FILES:
        (copy / name).unlink()
    with pytest.raises(TrustLostError):
        device.look(old)
    device.trust.start_anew()
    assert refused(device, old) == "rollback"
    assert device.look(repository.files) is not None


def test_the_simulator_signs_what_it_says(repository: Repository) -> None:
    root = Metadata[Any].from_bytes(repository.factory_root)
    root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
