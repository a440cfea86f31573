"""Power cuts while what is trusted is written: no old state is believed afterwards, and the next look succeeds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_agent import atomic
from edge_agent.errors import RepositoryRefusedError
from tests.update.crash_states import Disk, Recorder, after_a_cut, read, write
from tests.update.device import Device
from tests.update.simulator import Repository, Served

State = dict[str, bytes]


def cut_states(device: Device, files: State, monkeypatch: pytest.MonkeyPatch) -> list[Disk]:
    """What cuts in one look at `files` may leave; the look itself is carried through."""
    before = read(device.folder)
    recorder = Recorder(device.folder)
    with monkeypatch.context() as patched:
        patched.setattr(atomic, "os", recorder)
        assert device.look(files) is not None
    assert {kind for kind, _, _ in recorder.log} == {"create", "write", "sync", "rename"}
    states = after_a_cut(before, recorder.log)
    assert read(device.folder) in states
    assert before in states
    return states


def test_cuts_in_the_very_first_look_lose_nothing(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository()
    states = cut_states(Device(memory / "update", repository.factory_root), repository.files, monkeypatch)
    assert len(states) > 20
    for number, disk in enumerate(states):
        folder = memory / str(number)
        write(folder, disk)
        assert Device(folder, repository.factory_root).look(repository.files) is not None, sorted(disk)
        shutil.rmtree(folder)


@pytest.mark.parametrize(("rotated", "damaged"), [(False, None), (True, None), (False, "trusted.a"), (True, "trusted.b")])
def test_after_a_cut_no_state_older_than_the_last_that_was_reported_is_believed(
    memory: Path, monkeypatch: pytest.MonkeyPatch, rotated: bool, damaged: str | None
) -> None:
    repository = Repository()
    device = Device(memory / "update", repository.factory_root)
    device.look(repository.files)
    old = dict(repository.files)
    repository.release()
    device.look(repository.files)
    if damaged is not None:
        (device.folder / damaged).write_bytes(b"edge-agent trusted 1\n")
    if rotated:
        repository.rotate("root", "timestamp", "snapshot")
    repository.release()
    states = cut_states(device, repository.files, monkeypatch)
    assert len(states) > 15
    for number, disk in enumerate(states):
        folder = memory / str(number)
        write(folder, disk)
        after = Device(folder, repository.factory_root)
        with pytest.raises(RepositoryRefusedError):
            after.look(old)
        assert after.look(repository.files) is not None
        with pytest.raises(RepositoryRefusedError):
            after.look(old)
        shutil.rmtree(folder)


def test_a_look_that_finds_nothing_new_writes_nothing(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository()
    device = Device(memory / "update", repository.factory_root)
    device.look(repository.files)
    recorder = Recorder(device.folder)
    monkeypatch.setattr(atomic, "os", recorder)
    device.look(repository.files)
    assert recorder.log == []


def test_what_was_verified_before_a_failure_is_kept(memory: Path) -> None:
    repository = Repository()
    device = Device(memory / "update", repository.factory_root)
    device.look(repository.files)
    old = dict(repository.files)
    repository.rotate("root", "targets")
    repository.release()
    without = {path: data for path, data in repository.files.items() if path != "metadata/2.snapshot.json"}
    assert not device.believes(without)
    assert device.versions() | {"group-a": 1} == {"root": 2, "timestamp": 2, "snapshot": 1, "targets": 1, "group-a": 1}
    assert not device.believes(Served(old))
    assert device.believes(repository.files)


def test_the_model_of_the_disk_knows_what_a_missing_sync_costs() -> None:
    careless = [("create", ".x.tmp", None), ("write", ".x.tmp", b"newer"), ("rename", ".x.tmp", "x"), ("sync", "", None)]
    states = after_a_cut({"x": b"old"}, careless)
    assert {"x": b""} in states
    assert {"x": b"ne"} in states
    careful = [*careless[:2], ("sync", ".x.tmp", None), *careless[2:]]
    assert {disk["x"] for disk in after_a_cut({"x": b"old"}, careful)} == {b"old", b"newer"}
