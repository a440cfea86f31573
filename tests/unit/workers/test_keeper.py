"""The keeper: one a device, what it keeps is on the disk, budgets by the day, and a record that is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.errors import ReleaseError, StorageError
from edge_agent.update.floor import Floor, RoleFloor
from edge_agent.update.machine import Failed, Found
from edge_agent.update.record import Candidate, Ended, Held, Record
from edge_agent.update.record_file import COPIES, RecordFile
from edge_agent.workers.keeper import DAY_S, FOLDER, Keeper, outcome_of, read_record
from tests.unit.workers.parts import StepClock

HELD = Held(release="fleet-1", counter=1, manifest_sha256="a" * 64)
FOUND = Found(Candidate(held=HELD, source="repository"))


def test_what_is_applied_is_on_the_disk(tmp_path: Path) -> None:
    keeper = Keeper.open(tmp_path, StepClock())
    assert keeper.apply(FOUND)
    assert not keeper.apply(Found(Candidate(held=HELD, source="repository")))
    assert read_record(tmp_path).stage == "fetching"
    keeper.close()
    assert Keeper.open(tmp_path, StepClock()).record.candidate == keeper.record.candidate


def test_what_is_not_on_the_disk_is_not_acted_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper.open(tmp_path, StepClock())

    def refuses(*_: object) -> Record:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(RecordFile, "save", refuses)
        with pytest.raises(StorageError):
            keeper.apply(FOUND)
        assert keeper.record == Record()
    assert keeper.apply(FOUND)
    assert keeper.record == read_record(tmp_path)
    assert keeper.record.generation > 0


def test_a_second_keeper_keeps_nothing(tmp_path: Path) -> None:
    keeper = Keeper.open(tmp_path, StepClock())
    with pytest.raises(StorageError):
        Keeper.open(tmp_path, StepClock())
    keeper.close()
    Keeper.open(tmp_path, StepClock()).close()


def test_a_record_that_is_lost_is_begun_anew_and_said(tmp_path: Path) -> None:
    keeper = Keeper.open(tmp_path, StepClock())
    keeper.apply(FOUND)
    keeper.close()
    for name in COPIES:
        (tmp_path / FOLDER / name).write_bytes(b"")
    again = Keeper.open(tmp_path, StepClock())
    assert again.lost
    assert again.record.stage == "idle"
    assert again.apply(FOUND)
    assert read_record(tmp_path).stage == "fetching"


def test_a_device_without_a_record_has_an_empty_one(tmp_path: Path) -> None:
    assert read_record(tmp_path).active is None


def test_budgets_are_of_one_day(tmp_path: Path) -> None:
    clock = StepClock()
    keeper = Keeper.open(tmp_path, clock)
    keeper.saw(Floor(), "nothing new")
    keeper.spent(500)
    keeper.saw(Floor(), "nothing new")
    assert keeper.today() == (2, 500)
    clock.s += DAY_S
    assert keeper.today() == (0, 0)
    keeper.spent(7)
    assert keeper.today() == (0, 7)
    assert keeper.record.looked_count == 2


def test_what_a_look_found_raises_the_floor_and_never_lowers_it(tmp_path: Path) -> None:
    keeper = Keeper.open(tmp_path, StepClock())
    for version in (1, 2, 1):
        keeper.saw(Floor(roles={"root": RoleFloor(version=version)}), "nothing new")
    keeper.knows(Floor(roles={"root": RoleFloor(version=1)}))
    assert read_record(tmp_path).floor.roles["root"].version == 2
    keeper.knows(Floor(roles={"root": RoleFloor(version=3)}))
    assert read_record(tmp_path).floor.roles["root"].version == 3
    assert read_record(tmp_path).looked == "nothing new"


def test_a_release_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="fleet-1: its folder is gone"):
        Keeper.open(tmp_path, StepClock()).folder_of(HELD)


def test_an_outcome_is_told_as_it_is_recorded(tmp_path: Path) -> None:
    keeper = Keeper.open(tmp_path, StepClock())
    keeper.apply(FOUND)
    keeper.apply(Failed("bad"))
    (ended,) = keeper.record.ended
    assert isinstance(ended, Ended)
    told = outcome_of(ended)
    assert (told.release, told.counter, told.outcome, told.reason) == ("fleet-1", 1, "refused", "bad")
