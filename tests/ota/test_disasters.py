"""What the operator's page promises for what is lost or stolen, by gateways that saw the repository before and that did not."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from edge_ota import inspect, publish, refresh, revoke, rotate
from edge_ota.pending import WAITING
from edge_ota.repository import load_folder
from edge_ota.signing import read_public

from edge_agent.errors import RepositoryRefusedError
from tests.ota.device import Device
from tests.ota.repositories import Operator

Shown = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    operator = Operator(tmp_path_factory.mktemp("begun"))
    operator.init()
    assert operator.publish_small(1) == 0
    operator.new_key("next")
    return operator


@pytest.fixture
def operator(begun: Operator, tmp_path: Path) -> Operator:
    return begun.copied(tmp_path / "operator")


@pytest.fixture
def device(operator: Operator, tmp_path: Path) -> Device:
    """A gateway that has seen the repository as it began."""
    device = _device(operator, tmp_path / "seen")
    assert _id(device, operator) == "trial-1"
    return device


def _device(operator: Operator, folder: Path) -> Device:
    return Device(folder, (operator.repository / "metadata/1.root.json").read_bytes())


def _id(device: Device, operator: Operator) -> str | None:
    manifest = device.release(operator.repository)
    return None if manifest is None else manifest.id


def _rotate(operator: Operator, roles: list[str], old: str, *signing: str) -> int:
    named = [part for role in roles for part in ("--role", role)]
    change = [*named, "--add", operator.public("next"), "--remove", operator.public(old)]
    return rotate.main([str(operator.repository), *change, *operator.with_keys(*signing)])


def test_one_root_key_is_lost_and_two_people_replace_it(operator: Operator, device: Device, tmp_path: Path) -> None:
    assert _rotate(operator, ["root"], "root-a", "root-b", "root-c", "online") == 0
    assert _id(device, operator) == "trial-1"
    assert _id(_device(operator, tmp_path / "new"), operator) == "trial-1"
    roles = load_folder(operator.repository).root.signed.roles
    assert read_public(Path(operator.public("next"))).keyid in roles["root"].keyids


def test_two_root_keys_that_are_lost_cannot_be_replaced_by_the_third(operator: Operator, device: Device) -> None:
    assert _rotate(operator, ["root"], "root-a", "root-c", "next", "online") == WAITING
    assert _id(device, operator) == "trial-1", "what stands goes on"
    assert refresh.main([str(operator.repository), *operator.with_keys("online")]) == 0
    assert _id(device, operator) == "trial-1"


def test_the_stolen_online_key_is_worth_nothing_after_one_new_root(
    operator: Operator, device: Device, tmp_path: Path, capsys: Shown
) -> None:
    stolen = operator.with_repository(tmp_path / "thief")
    assert _rotate(operator, ["timestamp", "snapshot"], "online", "root-a", "root-b", "online", "next") == 0
    assert load_folder(operator.repository).root.signed.version == 2, "both roles in one root"
    assert _id(device, operator) == "trial-1"
    for _ in range(5):  # as far forward as the thief likes
        assert refresh.main([str(stolen.repository), *stolen.with_keys("online")]) == 0
    shutil.copy(stolen.repository / "metadata/timestamp.json", operator.repository / "metadata/timestamp.json")
    with pytest.raises(RepositoryRefusedError):
        _id(device, operator)
    capsys.readouterr()
    assert inspect.main([str(operator.repository)]) == 1
    assert "timestamp" in capsys.readouterr().err


def test_a_stolen_online_key_that_pushed_the_versions_up_is_outlived(operator: Operator, device: Device, tmp_path: Path) -> None:
    stolen = operator.with_repository(tmp_path / "thief")
    for _ in range(5):
        assert refresh.main([str(stolen.repository), *stolen.with_keys("online")]) == 0
    assert _id(device, stolen) == "trial-1", "the gateway has seen the thief's versions"
    with pytest.raises(RepositoryRefusedError):
        _id(device, operator)
    assert _rotate(operator, ["timestamp", "snapshot"], "online", "root-a", "root-b", "next") == 0
    assert _id(device, operator) == "trial-1"


def test_an_older_copy_comes_back_to_life_by_the_same_rotation(operator: Operator, device: Device, tmp_path: Path) -> None:
    older = operator.with_repository(tmp_path / "older")
    for counter in (2, 3):
        assert operator.publish_small(counter) == 0
    assert _id(device, operator) == "trial-3"
    with pytest.raises(RepositoryRefusedError, match="version"):
        _id(device, older)
    assert _rotate(older, ["timestamp", "snapshot"], "online", "root-a", "root-b", "next") == 0
    assert _id(device, older) == "trial-1", "which its own record does not take, for its counter"
    release = older.small_release(4)
    assert publish.main([str(older.repository), str(release), "--group", "canary", *older.with_keys("canary", "next")]) == 0
    assert _id(device, older) == "trial-4"


def test_a_stolen_group_key_is_taken_back_by_targets(operator: Operator, device: Device, tmp_path: Path) -> None:
    assert _rotate(operator, ["group-canary"], "canary", "targets", "next", "online") == 0
    arguments = [str(operator.repository), str(operator.small_release(2)), "--group", "canary"]
    assert publish.main([*arguments, *operator.with_keys("canary", "online")]) == WAITING, "the stolen key signs for nobody"
    assert publish.main([*arguments, *operator.with_keys("next", "online")]) == 0
    assert _id(device, operator) == "trial-2"


def test_the_targets_key_is_replaced_by_the_root(operator: Operator, device: Device) -> None:
    assert _rotate(operator, ["targets"], "targets", "root-a", "root-b", "next", "online") == 0
    assert _id(device, operator) == "trial-1"
    keyid = read_public(Path(operator.public("targets"))).keyid
    assert revoke.main([str(operator.repository), "--key-id", keyid, *operator.with_keys("online")]) == 0, "gone already"


def test_a_web_servers_copy_is_a_repository_to_go_on_with(operator: Operator, device: Device, tmp_path: Path) -> None:
    copy = Operator.__new__(Operator)
    copy.folder, copy.repository = operator.folder, tmp_path / "www"
    shutil.copytree(operator.repository, copy.repository)
    shutil.rmtree(operator.repository)
    assert copy.publish_small(2) == 0
    assert _id(device, copy) == "trial-2"


class _Ahead(datetime):
    """A clock that is 1,000 days ahead."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + timedelta(days=1_000)


def test_a_timestamp_signed_with_a_clock_far_ahead_is_outlived_by_a_rotation(
    operator: Operator, device: Device, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("edge_ota.task.datetime", _Ahead)
        assert refresh.main([str(operator.repository), *operator.with_keys("online")]) == 0
    with pytest.raises(RepositoryRefusedError, match="expired"):  # the root's year is over, by what the gateway has been told
        _id(device, operator)
    capsys.readouterr()
    assert refresh.main([str(operator.repository), *operator.with_keys("online")]) == 1
    assert "set the clock" in capsys.readouterr().err
    assert _rotate(operator, ["timestamp", "snapshot"], "online", "root-a", "root-b", "online", "next") == 0
    assert _id(device, operator) == "trial-1"


def test_who_removes_a_key_that_has_no_say_is_told(operator: Operator, capsys: Shown) -> None:
    change = [str(operator.repository), "--role", "group-canary", "--remove", operator.public("fleet")]
    assert rotate.main([*change, *operator.with_keys("targets", "online")]) == 0
    assert "has no say in group-canary" in capsys.readouterr().out
