"""A sealed release from the operator's build to a gateway that speaks with it: nothing of it is ever in the clear on the disk."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from edge_ota import build, bundle

from edge_agent.clock import SystemClock
from edge_agent.device_key import make_device_key, open_keys
from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.errors import ReleaseError
from edge_agent.probe import trial
from edge_agent.prompt import STYLES, prompt_of
from edge_agent.release.manifest import Manifest, parse_manifest
from edge_agent.release.sealing import seals
from edge_agent.update.fetch import Stop, fetch
from edge_agent.update.floor import Floor
from edge_agent.update.install import install
from edge_agent.update.jobs import Bundle, FetchJob, InstallJob, Looked, LookJob, Place, ProbeJob, Repository
from edge_agent.update.look import look
from edge_agent.update.store import Store
from edge_agent.values import Chunk
from tests.ota.sealed_fleet import Fleet
from tests.unit.engines.test_writer import SPIKE

SAMPLE_BYTES = 32


class Gateway:
    """A gateway's update folder, and what its child processes do there."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        folder.mkdir()
        self.folder = folder
        self.fleet = fleet
        self.store = Store(folder)
        self.store.prepare()

    def look(self, place: Place | None = None) -> tuple[Looked, Manifest]:
        job = LookJob(
            place=place or self.repository,
            group="canary",
            trust_folder=str(self.folder / "trust"),
            root_file=str(self.fleet.repository / "metadata/1.root.json"),
            now_s=datetime.now(UTC).timestamp(),
            build_time_s=0.0,
            known=Floor(),
        )
        looked = look(job, SystemClock())
        assert looked.problem is None
        assert looked.manifest is not None
        return looked, parse_manifest(looked.manifest, "release.json")

    @property
    def repository(self) -> Repository:
        return Repository(url=f"file://{self.fleet.repository}")

    def installed(self, place: Place | None = None) -> Path:
        """Look, fetch and install; the release's folder."""
        looked, _ = self.look(place)
        assert looked.manifest is not None
        assert looked.keys is not None
        sha256 = self.store.put_manifest(looked.manifest)
        assert sha256 == hashlib.sha256(looked.manifest).hexdigest()
        self.store.put_keys(sha256, looked.keys)
        job = FetchJob(
            place=place or self.repository,
            store_folder=str(self.folder),
            manifest_sha256=sha256,
            max_bytes=1 << 40,
            min_free_bytes=0,
        )
        fetched = fetch(job, SystemClock(), lambda line: None, Stop(), pause_s=0.0)
        assert fetched.complete, fetched.problem
        made = install(InstallJob(store_folder=str(self.folder), manifest_sha256=sha256, min_free_bytes=0))
        assert made.problem is None
        return Path(made.folder)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("sealed"))
    fleet.init()
    fleet.new_group_key("one")
    assert fleet.wrap("a", "b") == 0
    # Not one of the operator's trial releases, whose lexicons hold what no writer can say.
    folder = shutil.copytree(FACTORY, fleet.folder / "release-1", ignore=shutil.ignore_patterns("manifest.json"))
    arguments = [str(folder), "--id", "trial-1", "--counter", "1", "--group-key", str(fleet.folder / "one")]
    assert build.main(arguments) == 0
    assert fleet.publish_sealed(1) == 0
    return fleet


@pytest.fixture
def fleet(begun: Fleet, tmp_path: Path) -> Fleet:
    shutil.copytree(begun.folder, tmp_path / "operator")
    copied = Fleet.__new__(Fleet)
    copied.folder, copied.repository = tmp_path / "operator", tmp_path / "operator" / "repo"
    return copied


@pytest.fixture
def gateway(fleet: Fleet, tmp_path: Path) -> Gateway:
    return Gateway(tmp_path / "update", fleet)


