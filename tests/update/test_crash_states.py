"""Power cuts while what is trusted is written: no old state is believed afterwards, and the next look succeeds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edge_agent.atomic import fsync_folder
from edge_agent.errors import RepositoryRefusedError
from tests.update.crash_states import MODELS, Disk, Model, Names, New, Recorder, Sync, Write, after_a_cut, read, write
from tests.update.device import Device
from tests.update.simulator import Repository, Served

State = dict[str, bytes]


def cut_states(device: Device, files: State, model: Model = "any subset") -> list[Disk]:
    """What cuts in one look at `files` may leave; the look itself is carried through."""
    recorder = Recorder(device.folder)
    with recorder.recording():
        assert device.look(files) is not None
    assert {type(step) for step in recorder.log} == {New, Names, Write, Sync}
    states = [state.disk for state in after_a_cut(recorder, model)]
    assert read(device.folder) in states
    assert recorder.before in states
    return states


@pytest.mark.parametrize("model", MODELS)
def test_cuts_in_the_very_first_look_lose_nothing(memory: Path, model: Model) -> None:
    repository = Repository()
    states = cut_states(Device(memory / "update", repository.factory_root), repository.files, model)
    assert len(states) > 15
    for number, disk in enumerate(states):
        folder = memory / str(number)
        write(folder, disk)
        assert Device(folder, repository.factory_root).look(repository.files) is not None, sorted(disk)
        shutil.rmtree(folder)


@pytest.mark.parametrize(("rotated", "damaged"), [(False, None), (True, None), (False, "trusted.a"), (True, "trusted.b")])
def test_after_a_cut_no_state_older_than_the_last_that_was_reported_is_believed(
    memory: Path, rotated: bool, damaged: str | None
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
    states = cut_states(device, repository.files)
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


def test_a_look_that_finds_nothing_new_writes_nothing(memory: Path) -> None:
    repository = Repository()
    device = Device(memory / "update", repository.factory_root)
    device.look(repository.files)
    recorder = Recorder(device.folder)
    with recorder.recording():
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


def written(folder: Path, *, careful: bool) -> Recorder:
    """A file replaced by renaming, with its bytes synced before or not at all."""
    (folder / "x").write_bytes(b"old")
    recorder = Recorder(folder)
    with recorder.recording():
        fd = os.open(folder / ".x.tmp", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"newer")
        if careful:
            os.fsync(fd)
        os.close(fd)
        os.replace(folder / ".x.tmp", folder / "x")
        fsync_folder(folder)
    return recorder


@pytest.mark.parametrize("model", MODELS)
def test_the_model_of_the_disk_knows_what_a_missing_sync_costs(memory: Path, model: Model) -> None:
    careless = {state.disk["x"] for state in after_a_cut(written(memory, careful=False), model)}
    assert careless == {b"old", b"", b"ne", b"\0\0\0\0\0", b"newer"}
    careful = {state.disk["x"] for state in after_a_cut(written(memory, careful=True), model)}
    assert careful == {b"old", b"newer"}


def test_the_model_of_the_disk_keeps_the_names_of_each_folder_apart(memory: Path) -> None:
    (memory / "a").mkdir()
    (memory / "b").mkdir()
    (memory / "a" / "x").write_bytes(b"x")
    recorder = Recorder(memory)
    with recorder.recording():
        os.rename(memory / "a" / "x", memory / "b" / "x")
        recorder.report("renamed")
        fsync_folder(memory / "b")
        recorder.report("synced")
    any_subset = {(frozenset(name for name in state.disk if name[-1] == "x"), state.reported) for state in after_a_cut(recorder)}
    both, here, there, nowhere = frozenset({"a/x", "b/x"}), frozenset({"a/x"}), frozenset({"b/x"}), frozenset[str]()
    assert any_subset >= {(each, "renamed") for each in (both, here, there, nowhere)}
    assert {names for names, reported in any_subset if reported == "synced"} == {both, there}
    ordered = after_a_cut(recorder, "ordered")
    assert {frozenset(name for name in state.disk if name[-1] == "x") for state in ordered} == {here, there}
    assert {"b/x"} == {name for state in ordered if state.reported == "synced" for name in state.disk if name[-1] == "x"}


def test_the_recorder_notices_what_it_did_not_record(memory: Path) -> None:
    recorder = Recorder(memory)
    with pytest.raises(AssertionError), recorder.recording():
        (memory / "x").write_bytes(b"by another way")
