"""Every task on a repository, killed before each of its changes: gateways verify what stands, and the task run again finishes.

A gateway that saw the repository before, and one that never did, look after each kill. They find the release from before or the
one from after, whole; nothing of what was killed stands in the way of running the same command again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from edge_ota import commit, init, publish, refresh, revoke, rotate
from edge_ota.pending import pending_folder
from edge_ota.repository import load_folder
from edge_ota.signing import read_public

from edge_agent.errors import LinkError, RepositoryRefusedError
from tests.ota.device import Device
from tests.ota.interrupted import changes_of, killed_before
from tests.ota.repositories import INIT_SECRET, Operator

ONLINE = ("online", "snapshot")
ALL = ("root-a", "root-b", "root-c", "targets", "canary", "fleet", *ONLINE)


@dataclass(frozen=True)
class Task:
    """A command, and what gateways of the canary group run before and after it."""

    run: Callable[[Operator], int]
    before: str | None
    after: str | None
    prepare: Callable[[Operator], object] = lambda operator: None
    may_refuse: bool = False
    """A key was lost, so that for a moment nothing can be verified."""


def _publish(operator: Operator) -> int:
    release = operator.folder / "release-2"
    return publish.main([str(operator.repository), str(release), "--group", "canary", *operator.with_keys("canary", *ONLINE)])


def _rotate(role: str, new: str, old: str, *signing: str) -> Callable[[Operator], int]:
    def run(operator: Operator) -> int:
        gone = read_public(Path(operator.public(old))).keyid
        change = [str(operator.repository), "--role", role, "--add", operator.public(new), "--remove", gone]
        return rotate.main([*change, *operator.with_keys(*signing)])

    return run


def _new_key(operator: Operator) -> Path:
    return operator.new_key("next")


def _waiting_publish(operator: Operator) -> None:
    arguments = [str(operator.repository), str(operator.small_release(2)), "--group", "canary"]
    assert publish.main([*arguments, *operator.with_keys("canary")]) == 1, "the timestamp cannot be signed: it waits"


TASKS: dict[str, Task] = {
    "publish": Task(_publish, "trial-1", "trial-2", lambda operator: operator.small_release(2)),
    "commit": Task(
        lambda operator: commit.main([str(operator.repository), *operator.with_keys(*ONLINE)]),
        "trial-1",
        "trial-2",
        _waiting_publish,
    ),
    "revoke": Task(
        lambda operator: revoke.main(
            [str(operator.repository), "--group", "canary", "--release", "trial-2", *operator.with_keys("canary", *ONLINE)]
        ),
        "trial-2",
        "trial-1.r3",
        lambda operator: (operator.small_release(2), _publish(operator)),
    ),
    "refresh": Task(
        lambda operator: refresh.main([str(operator.repository), *operator.with_keys(*ONLINE)]), "trial-1", "trial-1"
    ),
    "refresh targets": Task(
        lambda operator: refresh.main([str(operator.repository), "--role", "targets", *operator.with_keys("targets", *ONLINE)]),
        "trial-1",
        "trial-1",
    ),
    "rotate root": Task(_rotate("root", "next", "root-a", *ALL, "next"), "trial-1", "trial-1", _new_key),
    "rotate timestamp": Task(_rotate("timestamp", "next", "online", *ALL, "next"), "trial-1", "trial-1", _new_key),
    "rotate targets": Task(_rotate("targets", "next", "targets", *ALL, "next"), "trial-1", "trial-1", _new_key),
    "rotate group": Task(_rotate("group-canary", "next", "canary", *ALL, "next"), "trial-1", "trial-1", _new_key),
    "rotate lost timestamp": Task(
        _rotate("timestamp", "next", "online", "root-a", "root-b", "snapshot", "next"),
        "trial-1",
        "trial-1",
        _new_key,
        may_refuse=True,
    ),
}


OFTEN = ("publish", "commit", "refresh", "rotate root", "rotate lost timestamp")
"""What every run of the suite goes through; the others take the same ways."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    operator = Operator(tmp_path_factory.mktemp("begun"))
    operator.new_key("snapshot")
    arguments = [*operator.init_arguments(*INIT_SECRET, "snapshot"), "--snapshot-key", operator.public("snapshot")]
    assert init.main(arguments) == 0
    release = operator.small_release(1)
    signing = operator.with_keys("canary", *ONLINE)
    assert publish.main([str(operator.repository), str(release), "--group", "canary", *signing]) == 0
    return operator