def samples(release: Path) -> list[tuple[str, bytes]]:
    """Pieces of every component that say something and are not in the manifest, which is for all to read."""
    found, public = [], (release / "manifest.json").read_bytes()
    for path in sorted(release.rglob("*")):
        data = path.read_bytes() if path.is_file() and path.name != "manifest.json" else b""
        for at in range(0, max(0, len(data) - SAMPLE_BYTES), max(SAMPLE_BYTES, len(data) // 100)):
            piece = data[at : at + SAMPLE_BYTES]
            if len(set(piece)) > 8 and piece not in public:
                found.append((f"{path.name} at {at}", piece))
    return found


def in_the_clear(folder: Path, release: Path) -> list[str]:
    """What of the release's components can be found in a folder's files."""
    kept = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    return [where for where, piece in samples(release) if piece in kept]


def test_a_gateway_speaks_with_it_and_keeps_nothing_of_it_in_the_clear(
    gateway: Gateway, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "AGAIN_S", 0.0)
    key_file, built = str(fleet.device("a")), fleet.folder / "release-1"
    folder = gateway.installed()
    probed = trial.probe(ProbeJob(folder=str(folder), key_file=key_file), lambda what: None)
    assert probed.problem is None
    prompts = [prompt_of(Chunk(relation="alone", subjects=(SPIKE,)), style) for style in range(STYLES)]
    spoken = open_release(folder, key_file=key_file).open_writer().write(prompts)
    assert spoken == open_release(built).open_writer().write(prompts)
    assert gateway.store.verify(folder.name) == []
    assert len(samples(built)) > 200
    assert in_the_clear(gateway.folder, built) == []
    assert in_the_clear(built, built), "the search finds what is there"


def test_a_bundle_on_a_stick_is_taken_alike(gateway: Gateway, fleet: Fleet, tmp_path: Path) -> None:
    stick = tmp_path / "canary.tar"
    assert bundle.main([str(fleet.repository), "--group", "canary", str(stick)]) == 0
    folder = gateway.installed(Bundle(path=str(stick)))
    assert open_release(folder, key_file=str(fleet.device("b"))).manifest.id == "trial-1"
    assert in_the_clear(gateway.folder, fleet.folder / "release-1") == []


def test_a_gateway_without_the_key_is_told_before_anything_is_fetched(gateway: Gateway, fleet: Fleet) -> None:
    looked, manifest = gateway.look()
    assert fleet.wrap("c", key="two" if fleet.new_group_key("two") else "") == 0, "a key that the release is not sealed with"
    with pytest.raises(ReleaseError, match="is not among the 2 that the group key"):
        open_keys(manifest, looked.keys, "keys.json", str(fleet.device("c")))
    assert fleet.wrap("c") == 0
    looked, manifest = gateway.look()
    assert open_keys(manifest, looked.keys, "keys.json", str(fleet.device("c"))), "taken as soon as the key is wrapped for it"


def test_after_a_rotation_the_release_before_can_still_be_read(gateway: Gateway, fleet: Fleet) -> None:
    before = gateway.installed()
    old = open_release(before, key_file=str(fleet.device("a")))
    fleet.new_group_key("two")
    assert fleet.wrap("a", key="two") == 0
    assert fleet.publish_sealed(2, "two") == 0
    assert fleet.drop("--key-id", *seals(old.manifest)) == 0
    after = gateway.installed()
    assert open_release(after, key_file=str(fleet.device("a"))).manifest.counter == 2
    assert open_release(before, key_file=str(fleet.device("a"))).speaking == old.speaking
    with pytest.raises(ReleaseError, match="is not among the 1"):
        open_release(after, key_file=str(fleet.device("b")))


def test_what_does_not_change_is_not_fetched_again(gateway: Gateway, fleet: Fleet) -> None:
    gateway.installed()
    assert fleet.publish_sealed(2) == 0
    _, manifest = gateway.look()
    assert [path for path, _ in gateway.store.missing(manifest)] == ["lexicon.txt"]


def test_the_command_takes_it_up_to_its_trial_or_says_why_it_cannot(fleet: Fleet, tmp_path: Path) -> None:
    """All of the agent's own processes: look, fetch, install and probe."""
    make_device_key(fleet.device("c"))
    for device, said in (("c", "is not among the 2 that the group key"), ("a", "on trial: trial-1")):
        state = tmp_path / f"state-{device}"
        state.mkdir()
        config = tmp_path / f"{device}.yaml"
        config.write_text(
            f"state_dir: {state}\nruntime_dir: {state}\nupdate:\n  group: canary\n  key_file: {fleet.device(device)}\n"
            f"  root_file: {fleet.repository}/metadata/1.root.json\n  repository:\n    url: file://{fleet.repository}\n"
        )
        command = [sys.executable, "-m", "edge_agent", "update", "check", "--config", str(config)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert said in told.stdout + told.stderr
        assert in_the_clear(state, fleet.folder / "release-1") == []
        fetched = list((state / "update/blobs").iterdir())
        assert bool(fetched) == (device == "a"), "nothing is fetched that cannot be read"
