"""Which release speaks: in order, down to templates, whatever is damaged, and what the record says of it afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.engines.loading import FACTORY, OpenRelease, open_release
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.metrics import Metrics
from edge_agent.update.machine import MAX_TRIES, Begins, Event, Fetched, Found, Installed, Passed, Soaked, why_not
from edge_agent.update.record import Candidate, Held, Record
from edge_agent.workers.choice import begin, leave_crashing, open_beside, open_factory, open_speaking
from edge_agent.workers.keeper import Keeper
from tests.unit.workers.parts import StepClock

ON_TRIAL: tuple[Event, ...] = (Fetched(), Installed(), Begins(), Passed())


def held(counter: int) -> Held:
    return Held(release=f"fleet-{counter}", counter=counter, manifest_sha256=f"{counter:064x}")


class Device:
    """A keeper whose releases are copies of the factory's; which of them open is up to the test."""

    def __init__(self, folder: Path) -> None:
        self.keeper = Keeper.open(folder, StepClock())
        self.metrics = Metrics()

    def take(self, counter: int, *more: Event) -> None:
        folder = self.keeper.folder / "releases" / held(counter).manifest_sha256
        shutil.copytree(FACTORY, folder)
        for event in (Found(Candidate(held=held(counter), source="repository")), *ON_TRIAL, *more):
            assert self.keeper.apply(event)

    def damage(self, counter: int) -> None:
        (self.keeper.folder / "releases" / held(counter).manifest_sha256 / "lexicon.txt").write_bytes(b"rotten")

    def speaks(self, factory: Path = FACTORY) -> str:
        opened = open_speaking(self.keeper, open_release, factory, self.metrics)
        return "templates" if opened is None else opened.folder.name[-1]

    @property
    def record(self) -> Record:
        return self.keeper.record


@pytest.fixture
def device(tmp_path: Path) -> Device:
    device = Device(tmp_path)
    device.take(1, Soaked())
    device.take(2, Soaked())
    return device


def test_the_active_release_speaks(device: Device) -> None:
    assert device.speaks() == "2"


@pytest.mark.parametrize("meanwhile", [(), ON_TRIAL[:1], ON_TRIAL[:3]], ids=["idle", "verified", "probing"])
def test_what_crashes_again_and_again_gives_way_down_to_the_factorys(device: Device, meanwhile: tuple[Event, ...]) -> None:
    if meanwhile:
        for event in (Found(Candidate(held=held(3), source="repository")), *meanwhile):
            device.keeper.apply(event)
    candidate = device.record.candidate
    for left, then in ((2, held(1)), (1, None)):
        assert leave_crashing(device.keeper, "the agent crashed 5 times in a row")
        assert device.record.active == then
        assert (device.record.ended[-1].held, device.record.ended[-1].result) == (held(left), "rolled-back")
        assert device.record.ended[-1].reason == "the agent crashed 5 times in a row with it"
    assert "failed here" in why_not(device.record, held(2))
    assert device.record.candidate == candidate
    assert not leave_crashing(device.keeper, "the agent crashed 5 times in a row")


def test_what_crashes_on_trial_has_its_own_tries(device: Device) -> None:
    device.take(3)
    assert not leave_crashing(device.keeper, "the agent crashed 5 times in a row")
    assert device.record.active == held(2)


def test_what_cannot_be_opened_gives_way_to_what_was_before_it_down_to_templates(device: Device, tmp_path: Path) -> None:
    device.damage(2)
    assert device.speaks() == "1"
    assert device.record.active == held(1)
    assert "cannot be opened any more" in device.record.ended[-1].reason
    assert why_not(device.record, held(2)) == ""
    device.damage(1)
    assert device.speaks() == "y"  # of `factory`
    assert device.record.active is None
    assert device.speaks(tmp_path / "nothing") == "templates"
    assert any("template" in each for each in device.metrics.conditions.current())


def test_both_damaged_at_once_leave_the_factory_release(device: Device) -> None:
    device.damage(1)
    device.damage(2)
    assert device.speaks() == "y"
    assert [each.result for each in device.record.ended[-2:]] == ["rolled-back", "rolled-back"]


def test_a_candidate_on_trial_that_cannot_be_opened_is_given_up(device: Device) -> None:
    device.take(3)
    device.damage(3)
    assert device.speaks() == "2"
    assert (device.record.ended[-1].result, device.record.stage) == ("rolled-back", "idle")