@pytest.mark.parametrize("name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in TASKS])
def test_a_task_may_be_killed_before_any_of_its_changes(begun: Operator, tmp_path: Path, name: str) -> None:
    task = TASKS[name]
    ready = begun.copied(tmp_path / "ready")
    task.prepare(ready)
    root = (ready.repository / "metadata/1.root.json").read_bytes()
    assert _id(Device(tmp_path / "device", root), ready.repository) == task.before
    counting = ready.with_repository(tmp_path / "counting")
    count = changes_of(lambda: task.run(counting), tmp_path / "count")
    assert count > 5
    seen = set()
    for number in range(1, count + 1):
        folder = tmp_path / f"{number}"
        operator = ready.with_repository(folder)
        killed_before(lambda operator=operator: task.run(operator), number)  # type: ignore[misc]  # bound now, not later
        state = _state(folder)
        if state in seen:
            continue
        seen.add(state)
        old, new = Device.copied(tmp_path / "device", folder / "old", root), Device(folder / "new", root)
        for device in (old, new):
            try:
                assert _id(device, operator.repository) in (task.before, task.after), f"killed before change {number}"
            except RepositoryRefusedError:
                if not task.may_refuse:
                    raise
        assert task.run(operator) == 0, f"killed before change {number}, it does not finish"
        for device in (old, new):
            assert _id(device, operator.repository) == task.after
        assert not pending_folder(operator.repository).exists()
        assert not load_folder(operator.repository).unfinished
        assert not list(operator.repository.rglob(".*")), "nothing half written is left"
        shutil.rmtree(folder)
    assert len(seen) > 5


def _state(folder: Path) -> bytes:
    """What stands in a folder, by names and sizes: the contents differ from run to run in times alone."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
    return digest.digest()


def test_a_beginning_may_be_killed_before_any_of_its_changes(begun: Operator, tmp_path: Path) -> None:
    """Until the timestamp stands there is no repository; then there is a whole one."""

    def fresh(folder: Path) -> Operator:
        operator = begun.with_repository(folder)
        shutil.rmtree(operator.repository)
        return operator

    def run(operator: Operator) -> int:
        arguments = operator.init_arguments(*INIT_SECRET, "snapshot")
        return init.main([*arguments, "--snapshot-key", operator.public("snapshot")])

    counting = fresh(tmp_path / "counting")
    count = changes_of(lambda: run(counting), tmp_path / "count")
    seen = set()
    for number in range(1, count + 1):
        operator = fresh(tmp_path / f"{number}")
        killed_before(lambda operator=operator: run(operator), number)  # type: ignore[misc]  # bound now, not later
        folder, root = operator.repository.parent, operator.repository / "metadata/1.root.json"
        if _state(folder) in seen:
            continue
        seen.add(_state(folder))
        if root.exists():
            try:
                assert Device(folder / "early", root.read_bytes()).release(operator.repository) is None
            except LinkError:
                assert not (operator.repository / "metadata/timestamp.json").exists()
        assert run(operator) == 0, f"killed before change {number}, it does not finish"
        assert Device(folder / "device", root.read_bytes()).release(operator.repository) is None
        shutil.rmtree(folder)


def _id(device: Device, repository: Path) -> str | None:
    manifest = device.release(repository)
    return None if manifest is None else manifest.id
