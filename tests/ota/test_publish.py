"""What is published and what is not: chunked and merged components, what changed since it was built, what is another group's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from edge_ota import bundle, commit, init, inspect, pending, promote, publish, refresh, revoke, rotate, sign
from edge_ota.build import Recipe, build
from edge_ota.pending import WAITING, pending_folder
from edge_ota.repository import MAX_BYTES, load_folder
from edge_ota.roles import group_role
from tuf.api.metadata import Metadata, TargetFile, Targets

from edge_agent.errors import RepositoryRefusedError
from edge_agent.release.manifest import parse_manifest
from tests.ota.device import Device
from tests.ota.repositories import INIT_SECRET, Operator
from tests.ota.test_promote import report

Shown = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    operator = Operator(tmp_path_factory.mktemp("begun"))
    operator.init()
    assert operator.publish_small(1) == 0
    return operator


@pytest.fixture
def operator(begun: Operator, tmp_path: Path) -> Operator:
    return begun.copied(tmp_path)


def device(operator: Operator, name: str = "device") -> Device:
    return Device(operator.folder / name, (operator.repository / "metadata/1.root.json").read_bytes())


def published(operator: Operator, release: Path, group: str = "canary") -> int:
    return publish.main([str(operator.repository), str(release), "--group", group, *operator.with_keys(group, "online")])


def blobs(operator: Operator) -> set[str]:
    return {path.name.partition(".")[0] for path in (operator.repository / "targets/blobs").iterdir()}


def named(operator: Operator, group: str = "canary") -> set[str]:
    return set(load_folder(operator.repository).groups[group_role(group)].signed.targets)


def test_a_chunked_component_is_one_blob_and_its_chunks_are_in_the_manifest(operator: Operator) -> None:
    manifest = device(operator).release(operator.repository)
    assert manifest is not None
    model = manifest.components["writer/model.bin"]
    assert model.stored is not None
    assert (model.stored.sha256, len(model.stored.chunks)) == (model.sha256, 3)
    assert {f"blobs/{part.sha256}" for part in manifest.components.values()} <= named(operator)


def with_adapter(release: Path) -> dict[str, Any]:
    """A release whose writer the device makes of a base and an adapter: its manifest, written."""
    for name, data in (("base.bin", b"base " * 900), ("adapter.bin", b"adapter")):
        (release / name).write_bytes(data)
    build(release, Recipe(f"adapted-{release.name[-1]}", int(release.name[-1])))
    document: dict[str, Any] = json.loads((release / "manifest.json").read_text())
    document["components"]["writer/model.bin"].pop("stored", None)
    document["components"]["writer/model.bin"]["merged"] = {"base": "base.bin", "adapter": "adapter.bin"}
    (release / "manifest.json").write_text(json.dumps(document))
    (release / "writer/model.bin").unlink()
    return document


def test_a_component_that_the_device_makes_is_carried_without_a_blob(operator: Operator, tmp_path: Path) -> None:
    """Published without the file, bundled, promoted, taken back: nowhere is its blob missed."""
    made = with_adapter(operator.small_release(2))["components"]["writer/model.bin"]["sha256"]
    assert published(operator, operator.folder / "release-2") == 0
    assert f"blobs/{made}" not in named(operator)
    assert inspect.main([str(operator.folder / "release-2")]) == 0
    assert bundle.main([str(operator.repository), "--group", "canary", str(tmp_path / "b.tar")]) == 0
    found = inspect.look(tmp_path / "b.tar", datetime.now(UTC))
    assert (found["problems"], found["groups"]["group-canary"]["merged"]) == ([], ["writer/model.bin"])
    entry = load_folder(operator.repository).groups["group-canary"].signed.targets["groups/canary/release.json"]
    digest = entry.hashes["sha256"]
    said = json.loads(report("a", (digest, "committed"), runs=digest, counter=2))
    (tmp_path / "states").write_text(json.dumps(said))
    arguments = [str(operator.repository), "--from", "canary", "--to", "fleet", "--states", str(tmp_path / "states")]
    assert promote.main([*arguments, "--hold-h", "0", *operator.with_keys("fleet", "online")]) == 0
    assert named(operator, "fleet") - {"groups/fleet/release.json"} == named(operator) - {"groups/canary/release.json"}
    assert operator.publish_small(3) == 0
    arguments = [str(operator.repository), "--group", "canary", "--release", "trial-3", *operator.with_keys("canary", "online")]
    assert revoke.main(arguments) == 0
    path = next((operator.repository / "targets/groups/canary").glob(f"{_current(operator)}.*"))
    manifest = parse_manifest(path.read_bytes(), "manifest")
    assert (manifest.id, manifest.counter) == ("adapted-2.r4", 4)
    assert manifest.components["writer/model.bin"].merged is not None


def _current(operator: Operator) -> str:
    document = load_folder(operator.repository).groups["group-canary"]
    return str(document.signed.targets["groups/canary/release.json"].hashes["sha256"])


@pytest.mark.parametrize("name", ["lexicon.txt", "writer/model.bin", "manifest.json"])
def test_what_changed_or_is_gone_since_it_was_built_is_not_published(operator: Operator, name: str, capsys: Shown) -> None:
    release, before = operator.small_release(2), (blobs(operator), named(operator))
    (release / name).unlink()
    assert published(operator, release) == 1
    assert "is missing" in capsys.readouterr().err
    (release / name).write_bytes(b"{}")
    assert published(operator, release) == 1
    assert (blobs(operator), named(operator)) == before
    assert not pending_folder(operator.repository).exists()


def test_a_pickle_in_a_manifest_that_was_not_built_here_is_not_published(operator: Operator, capsys: Shown) -> None:
    release = operator.small_release(2)
    data = b"\x80\x04N."
    (release / "lexicon.txt").write_bytes(data)
    document = json.loads((release / "manifest.json").read_text())
    document["components"]["lexicon.txt"] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    (release / "manifest.json").write_text(json.dumps(document))
    assert published(operator, release) == 1
    assert "begins as a pickle" in capsys.readouterr().err


def test_a_blob_that_is_there_is_not_written_again_and_a_rotten_one_is(operator: Operator) -> None:
    shared = next(path for path in (operator.repository / "targets/blobs").iterdir() if path.stat().st_size > 8_000)
    standing = shared.stat().st_ino
    assert operator.publish_small(2) == 0
    assert shared.stat().st_ino == standing
    good = shared.read_bytes()
    shared.write_bytes(good[:-1] + b"?")
    assert operator.publish_small(3) == 0
    assert shared.read_bytes() == good


def test_a_large_component_without_chunks_is_not_published(operator: Operator, capsys: Shown) -> None:
    release = operator.small_release(2, model=b"x" * ((16 << 20) + 1))
    document = json.loads((release / "manifest.json").read_text())
    del document["components"]["writer/model.bin"]["stored"]
    (release / "manifest.json").write_text(json.dumps(document))
    assert published(operator, release) == 1
    assert "in one chunk" in capsys.readouterr().err


def test_a_document_that_no_device_would_take_is_not_written(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    before = {path: path.read_bytes() for path in (operator.repository / "metadata").iterdir()}
    standing = len((operator.repository / "metadata/2.group-canary.json").read_bytes())
    release = operator.small_release(2)
    (release / "one-more").write_text("x")
    build(release, Recipe("trial-2", 2))
    with monkeypatch.context() as patched:
        patched.setitem(MAX_BYTES, "targets", standing + 10)
        assert published(operator, release) == 1
    assert "a device takes" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (operator.repository / "metadata").iterdir()} == before


def test_who_signs_sees_what_without_anything_that_moves_the_cursor(operator: Operator, capsys: Shown) -> None:
    def hostile(signed: Targets) -> None:
        signed.targets["groups/canary/release.json"].custom["release"] = "\x1b[2Jtrial-9"

    path = _sign_foreign(operator, hostile)
    digest = Metadata[Targets].from_file(str(path)).signed.targets["groups/canary/release.json"].hashes["sha256"]
    capsys.readouterr()
    assert sign.main([str(path), *operator.with_keys("canary")]) == 0
    shown = capsys.readouterr().out
    assert "release ?[2Jtrial-9, counter 2" in shown
    assert digest in shown


# ---- what a group may name ----------------------------------------------------------------------------------------------


def _sign_foreign(operator: Operator, change: Callable[[Targets], None]) -> Path:
    """What the holder of the canary group's key could sign: the next document, changed, as it waits."""
    assert (
        publish.main(
            [str(operator.repository), str(operator.small_release(2)), "--group", "canary", *operator.with_keys("online")]
        )
        == WAITING
    )
    path = next(pending_folder(operator.repository).glob("*.group-canary.json"))
    document = Metadata[Targets].from_file(str(path))
    change(document.signed)
    document.to_file(str(path))
    return path