def test_a_start_in_a_trial_is_a_try_and_is_counted_first(device: Device) -> None:
    device.take(3)
    left = []
    for _ in range(MAX_TRIES):
        opened, began = begin(device.keeper, open_release, FACTORY, device.metrics)
        assert began
        assert opened is not None
        assert opened.folder.name.endswith("3")
        left.append(device.record.tries_left)
    assert left == [2, 1, 0]
    opened, began = begin(device.keeper, open_release, FACTORY, device.metrics)
    assert not began
    assert opened is not None
    assert opened.folder.name.endswith("2")
    assert device.record.ended[-1].result == "rolled-back"


def test_a_start_after_the_device_went_down_gives_the_try_back(device: Device) -> None:
    device.take(3)
    for number in range(MAX_TRIES + 2):
        device.keeper.boot = f"boot {number}"
        assert begin(device.keeper, open_release, FACTORY, device.metrics)[1]
    assert (device.record.stage, device.record.tries_left, device.record.cuts) == ("trial", MAX_TRIES - 1, MAX_TRIES + 1)


def refuses(*_: object) -> bool:
    raise StorageError("the disk is full")


def test_a_try_that_cannot_be_counted_is_not_made(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.take(3)
    monkeypatch.setattr(device.keeper, "apply", refuses)
    opened, began = begin(device.keeper, open_release, FACTORY, device.metrics)
    assert not began
    assert opened is not None
    assert opened.folder.name.endswith("2")
    assert device.record.stage == "trial"


def test_a_full_disk_and_a_damaged_release_still_speak(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.damage(2)
    monkeypatch.setattr(device.keeper, "apply", refuses)
    opened, _ = begin(device.keeper, open_release, FACTORY, device.metrics)
    assert opened is not None
    assert opened.folder.name.endswith("1")


def test_the_factory_release_is_the_last_but_templates(tmp_path: Path) -> None:
    metrics = Metrics()
    opens: Callable[[Path], OpenRelease] = open_release
    assert open_factory(opens, tmp_path, metrics) is None
    assert metrics.conditions.current()
    assert open_factory(opens, FACTORY, metrics) is not None
    assert metrics.conditions.current() == ()


def sealed(folder: Path) -> OpenRelease:
    """Opens the factory's folder alone: for all others this device's key cannot be read."""
    if folder == FACTORY:
        return open_release(folder)
    raise ReleaseError(f"{folder}: is sealed") from StorageError("the key is not there")


def test_a_key_that_is_missing_takes_no_release_off_the_record(device: Device) -> None:
    before = device.record
    opened = open_speaking(device.keeper, sealed, FACTORY, device.metrics)
    assert opened is not None
    assert opened.folder == FACTORY
    assert device.record == before
    assert any("is sealed" in each for each in device.metrics.conditions.current())
    assert device.speaks() == "2"
    assert device.metrics.conditions.current() == ()


def test_a_key_that_is_missing_costs_a_trial_no_try_however_often_the_agent_starts(device: Device) -> None:
    device.take(3)
    for _ in range(2 * MAX_TRIES):
        opened, began = begin(device.keeper, sealed, FACTORY, device.metrics)
        assert not began
        assert opened is not None
        assert opened.folder == FACTORY
    assert (device.record.stage, device.record.tries_left) == ("trial", MAX_TRIES)
    with pytest.raises(StorageError, match="cannot be tried yet"):
        open_speaking(device.keeper, sealed, FACTORY, device.metrics)


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_what_nobody_thought_of_does_not_keep_the_agent_from_starting(device: Device, error: type[Exception]) -> None:
    def unexpected(folder: Path) -> OpenRelease:
        if folder == FACTORY:
            return open_release(folder)
        raise error

    device.take(3)
    opened, began = begin(device.keeper, unexpected, FACTORY, device.metrics)
    assert not began
    assert opened is not None
    assert opened.folder == FACTORY
    # That memory is short now says nothing of what ran for long.
    left = [each.held.counter for each in device.record.ended if each.result == "rolled-back"]
    assert left == ([3] if error is MemoryError else [3, 2, 1])
    assert error.__name__ in device.record.ended[-1].reason


def test_beside_another_keeper_the_active_release_speaks_and_a_lost_record_leaves_the_factory(
    device: Device, tmp_path: Path
) -> None:
    device.take(3)
    opened = open_beside(tmp_path, open_release, FACTORY, device.metrics)
    assert opened is not None
    assert opened.folder.name.endswith("2")
    assert device.record.stage == "trial"
    for name in ("record.a", "record.b"):
        (device.keeper.folder / name).write_bytes(b"rotten")
    opened = open_beside(tmp_path, open_release, FACTORY, device.metrics)
    assert opened is not None
    assert opened.folder == FACTORY
