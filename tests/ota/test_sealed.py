"""Sealed releases from the operator's side: built, wrapped for gateways, published, promoted, revoked; read by a device alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from edge_ota import build, bundle, commit, group_key, inspect, publish, revoke
from edge_ota.files import Folder
from edge_ota.pending import WAITING
from edge_ota.publish import from_repository
from edge_ota.publish import publish as publish_for
from edge_ota.repository import load_folder, release_of
from edge_ota.roles import published_at
from edge_ota.seal import read_group_key
from edge_ota.signing import OperatorError, load_signer

from edge_agent.device_key import make_device_key
from edge_agent.errors import ReleaseError
from edge_agent.release.group_keys import device_key_id, encode_device
from edge_agent.release.sealing import seals
from tests.ota.repositories import unpack
from tests.ota.sealed_fleet import Fleet

STRANGER = X25519PrivateKey.from_private_bytes(b"s" * 32)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("sealed"))
    fleet.init()
    fleet.new_group_key("one")
    assert fleet.wrap("a", "b") == 0
    assert fleet.publish_sealed(1) == 0
    return fleet


@pytest.fixture
def fleet(begun: Fleet, tmp_path: Path) -> Fleet:
    """A copy of a repository whose canary has the sealed release 1."""
    shutil.copytree(begun.folder, tmp_path, dirs_exist_ok=True)
    copied = Fleet.__new__(Fleet)
    copied.folder, copied.repository = tmp_path, tmp_path / "repo"
    return copied


def blobs(fleet: Fleet) -> set[str]:
    return {path.name for path in (fleet.repository / "targets/blobs").iterdir()}


def test_a_gateway_reads_what_was_built(fleet: Fleet, tmp_path: Path) -> None:
    manifest, found = fleet.read(tmp_path / "client", fleet.device("b"))
    assert manifest.id == "trial-1"
    built = {path.relative_to(fleet.folder / "release-1").as_posix(): path for path in (fleet.folder / "release-1").rglob("*")}
    assert found == {name: path.read_bytes() for name, path in built.items() if path.is_file() and name != "manifest.json"}


def test_a_gateway_that_the_key_was_not_wrapped_for_is_told(fleet: Fleet, tmp_path: Path) -> None:
    make_device_key(fleet.device("c"))
    with pytest.raises(ReleaseError, match=r"is not among the 2 that the group key \w+ was wrapped for: give the operator"):
        fleet.read(tmp_path / "client", fleet.device("c"))
    assert fleet.wrap("c") == 0
    assert fleet.read(tmp_path / "client", fleet.device("c"))[0].id == "trial-1"
    assert fleet.read(tmp_path / "client", fleet.device("a"))[0].id == "trial-1", "those before still read it"


def test_nothing_of_a_component_stands_in_the_clear_in_what_is_served_or_bundled(fleet: Fleet, tmp_path: Path) -> None:
    bundled = tmp_path / "canary.tar"
    assert bundle.main([str(fleet.repository), "--group", "canary", str(bundled)]) == 0
    served = b"".join(path.read_bytes() for path in [*fleet.repository.rglob("*"), bundled] if path.is_file())
    for path in (fleet.folder / "release-1").rglob("*"):
        data = path.read_bytes() if path.is_file() and path.name != "manifest.json" else b""
        for at in range(0, len(data) - 32, max(32, len(data) // 50)):
            sample = data[at : at + 32]
            assert len(set(sample)) < 4 or sample not in served, f"{path.name} at {at}"
    unpack(bundled, tmp_path / "unpacked")
    assert (tmp_path / "unpacked/targets/groups/canary").is_dir()


def test_a_release_is_not_published_that_no_gateway_could_open(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.new_group_key("two")
    capsys.readouterr()
    assert fleet.publish_sealed(2, "two") == 1
    assert "no gateway of the group canary could open: wrap it for them first, with `edge-ota group-key wrap`" in (
        capsys.readouterr().err
    )
    assert fleet.publish_sealed(2, "two", with_key="one") == 1
    assert "give that one's file" in capsys.readouterr().err
    arguments = [
        str(fleet.repository),
        str(fleet.folder / "release-2"),
        "--group",
        "canary",
        *fleet.with_keys("canary", "online"),
    ]
    assert publish.main(arguments) == 1
    assert "give its file with --group-key" in capsys.readouterr().err
    assert fleet.wrap("a", key="two") == 0
    assert fleet.publish_sealed(2, "two") == 0


def test_after_a_rotation_the_old_key_is_dropped_when_nothing_needs_it(fleet: Fleet, tmp_path: Path) -> None:
    old, new = (
        read_group_key(Path(fleet.new_group_key(name) if name == "two" else fleet.folder / name)) for name in ("one", "two")
    )
    assert fleet.wrap("a", key="two") == 0
    assert fleet.read(tmp_path / "client", fleet.device("b"))[0].id == "trial-1", "the release that stands can still be read"
    assert fleet.drop("--key-id", old.id) == 1, "it is what the release is sealed with"
    assert fleet.publish_sealed(2, "two") == 0
    manifest, _ = fleet.read(tmp_path / "client", fleet.device("a"))
    assert seals(manifest) == (new.id,)
    with pytest.raises(ReleaseError, match="is not among the 1"):
        fleet.read(tmp_path / "client", fleet.device("b"))
    assert fleet.drop("--key-id", old.id) == 0
    assert fleet.drop("--key-id", old.id) == 1, "no such id"


def test_a_device_is_dropped_and_a_list_without_any_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    ids = {name: device_key_id(make_device_key(fleet.device(name)).public_key()) for name in "ab"}
    assert fleet.drop("--device-id", ids["b"]) == 0
    with pytest.raises(ReleaseError, match="is not among the 1"):
        fleet.read(tmp_path / "client", fleet.device("b"))
    assert fleet.drop("--device-id", ids["a"]) == 1, "nobody could read the release"
    assert fleet.drop() == 1


def test_an_unchanged_component_is_the_same_blob_and_a_changed_one_alone_is_new(fleet: Fleet) -> None:
    before = blobs(fleet)
    assert fleet.publish_sealed(2) == 0
    assert len(blobs(fleet) - before) == 1, "the lexicon"


def test_wrapping_keeps_the_release_and_when_it_was_published_and_can_be_signed_elsewhere(fleet: Fleet, tmp_path: Path) -> None:
    before = release_of(Folder(fleet.repository), "group-canary", load_folder(fleet.repository).groups["group-canary"])
    assert before is not None
    assert fleet.wrap("c", signing=("online",)) == WAITING
    assert fleet.wrap("c", signing=("online",)) == WAITING, "once more is the same change"
    assert fleet.wrap("c", signing=("canary",)) == 1, "the timestamp cannot be signed"
    assert commit.main([str(fleet.repository), *fleet.with_keys("online")]) == 0
    after = release_of(Folder(fleet.repository), "group-canary", load_folder(fleet.repository).groups["group-canary"])
    assert after is not None
    assert after[0] == before[0]
    assert published_at(after[1]) == published_at(before[1])
    version = load_folder(fleet.repository).groups["group-canary"].signed.version
    assert fleet.wrap("c") == 0
    assert load_folder(fleet.repository).groups["group-canary"].signed.version == version, "what is wrapped already is no change"
    assert fleet.read(tmp_path / "client", fleet.device("c"))[0].id == "trial-1"


def test_a_release_in_the_clear_leaves_the_wrapped_keys_with_the_group(fleet: Fleet, tmp_path: Path) -> None:
    assert fleet.publish(2) == 0
    assert fleet.publish_sealed(3) == 0
    assert fleet.read(tmp_path / "client", fleet.device("a"))[0].id == "trial-3"


def test_what_is_promoted_must_be_wrapped_for_the_goal(fleet: Fleet, tmp_path: Path) -> None:
    state, files = load_folder(fleet.repository), Folder(fleet.repository)
    found = release_of(files, "group-canary", state.groups["group-canary"])
    assert found is not None
    signers = [load_signer(str(fleet.folder / name)) for name in ("fleet", "online")]
    now = published_at(found[1])
    with pytest.raises(OperatorError, match="no gateway of the group fleet could open"):
        publish_for(fleet.repository, "fleet", from_repository(files, found[0]), signers, now)
    assert fleet.wrap("c", group="fleet") == 0, "a group may have keys before it has a release"
    assert publish_for(fleet.repository, "fleet", from_repository(files, found[0]), signers, now) == 0
    assert fleet.read(tmp_path / "client", fleet.device("c"), "fleet")[0].id == "trial-1"
    with pytest.raises(ReleaseError, match="is not among the 1"):
        fleet.read(tmp_path / "client", fleet.device("a"), "fleet")


def test_a_revoked_release_gives_way_for_every_gateway_that_has_the_key_now(fleet: Fleet, tmp_path: Path) -> None:
    assert fleet.publish_sealed(2) == 0
    assert fleet.wrap("c") == 0
    arguments = [str(fleet.repository), "--group", "canary", "--release", "trial-2", *fleet.with_keys("canary", "online")]
    assert revoke.main(arguments) == 0
    assert fleet.read(tmp_path / "client", fleet.device("c"))[0].id == "trial-1.r3"


def test_what_was_changed_since_it_was_built_is_not_published(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    release = fleet.release(2, "--group-key", str(fleet.folder / "one"))
    with (release / "lexicon.txt").open("a") as file:
        file.write("more\n")
    assert fleet.publish_sealed(2) == 1
    assert "lexicon.txt: not what the manifest describes" in capsys.readouterr().err


def test_inspect_tells_what_is_sealed_and_for_how_many(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert inspect.main([str(fleet.repository)]) == 0
    assert "sealed for 2 devices" in capsys.readouterr().out
    assert inspect.main([str(fleet.repository), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["groups"]["group-canary"]
    assert told["wrapped"] == {told["sealed"][0]: 2}


def test_a_key_file_is_never_written_over_nor_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    assert group_key.main(["new", str(path)]) == 0
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert group_key.main(["new", str(path)]) == 1
    assert group_key.main(["show", str(path)]) == 0
    assert path.read_bytes() == before
    told = capsys.readouterr()
    assert read_group_key(path).id in told.out
    assert before.split()[2].decode() not in told.out + told.err
    path.chmod(0o640)
    assert group_key.main(["show", str(path)]) == 1
    assert "chmod 600" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no device is named"),
        ("# nothing\n\n", "no device is named"),
        ("\nnonsense\n", ":2: device-key: is no line"),
        (encode_device(STRANGER.public_key())[:-1] + "\n", ":1: device-key: is no line"),
        (encode_device(STRANGER.public_key()).replace(" ", " 0", 1) + "\n", ":1: device-key: the id"),
    ],
)
def test_a_slip_in_a_list_of_devices_is_named_by_its_line(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "list"
    path.write_text(text)
    arguments = ["wrap", str(fleet.repository), "--group", "canary", "--group-key", str(fleet.folder / "one")]
    assert group_key.main([*arguments, "--device", str(path), *fleet.with_keys("canary", "online")]) == 1
    assert said in capsys.readouterr().err


def test_a_component_may_not_have_the_name_of_the_wrapped_keys(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    release = fleet.release(2)
    (release / "keys.json").write_text("{}")
    assert build.main([str(release), "--id", "trial-2", "--counter", "2"]) == 1
    assert "keys.json: a gateway keeps the wrapped keys under this name" in capsys.readouterr().err