def _names_fleet(signed: Targets) -> None:
    own = signed.targets["groups/canary/release.json"]
    signed.targets["groups/fleet/release.json"] = TargetFile(own.length, own.hashes, "groups/fleet/release.json")


def _names_another_file(signed: Targets) -> None:
    signed.targets["groups/canary/other"] = TargetFile(1, {"sha256": "a" * 64}, "groups/canary/other")


def _names_a_blob_by_another_digest(signed: Targets) -> None:
    signed.targets["blobs/" + "a" * 64] = TargetFile(1, {"sha256": "b" * 64}, "blobs/" + "a" * 64)


FOREIGN = [_names_fleet, _names_another_file, _names_a_blob_by_another_digest]


@pytest.mark.parametrize("change", FOREIGN)
def test_a_group_that_names_what_is_not_its_own_is_not_published(
    operator: Operator, change: Callable[[Targets], None], capsys: Shown
) -> None:
    path = _sign_foreign(operator, change)
    before = (operator.repository / "metadata/timestamp.json").read_bytes()
    assert commit.main([str(operator.repository), *operator.with_keys("canary", "online")]) == 1
    assert "which is not its own" in capsys.readouterr().err
    assert (operator.repository / "metadata/timestamp.json").read_bytes() == before
    assert path.exists(), "for a person to look at"


