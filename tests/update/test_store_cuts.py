"""Power cuts while a release is fetched, installed, committed, rolled back and collected: every state that they may leave.

Each scenario runs once on a small device and is recorded. Every state that a cut could have left is then a disk of its own, and
on each of them: what the record says is active, and what it would roll back to, is whole; what was reported as done is
still done; and the device, started again, gets to where it was going and keeps nothing that nobody needs.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.update.machine import needed
from edge_agent.update.record import Record
from edge_agent.update.store import Store
from tests.update.crash_states import MODELS, SEED, Mark, Model, Recorder, State, after_a_cut, one_cut, read, write
from tests.update.small_device import SmallDevice
from tests.update.small_releases import MODEL, SmallRelease, adapted, release

FIRST, SECOND, THIRD = release(1), release(2), release(3)
BASE, ADAPTER = b"base" * 3_000, b"adapter"
MERGED = BASE[:6_000] + ADAPTER + BASE[6_000:]
ADAPTED = adapted(2, BASE, ADAPTER, MERGED)


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Not synced, and in two parts: that is the store's business."""
    old = base.read_bytes()
    fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(fd, old[:6_000] + adapter.read_bytes())
    os.write(fd, old[6_000:])
    os.close(fd)


def device(folder: Path, report: Callable[[Record], None] = lambda record: None) -> SmallDevice:
    return SmallDevice(folder, merge, report)


def states(folder: Path, model: Model, do: Callable[[SmallDevice], object]) -> list[State]:
    """What cuts while the device in `folder` does something may leave; what it does is carried through."""
    recorder = Recorder(folder)
    with recorder.recording():
        do(device(folder, recorder.report))
    found = after_a_cut(recorder, model)
    assert any(state.disk == recorder.before for state in found)
    assert any(state.disk == read(folder) for state in found)
    return found


def check(folder: Path, state: State, *, rotten: bool = False) -> Record:
    """What must hold on every disk before anything is done about it; the record there."""
    write(folder, state.disk)
    cut = device(folder)
    record = cut.record
    if state.reported is not None:
        assert record.generation >= state.reported.generation
        assert record == state.reported or record.generation > state.reported.generation
    for held in (record.active, record.previous):
        if held is not None and not (rotten and held == record.active):
            assert cut.store.release_folder(held.manifest_sha256) is not None
            assert cut.store.verify(held.manifest_sha256) == []
    return record


def check_clean(folder: Path) -> None:
    """Nothing may be there that no release of the record needs."""
    record = device(folder).record
    store = Store(folder)
    blobs = {component.sha256 for sha256 in needed(record) for component in store.manifest(sha256).components.values()}
    assert set(os.listdir(folder / "blobs")) == blobs
    assert os.listdir(folder / "parts") == []
    assert set(os.listdir(folder / "releases")) == needed(record)
    assert set(os.listdir(folder / "manifests")) == {f"{sha256}.json" for sha256 in needed(record)}


def with_first(memory: Path) -> Path:
    folder = memory / "update"
    folder.mkdir()
    device(folder).take(FIRST)
    return folder


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("before", "offered"),
    [([], FIRST), ([FIRST], SECOND), ([FIRST], ADAPTED), ([FIRST, SECOND], THIRD)],
    ids=["the first", "the second", "an adapter", "the third, so that the first goes"],
)
def test_cuts_while_a_release_is_taken(memory: Path, model: Model, before: list[SmallRelease], offered: SmallRelease) -> None:
    folder = memory / "update"
    folder.mkdir()
    for each in before:
        device(folder).take(each)
    found = states(folder, model, lambda device: device.take(offered))
    assert len(found) > 100
    for number, state in enumerate(found):
        after = memory / str(number)
        record = check(after, state)
        assert record.active in (before[-1].held if before else None, offered.held)
        assert device(after).take(offered).active == offered.held
        assert device(after).store.verify(offered.sha256) == []
        check_clean(after)
        shutil.rmtree(after)


@pytest.mark.parametrize("model", MODELS)
def test_a_hundred_cuts_in_a_row_end_in_a_good_release(memory: Path, model: Model) -> None:
    draw = random.Random(SEED)
    folder = with_first(memory)
    newest = SECOND
    for number in range(100):
        recorder = Recorder(folder)
        with recorder.recording():
            device(folder, recorder.report).take(newest)
        shutil.rmtree(folder)
        folder = memory / str(number)
        record = check(folder, one_cut(recorder, model, draw))
        if record.active == newest.held:
            newest = release(newest.manifest.counter + 1)
    assert newest.manifest.counter > 10
    assert device(folder).take(newest).active == newest.held
    assert device(folder).store.verify(newest.sha256) == []
    check_clean(folder)


@pytest.mark.parametrize("model", MODELS)
def test_cuts_during_a_rollback(memory: Path, model: Model) -> None:
    folder = with_first(memory)
    device(folder).take(SECOND)
    found = states(folder, model, lambda device: device.roll_back())
    assert len(found) > 20
    for number, state in enumerate(found):
        after = memory / str(number)
        record = check(after, state)
        if record.active == SECOND.held:
            device(after).roll_back()
        record = device(after).record
        assert (record.active, record.refused_counter) == (FIRST.held, 2)
        assert device(after).take(SECOND).active == FIRST.held
        assert device(after).take(THIRD).active == THIRD.held
        check_clean(after)
        shutil.rmtree(after)


@pytest.mark.parametrize("model", MODELS)
def test_cuts_while_the_trial_is_counted_never_give_a_try_back(memory: Path, model: Model) -> None:
    folder = with_first(memory)
    recorder = Recorder(folder)
    small = device(folder, recorder.report)
    with recorder.recording():
        small.take(SECOND)
    began = [step.value for step in recorder.log if isinstance(step, Mark) and step.value.stage in ("probing", "trial")]
    assert [(record.stage, record.tries_left) for record in began] == [("probing", 2), ("trial", 3), ("trial", 2)]
    for number, state in enumerate(after_a_cut(recorder, model)):
        if state.reported in began:
            record = check(memory / str(number), state)
            same = record.stage == state.reported.stage
            assert not same or record.tries_left <= state.reported.tries_left
            shutil.rmtree(memory / str(number))


@pytest.mark.parametrize("model", MODELS)
def test_cuts_while_a_rotten_release_is_healed(memory: Path, model: Model) -> None:
    folder = with_first(memory)
    device(folder).take(SECOND)
    spoil(folder, SECOND)

    def heal(device: SmallDevice) -> None:
        device.heal()
        device.take(SECOND)

    for number, state in enumerate(states(folder, model, heal)):
        after = memory / str(number)
        if device_at := check_rotten(after, state):
            device_at.heal()
            assert device_at.take(SECOND).active == SECOND.held
            assert device_at.store.verify(SECOND.sha256) == []
        shutil.rmtree(after)


def spoil(folder: Path, spoilt: SmallRelease) -> None:
    """Flip a bit of a blob, which is the release's file too."""
    path = folder / "blobs" / spoilt.manifest.components[MODEL].sha256
    data = bytearray(path.read_bytes())
    data[5_000] ^= 1
    with path.open("r+b") as file:
        file.write(data)


def check_rotten(folder: Path, state: State) -> SmallDevice:
    check(folder, state, rotten=True)
    return device(folder)
