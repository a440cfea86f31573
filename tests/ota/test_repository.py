"""What the operator publishes, as a real TUF client sees it: published, promoted, rotated, revoked, refreshed."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from edge_ota import build, bundle, commit, init, inspect, publish, refresh, revoke, rotate, sign
from edge_ota.pending import WAITING, pending_folder
from edge_ota.repository import load_folder
from edge_ota.roles import ISSUED_FIELD
from edge_ota.signing import read_public
from tuf.api.exceptions import RepositoryError

from edge_agent.errors import StorageError
from edge_agent.release.manifest import MAX_LEAP
from edge_agent.update.seen import ISSUED_FIELD as DEVICES_ISSUED_FIELD
from tests.ota.repositories import INIT_SECRET, Operator, unpack


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    operator = Operator(tmp_path_factory.mktemp("begun"))
    operator.init()
    assert operator.publish(1) == 0
    return operator


@pytest.fixture
def operator(begun: Operator, tmp_path: Path) -> Operator:
    """A copy of a repository whose canary has release 1."""
    return begun.copied(tmp_path)


def test_a_client_gets_the_release_of_its_group_and_no_other(operator: Operator, tmp_path: Path) -> None:
    manifest = operator.installed(tmp_path / "client")
    assert manifest is not None
    assert (manifest.id, manifest.counter) == ("trial-1", 1)
    assert operator.installed(tmp_path / "client", "fleet") is None


def test_a_group_cannot_name_the_release_of_another(operator: Operator, tmp_path: Path) -> None:
    delegations = load_folder(operator.repository).targets.signed.delegations
    assert delegations is not None
    assert delegations.roles is not None
    canary = delegations.roles["group-canary"]
    assert canary.is_delegated_path("groups/canary/release.json")
    assert canary.is_delegated_path("blobs/" + "0" * 64)
    assert not canary.is_delegated_path("groups/fleet/release.json")
    assert not canary.terminating


def test_a_counter_must_grow(operator: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert operator.publish(3) == 0
    assert operator.publish(2) == 1
    assert "counter 2 is not above 3" in capsys.readouterr().err
    assert operator.publish(4 + MAX_LEAP) == 1
    assert f"counter {4 + MAX_LEAP} is more than {MAX_LEAP} above 3" in capsys.readouterr().err
    again = publish.main(
        [str(operator.repository), str(operator.folder / "release-3"), "--group", "canary", *operator.with_keys("online")]
    )
    assert again == 0, "a release that is published already is no error"
    twice = operator.release(5)
    assert build.main([str(twice), "--id", "trial-3", "--counter", "5"]) == 0
    assert publish.main([str(operator.repository), str(twice), "--group", "canary", *operator.with_keys("canary", "online")]) == 1
    assert "group canary has another release of this name" in capsys.readouterr().err
    assert getattr(operator.installed(tmp_path / "client"), "counter", None) == 3


def test_without_enough_root_signatures_nothing_is_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operator = Operator(tmp_path)
    assert init.main(operator.init_arguments("root-a", "targets", "canary", "fleet", "online")) == WAITING
    assert not list(operator.repository.rglob("*.json"))
    file = pending_folder(operator.repository) / "1.root.json"
    assert sign.main([str(file), *operator.with_keys("root-a")]) == 0
    assert commit.main([str(operator.repository), *operator.with_keys("online")]) == WAITING, "one key counts once"
    away = tmp_path / "usb" / "1.root.json"
    away.parent.mkdir()
    shutil.copy(file, away)
    assert sign.main([str(away), *operator.with_keys("root-c")]) == 0
    assert "root: 2 of" in capsys.readouterr().out
    shutil.copy(away, file)
    assert commit.main([str(operator.repository), *operator.with_keys("online")]) == 0
    assert operator.installed(tmp_path / "client") is None
    assert not pending_folder(operator.repository).exists()


def test_a_signature_of_a_key_that_has_no_say_does_not_count(operator: Operator) -> None:
    operator.new_key("stranger")
    arguments = [str(operator.repository), str(operator.release(2)), "--group", "canary"]
    assert publish.main([*arguments, *operator.with_keys("online", "fleet", "stranger")]) == WAITING
    assert publish.main([*arguments, *operator.with_keys("online", "canary")]) == 0


def test_root_rotation_needs_old_and_new_and_clients_follow(operator: Operator, tmp_path: Path) -> None:
    operator.installed(tmp_path / "client")
    old, new = operator.public("root-a"), "root-d"
    operator.new_key(new)
    change = [str(operator.repository), "--role", "root", "--add", operator.public(new)]
    change += ["--remove", read_public(Path(old)).keyid[:12]]
    assert rotate.main([*change, *operator.with_keys("root-b", new, "online")]) == WAITING, "the old threshold is not met"
    assert rotate.main([*change, *operator.with_keys("root-c")]) == 1, "the timestamp cannot be signed"
    assert commit.main([str(operator.repository), *operator.with_keys("online")]) == 0
    manifest = operator.installed(tmp_path / "client")
    assert manifest is not None
    root = load_folder(operator.repository).root.signed
    assert root.version == 2
    assert read_public(Path(old)).keyid not in root.roles["root"].keyids


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "group-canary"])
def test_each_role_changes_its_key_and_old_and_new_clients_follow(operator: Operator, tmp_path: Path, role: str) -> None:
    operator.installed(tmp_path / "client")
    old = {"targets": "targets", "group-canary": "canary"}.get(role, "online")
    operator.new_key("next")
    gone = read_public(Path(operator.public(old))).keyid
    change = [str(operator.repository), "--role", role, "--add", operator.public("next"), "--remove", gone]
    signing = operator.with_keys("root-a", "root-b", "targets", "online", "next")
    assert rotate.main([*change, *signing]) == 0
    assert rotate.main([*change, *signing]) == 0, "running it again is no error"
    for folder in ("client", "new-client"):
        assert getattr(operator.installed(tmp_path / folder), "id", None) == "trial-1"
    owner = (
        load_folder(operator.repository).root.signed
        if role != "group-canary"
        else load_folder(operator.repository).targets.signed
    )
    assert gone not in owner.get_delegated_role(role).keyids


def test_a_new_group_is_made_and_gets_a_release(operator: Operator, tmp_path: Path) -> None:
    operator.new_key("lab")
    change = [str(operator.repository), "--role", "group-lab", "--add", operator.public("lab")]
    assert rotate.main([*change, *operator.with_keys("targets", "lab", "online")]) == 0
    assert operator.publish(2, "lab") == 0
    assert getattr(operator.installed(tmp_path / "client", "lab"), "id", None) == "trial-2"


def test_a_revoked_release_gives_way_to_the_one_before_under_a_higher_counter(operator: Operator, tmp_path: Path) -> None:
    first = operator.installed(tmp_path / "client")
    assert operator.publish(2) == 0
    arguments = [str(operator.repository), "--group", "canary", "--release", "trial-2"]
    for _ in range(2):  # running it again takes nothing else back
        assert revoke.main([*arguments, *operator.with_keys("canary", "online")]) == 0
        now = operator.installed(tmp_path / "client")
        assert first is not None
        assert now is not None
        assert (now.id, now.counter, now.components) == ("trial-1.r3", 3, first.components)
    arguments[-1] = "trial-1.r3"
    assert revoke.main([*arguments, *operator.with_keys("canary", "online")]) == 1, "what was taken back does not come back"


def test_a_release_that_the_group_does_not_run_is_not_taken_back(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    stands = (operator.repository / "metadata/timestamp.json").read_bytes()
    arguments = [str(operator.repository), "--group", "canary", "--release", "trial-l"]
    assert revoke.main([*arguments, *operator.with_keys("canary", "online")]) == 1
    assert "group canary runs trial-1, and not trial-l: nothing is taken back" in capsys.readouterr().err
    assert (operator.repository / "metadata/timestamp.json").read_bytes() == stands


def test_the_last_key_of_a_role_is_not_taken_back(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    keyid = read_public(Path(operator.public("canary"))).keyid
    arguments = [str(operator.repository), "--key-id", keyid, *operator.with_keys("targets", "online")]
    assert revoke.main(arguments) == 1
    assert "name more keys" in capsys.readouterr().err


def test_one_of_three_root_keys_is_taken_back(operator: Operator, tmp_path: Path) -> None:
    keyid = read_public(Path(operator.public("root-c"))).keyid
    arguments = [str(operator.repository), "--key-id", keyid, *operator.with_keys("root-a", "root-b", "online")]
    assert revoke.main(arguments) == 0
    assert load_folder(operator.repository).root.signed.roles["root"].threshold == 2
    assert operator.installed(tmp_path / "client") is not None


def test_a_refresh_renews_the_timestamp_and_says_when_it_was_signed(operator: Operator, tmp_path: Path) -> None:
    before = load_folder(operator.repository)
    assert refresh.main([str(operator.repository), *operator.with_keys("online")]) == 0
    after = load_folder(operator.repository)
    assert after.timestamp.signed.version == before.timestamp.signed.version + 1
    assert after.timestamp.signed.expires > datetime.now(UTC) + timedelta(hours=23)
    assert ISSUED_FIELD == DEVICES_ISSUED_FIELD
    assert ISSUED_FIELD in after.timestamp.signed.unrecognized_fields
    assert refresh.main([str(operator.repository), "--role", "targets", *operator.with_keys("targets", "online")]) == 0
    assert load_folder(operator.repository).targets.signed.version == 2
    assert operator.installed(tmp_path / "client") is not None


def test_a_refresh_leaves_what_waits_for_signatures(operator: Operator) -> None:
    publish.main([str(operator.repository), str(operator.release(2)), "--group", "canary", *operator.with_keys("online")])
    assert refresh.main([str(operator.repository), *operator.with_keys("online")]) == 0
    assert list(pending_folder(operator.repository).iterdir())
    assert commit.main([str(operator.repository), *operator.with_keys("online")]) == WAITING


def test_a_bundle_is_the_same_bytes_and_serves_a_client(operator: Operator, tmp_path: Path) -> None:
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    for out in (first, second):
        assert bundle.main([str(operator.repository), "--group", "canary", str(out)]) == 0
    assert first.read_bytes() == second.read_bytes()
    unpack(first, tmp_path / "unpacked")
    assert getattr(operator.installed(tmp_path / "client", repository=tmp_path / "unpacked"), "id", None) == "trial-1"
    assert inspect.main([str(first)]) == 0


def test_inspect_tells_what_is_wrong(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert inspect.main([str(operator.repository), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["groups"]["group-canary"]["counter"], told["roles"]["root"]["threshold"]) == (1, 2)
    assert inspect.main([str(operator.folder / "release-1")]) == 0
    blob = next((operator.repository / "targets/blobs").iterdir())
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    assert inspect.main([str(operator.repository)]) == 1
    timestamp = operator.repository / "metadata/timestamp.json"
    timestamp.write_text(timestamp.read_text().replace('"version": 2', '"version": 3'))
    assert inspect.main([str(operator.repository)]) == 1


def test_what_was_tampered_with_is_not_signed_on(operator: Operator, tmp_path: Path) -> None:
    group = operator.repository / "metadata/2.group-canary.json"
    group.write_text(group.read_text().replace("trial-1", "trial-x"))
    assert refresh.main([str(operator.repository), *operator.with_keys("online")]) == 1
    with pytest.raises(RepositoryError):
        operator.installed(tmp_path / "client")


def test_a_repository_is_begun_once(operator: Operator) -> None:
    assert init.main(operator.init_arguments(*INIT_SECRET)) == 1


@pytest.fixture(scope="module")
def with_keys_alone(begun: Operator, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """The keys of a repository that is not begun."""
    operator = begun.copied(tmp_path_factory.mktemp("alone"))
    shutil.rmtree(operator.repository)
    return operator


def test_a_beginning_takes_the_days_that_documents_hold(with_keys_alone: Operator) -> None:
    operator = with_keys_alone.copied(with_keys_alone.folder.parent / "days")
    wanted = {"root": 400, "targets": 50, "group": 40, "snapshot": 9, "timestamp": 3}
    days = [part for role, count in wanted.items() for part in ("--days", f"{role}={count}")]
    assert init.main([*operator.init_arguments(*INIT_SECRET), *days]) == 0
    state, now = load_folder(operator.repository), datetime.now(UTC)
    found = {
        **{role: document.signed.expires for role, document in state.documents().items()},
        "snapshot": state.snapshot.signed.expires,
        "timestamp": state.timestamp.signed.expires,
    }
    for role, expires in found.items():
        assert abs(expires - now - timedelta(days=wanted[role.partition("-")[0]])) < timedelta(hours=1), role


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--days", value) for value in ("timestamp=0", "timestamp=-1", "timestamp=1.5", "timestamp=36500", "timestamp=")),
        *(("--days", value) for value in ("timestamp=\u0663", "timestamp=0000000019999999", "group-canary=9", "timestamp")),
        *(("--threshold", value) for value in ("root=0", "root=x", "group-lab=1")),
    ],
)
def test_a_beginning_with_a_number_that_cannot_be_is_none(
    with_keys_alone: Operator, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init.main([*with_keys_alone.init_arguments(*INIT_SECRET), option, value]) == 1
    assert value.partition("=")[0] in capsys.readouterr().err
    assert not (with_keys_alone.repository / "metadata").exists()
    assert not pending_folder(with_keys_alone.repository).exists()


@pytest.mark.parametrize("lost", ["1.root.json", "1.targets.json", "1.group-canary.json", "1.*.json"])
def test_a_beginning_of_which_a_part_was_lost_is_not_published(
    with_keys_alone: Operator, tmp_path: Path, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = with_keys_alone.copied(tmp_path)
    assert init.main(operator.init_arguments(*INIT_SECRET[1:])) == WAITING
    for path in pending_folder(operator.repository).glob(lost):
        path.unlink()
    assert commit.main([str(operator.repository), *operator.with_keys(*INIT_SECRET)]) == 1
    assert "edge-ota commit: " in capsys.readouterr().err
    assert not (operator.repository / "metadata").exists()


def test_who_signs_sees_whole_key_ids_and_what_does_not_count(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    """A key whose id only begins like another's can be made."""
    assert refresh.main([str(operator.repository), "--role", "root", *operator.with_keys("online")]) == WAITING
    path = pending_folder(operator.repository) / "2.root.json"
    capsys.readouterr()
    assert sign.main([str(path), *operator.with_keys("root-a", "fleet")]) == 0
    shown = capsys.readouterr().out
    ids = {name: read_public(Path(operator.public(name))).keyid for name in ("root-a", "root-b", "root-c", "targets", "online")}
    for keyid in ids.values():
        assert len(keyid) == 64
        assert keyid in shown.split()
    after = shown.partition(f"signed with {ids['root-a']}\n")[2]
    assert after.startswith("signed with ")
    assert "none of this root's" in after


def test_a_signature_that_could_not_be_written_is_not_said_to_be_given(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(sign, "write_atomic", full)
    assert sign.main([str(operator.repository / "metadata/1.root.json"), *operator.with_keys("root-a")]) == 1
    said = capsys.readouterr()
    assert "signed with" not in said.out
    assert "the disk is full" in said.err