@pytest.mark.parametrize("change", FOREIGN)
def test_where_it_stands_all_the_same_it_is_found_and_no_other_group_takes_it(
    operator: Operator, change: Callable[[Targets], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Shown
) -> None:
    """Whoever holds the online key too can publish it. A gateway of the fleet still has no release, a canary has its own."""
    _sign_foreign(operator, change)
    with monkeypatch.context() as patched:
        patched.setattr(pending, "foreign", lambda role, signed: [])
        assert commit.main([str(operator.repository), *operator.with_keys("canary", "online")]) == 0
    capsys.readouterr()
    assert inspect.main([str(operator.repository)]) == 1
    assert "which is not its own" in capsys.readouterr().out
    assert bundle.main([str(operator.repository), "--group", "canary", str(tmp_path / "b.tar")]) == 1
    assert device(operator).release(operator.repository, "fleet") is None
    manifest = device(operator, "canary-device").release(operator.repository)
    assert manifest is not None
    assert manifest.id == "trial-2"
    assert operator.publish_small(4, "fleet") == 0, "the others go on"
    assert operator.publish_small(5) == 0, "and publishing anew mends it"
    assert inspect.main([str(operator.repository)]) == 0


def test_a_group_cannot_speak_through_a_role_of_its_own_making(operator: Operator, capsys: Shown) -> None:
    def delegates(signed: Targets) -> None:
        top = load_folder(operator.repository).targets.signed.delegations
        assert top is not None
        signed.delegations = top

    _sign_foreign(operator, delegates)
    assert commit.main([str(operator.repository), *operator.with_keys("canary", "online")]) == 1
    assert "another role" in capsys.readouterr().err


def test_no_more_groups_than_a_device_looks_at(tmp_path: Path, capsys: Shown) -> None:
    operator = Operator(tmp_path)
    groups = [part for i in range(30) for part in ("--group", f"g{i}={operator.public('canary')}")]
    assert init.main([*operator.init_arguments(*INIT_SECRET), *groups]) == 1
    assert "more than 31 groups" in capsys.readouterr().err
    assert init.main([*operator.init_arguments(*INIT_SECRET), *groups[:-2]]) == 0
    operator.new_key("lab")
    change = [str(operator.repository), "--role", "group-lab", "--add", operator.public("lab")]
    assert rotate.main([*change, *operator.with_keys("targets", "lab", "online")]) == 1
    assert operator.publish_small(1, "fleet") == 0
    assert device(operator).release(operator.repository, "fleet") is not None


# ---- time ---------------------------------------------------------------------------------------------------------------


class _Earlier(datetime):
    """The clock of three days ago."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) - timedelta(days=3)


def test_what_has_expired_is_refused_by_gateways_and_renewed_by_a_refresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    operator = Operator(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("edge_ota.task.datetime", _Earlier)
        operator.init()
        assert operator.publish_small(1) == 0
    assert inspect.main([str(operator.repository)]) == 1
    assert "PROBLEM timestamp: expired" in capsys.readouterr().out
    with pytest.raises(RepositoryRefusedError, match="expired"):
        device(operator).release(operator.repository)
    assert refresh.main([str(operator.repository), *operator.with_keys("online")]) == 0
    assert inspect.main([str(operator.repository)]) == 0
    assert device(operator, "another").release(operator.repository) is not None
