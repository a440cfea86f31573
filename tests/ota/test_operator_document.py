"""The operator's page, run command by command: a ceremony of several people, a fleet, and what is done when something is lost."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.publish
import pytest
from edge_ota.inspect import look
from edge_ota.repository import load_folder
from edge_ota.signing import read_public

from edge_agent.messages.documents import encode
from edge_agent.messages.updates import UpdateOutcome, UpdateState, update_document
from tests.mosquitto import Mosquitto, free_port
from tests.ota import terminal
from tests.ota.device import Device

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/releases-operator.md"
_PART = re.compile(r"^## (?P<heading>[^\n]*)$|^```sh (?P<machine>\w+)\n(?P<script>.*?)^```$", re.MULTILINE | re.DOTALL)
_UNIT = re.compile(r"^ExecStart=(.*)$", re.MULTILINE)
TIMER = "Every day, every month, every year"
pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Step:
    """The commands of one block."""

    heading: str
    machine: str
    script: str


def steps() -> list[Step]:
    heading, found = "", []
    for part in _PART.finditer(DOCUMENT.read_text(encoding="utf-8")):
        heading = part["heading"] or heading
        if part["script"]:
            found.append(Step(heading, part["machine"], part["script"]))
    return found


class Fleet:
    """The machines of the page, the stick between them, and two gateways."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder = folder
        self.broker = broker
        self.office = folder / "office"
        self.repository = self.office / "releases"
        binaries = Path(sys.executable).parent
        self._environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "dumb"}
        self._places = {
            "/media/stick": str(folder / "stick"),
            "/srv/edge": str(folder / "www"),
            "-h broker.example": f"-h 127.0.0.1 -p {broker.port}",
            "-W 10": "-W 2",
            "--hold-h 24": "--hold-h 0",
            "--port 8080": f"--port {free_port()}",
        }
        for name in {step.machine for step in steps()} | {"stick"}:
            (folder / name).mkdir()
        shutil.copy(ROOT / "tests/recordings/host.csv", self.office / "recording.csv")
        (self.office / "canaries.txt").write_text("gw-1\n")

    def run(self, step: Step) -> str:
        """Run a step at its machine; what was shown."""
        script = step.script
        for place, here in self._places.items():
            script = script.replace(place, here)
        code, shown = terminal.run(script, self.folder / step.machine, self._environment)
        assert code == 0, f"{step.heading}, at {step.machine}:\n{script}\n{shown}"
        return shown

    def runs(self, group: str = "canary", repository: Path | None = None) -> tuple[str, int] | None:
        """Name and counter of the release that a new gateway of the group takes."""
        root = (self.repository / "metadata/1.root.json").read_bytes()
        number = len(list(self.folder.glob("gateway-*")))
        device = Device(self.folder / f"gateway-{number}", root)
        manifest = device.release(repository or self.repository, group)
        return None if manifest is None else (manifest.id, manifest.counter)

    def report(self) -> None:
        """The canary has taken what its group has, and says so as its agent does."""
        entry = load_folder(self.repository).groups["group-canary"].signed.targets["groups/canary/release.json"]
        release, counter, digest = entry.custom["release"], entry.custom["counter"], entry.hashes["sha256"]
        outcome = UpdateOutcome(
            release=release, counter=counter, manifest_sha256=digest, outcome="committed", reason="", at_s=1.7e9
        )
        state = UpdateState(
            gateway="gw-1", release=release, counter=counter, manifest_sha256=digest, outcomes=(outcome,), changed_s=1.7e9
        )
        paho.mqtt.publish.single(
            "edge/gw-1/update", encode(update_document(state)), 1, retain=True, hostname="127.0.0.1", port=self.broker.port
        )


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Mosquitto(tmp_path / "broker") as broker:
        (tmp_path / "fleet").mkdir()
        yield Fleet(tmp_path / "fleet", broker)


def test_the_page_is_followed_to_its_end(fleet: Fleet) -> None:
    """One gateway looks after each part and always finds something whole; what each part is for has then come about."""
    expected: dict[str, tuple[str, object]] = {
        "A release": ("canary", ("line-1", 1)),
        "Watching, and promoting": ("fleet", ("line-1", 1)),
        "Taking a release back": ("canary", ("line-1.r3", 3)),
        "For gateways without a network": ("fleet", ("line-1", 1)),
        "When people change": ("canary", ("line-1.r3", 3)),
        "When something is lost or stolen": ("fleet", ("line-1", 1)),
    }
    passed, seen = [], None
    for number, step in enumerate(found := steps()):
        if step.heading == "Watching, and promoting":
            fleet.report()
        shown = fleet.run(step)
        assert terminal.PASSPHRASE not in shown
        if step.heading == "The key ceremony" and "commit" in step.script:
            root = (fleet.repository / "metadata/1.root.json").read_bytes()
            seen = Device(fleet.folder / "seen", root)
        if seen is not None:
            seen.release(fleet.repository)
        if number + 1 == len(found) or found[number + 1].heading != step.heading:
            passed.append(step.heading)
            if step.heading == TIMER:
                _timer(fleet)
            if step.heading in expected:
                group, release = expected[step.heading]
                assert fleet.runs(group) == release, step.heading
    assert {TIMER, *expected} <= set(passed)
    _after(fleet)


def _timer(fleet: Fleet) -> None:
    """What the timer's unit runs."""
    before = load_folder(fleet.repository).timestamp.signed.version
    command = _UNIT.search(DOCUMENT.read_text(encoding="utf-8"))
    assert command is not None
    fleet.run(Step(TIMER, "office", f"{command[1]}\n"))
    assert load_folder(fleet.repository).timestamp.signed.version == before + 1


def _after(fleet: Fleet) -> None:
    state = load_folder(fleet.repository)
    root = state.root.signed
    assert root.version == 3
    assert (root.roles["root"].threshold, len(root.roles["root"].keyids)) == (2, 3)
    keys = {name: read_public(path).keyid for name in ("online", "online-2") if (path := fleet.office / f"{name}.pub")}
    chris = read_public(fleet.folder / "stick/root-chris.pub").keyid
    assert chris not in root.roles["root"].keyids
    assert root.roles["timestamp"].keyids == root.roles["snapshot"].keyids == [keys["online-2"]]
    assert fleet.runs("canary", fleet.folder / "www") == ("line-1", 1), "the copy is a whole repository, as it stood then"
    bundle = look(fleet.folder / "stick/fleet.tar", state.timestamp.signed.expires.replace(year=2020))
    assert (bundle["problems"], bundle["groups"]["group-fleet"]["id"]) == ([], "line-1")
    for path in fleet.folder.glob("*/*"):
        if path.is_file() and path.read_bytes().startswith(b"-----BEGIN"):
            assert path.stat().st_mode & 0o777 == 0o600
            assert (b"ENCRYPTED" in path.read_bytes()) != path.name.startswith("online"), path
