"""Simulated power cuts at every point of real traffic: what the journal acknowledged is there, and the file is whole.

The simulation is described in `power_cuts.disk`. That it can find a loss at all is shown by a journal that syncs too little
and by a disk that lies about its syncs.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.config.settings import JournalSettings
from edge_agent.journal import JOURNAL_NAME
from edge_agent.journal.store import suspect_path
from edge_agent.values import Escalation, Incident, Summary
from tests.fault.power_cuts import workload
from tests.fault.power_cuts.calls import effects
from tests.fault.power_cuts.claims import Claims, Contents, Findings, read
from tests.fault.power_cuts.disk import Cut, Disk, cuts, materialise
from tests.fault.power_cuts.replacing import version
from tests.fault.power_cuts.trace import Mark, Rename, Trace, record
from tests.journals import message, open_journal

CUTS = 250
INCIDENTS, SLOW_INCIDENTS = 60, 100
SLOW_DEVICES, SLOW_LIVES, SLOW_CUTS = 10, 2, 500
LARGE = JournalSettings(max_bytes=4 << 20, max_outbox=1_000)
VERSION_1 = Path(__file__).parents[1] / "unit/journal/version_1.sql"
MEMORY = Path("/dev/shm")
"""Where a sync costs nothing; the simulation decides what it means."""


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder for files that are written thousands of times."""
    path = Path(tempfile.mkdtemp(prefix="edge-agent-cuts-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def folder() -> Iterator[Path]:
    with in_memory() as path:
        yield path


@pytest.fixture(scope="module")
def recorded() -> Trace:
    """A journal in use, from its making to its closing."""
    with in_memory() as path:
        return run_workload(path, 0, INCIDENTS)


def run_workload(folder: Path, first: int, count: int, synchronous: str = "FULL") -> Trace:
    """The trace of a journal in use, in a folder that may hold one already."""
    program = (sys.executable, "-m", workload.__name__)
    return record((*program, str(folder), str(first), str(count), synchronous), folder)


def places(count: int, end: int, dice: random.Random) -> list[int]:
    """Places to cut at, anywhere up to `end`, which is the last."""
    return sorted([end, *(dice.randint(0, end) for _ in range(count - 1))])


def check_cuts(
    trace: Trace, where: list[int], folder: Path, dice: random.Random, claims: Claims | None = None
) -> Iterator[tuple[Cut, Findings]]:
    """Each cut, and what was wrong after it. `claims` are what earlier runs acknowledged."""
    claims = claims or Claims()
    for cut in cuts(trace, where, dice):
        for mark in cut.marks:
            claims.mark(mark)
        materialise(cut.files, folder)
        yield cut, claims.check(folder)


def new_folder(parent: Path, name: str) -> Path:
    path = parent / name
    path.mkdir()
    return path


def test_record_is_whole(folder: Path) -> None:
    """Every byte that the program left on the disk is in the record."""
    trace = run_workload(folder, 0, 10)
    disk = Disk(trace)
    for event in trace.events:
        disk.happen(event)
    left = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    assert JOURNAL_NAME in left
    assert disk.running() == left
    assert len([mark for mark in trace.marks() if mark.startswith("! record")]) >= 10


def test_nothing_acknowledged_is_lost(recorded: Trace, folder: Path) -> None:
    dice = random.Random(1)
    wrong = [found for _, found in check_cuts(recorded, places(CUTS, len(recorded.events), dice), folder, dice) if found]
    assert wrong == []


def test_simulation_finds_a_journal_that_syncs_too_little(folder: Path) -> None:
    trace = run_workload(new_folder(folder, "recorded"), 0, 40, synchronous="NORMAL")
    dice = random.Random(2)
    wrong = [f for _, f in check_cuts(trace, places(60, len(trace.events), dice), new_folder(folder, "cut"), dice) if f]
    assert sum(bool(found.lost) for found in wrong) > 15


@pytest.mark.parametrize("name", [JOURNAL_NAME, JOURNAL_NAME + "-wal"])
def test_simulation_finds_a_disk_that_does_not_sync(recorded: Trace, folder: Path, name: str) -> None:
    trace, dice = recorded.without_syncs(name), random.Random(3)
    wrong = [found for _, found in check_cuts(trace, places(50, len(trace.events), dice), folder, dice) if found]
    assert sum(bool(found.lost) for found in wrong) > 20
    assert name != JOURNAL_NAME or sum(bool(found.damage) for found in wrong) > 20


def test_cut_after_cut(folder: Path) -> None:
    """A device that loses power again and again: what each life acknowledged is there in all that follow."""
    recorded, cut = new_folder(folder, "recorded"), new_folder(folder, "cut")
    assert live_and_die(recorded, cut, lives=4, cuts_a_life=40, incidents=12, dice=random.Random(4)) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_acknowledged_is_lost_in_ten_thousand_cuts(folder: Path) -> None:
    """Prints its figures: run it with `-s`."""
    began_s, wrong = time.monotonic(), []
    for device in range(SLOW_DEVICES):
        home = new_folder(folder, str(device))
        recorded, cut, dice = new_folder(home, "recorded"), new_folder(home, "cut"), random.Random(1000 + device)
        wrong += live_and_die(recorded, cut, SLOW_LIVES, SLOW_CUTS, SLOW_INCIDENTS, dice)
        shutil.rmtree(home)
    took_s, count = time.monotonic() - began_s, SLOW_DEVICES * SLOW_LIVES * SLOW_CUTS
    lost, damaged = sum(bool(found.lost) for found in wrong), sum(bool(found.damage) for found in wrong)
    print(f"\n{count} cuts: {lost} with a loss, {damaged} corrupt databases, {took_s:.0f} s, {count / took_s:.0f} cuts/s")
    assert wrong == []


def live_and_die(recorded: Path, cut: Path, lives: int, cuts_a_life: int, incidents: int, dice: random.Random) -> list[Findings]:
    """Run the program on what a cut of its run before left, and so on; what was found wrong."""
    claims, wrong = Claims(), []
    for life in range(lives):
        trace = run_workload(recorded, life * 1000, incidents)
        end = dice.randint(len(trace.events) // 2, len(trace.events))
        found = list(check_cuts(trace, places(cuts_a_life, end, dice), cut, dice, claims))
        wrong += [findings for _, findings in found if findings]
        materialise(found[-1][0].files, recorded)
    return wrong


def test_cut_while_the_first_journal_is_made(folder: Path) -> None:
    trace = run_workload(new_folder(folder, "recorded"), 0, 1)
    dice = random.Random(5)
    first = next(place for place, event in enumerate(trace.events) if isinstance(event, Mark))
    wrong = [f for _, f in check_cuts(trace, places(100, first, dice), new_folder(folder, "cut"), dice) if f]
    assert wrong == []


def noted(folder: Path) -> None:
    """The note that a journal was found damaged while it ran; its bytes are all right."""
    (folder / suspect_path(JOURNAL_NAME)).touch()


def cut_off(folder: Path) -> None:
    """A database that lost its second half."""
    path = folder / JOURNAL_NAME
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [noted, cut_off])
def test_cut_while_a_damaged_journal_is_repaired(folder: Path, damage: Callable[[Path], None]) -> None:
    """What the repair finds is the same, however often it is interrupted."""
    recorded, cut = new_folder(folder, "recorded"), new_folder(folder, "cut")
    with open_journal(cut / JOURNAL_NAME, workload.SETTINGS) as journal:
        for number in range(60):
            told = effects(f"record {number} 1")
            journal.record([workload.kept(told, Incident)], told.messages)
            if number % 2:
                told = effects(f"summary {number} 1")
                journal.record_summary(
                    workload.kept(told, Summary), (), escalation=workload.kept(told, Escalation), audit=told.audit
                )
        for suffix in ("", "-wal"):
            shutil.copy(cut / (JOURNAL_NAME + suffix), recorded)
    damage(recorded)
    trace = run_workload(recorded, 0, 0)
    expected = content(recorded)
    assert len(expected.kept) > 20
    assert expected.logs["audit"]
    dice = random.Random(6)
    # Half of the cuts while the files change places: it is a small part of the record.
    swap = next(place for place, event in enumerate(trace.events) if isinstance(event, Rename))
    where = [dice.randint(0, swap) for _ in range(40)] + [dice.randint(swap, len(trace.events)) for _ in range(60)]
    for each in cuts(trace, sorted(where), dice):
        materialise(each.files, cut)
        assert content(cut) == expected, f"cut at {each.place} of {len(trace.events)}"


def test_cut_while_an_older_journal_is_migrated(folder: Path) -> None:
    """A journal of version 1, part of it still in its log, is found whole, in the old version or in the new."""
    recorded, cut = new_folder(folder, "recorded"), new_folder(folder, "cut")
    with closing(sqlite3.connect(cut / JOURNAL_NAME)) as old:
        old.executescript(VERSION_1.read_text())
        for suffix in ("", "-wal"):
            shutil.copy(cut / (JOURNAL_NAME + suffix), recorded)
    trace = run_workload(recorded, 0, 0)
    expected = content(recorded)
    assert len(expected.kept) == 4
    assert len(expected.messages) == 1
    dice, before = random.Random(8), set()
    for each in cuts(trace, places(100, len(trace.events), dice), dice):
        materialise(each.files, cut)
        with open_journal(cut / JOURNAL_NAME, workload.SETTINGS) as journal:
            assert not journal.opening.damage
            before.add(journal.opening.version_before)
        assert content(cut) == expected, f"cut at {each.place} of {len(trace.events)}"
    assert len(before) > 1, "no cut came before the migration, or none after it"


def test_cut_while_a_journal_is_made_smaller(folder: Path) -> None:
    recorded, cut = new_folder(folder, "recorded"), new_folder(folder, "cut")
    with open_journal(recorded / JOURNAL_NAME, LARGE) as journal:
        journal.record([], [message(f"t/{number}", "x" * 900) for number in range(900)])
        journal.delivered([queued.number for queued in journal.outbox(0, 890)])
        for number in range(20):
            told = effects(f"record {number} 1")
            journal.record([workload.kept(told, Incident)], told.messages)
    trace = run_workload(recorded, 0, 0)
    expected = content(recorded)
    assert len(expected.kept) == 20
    assert len(expected.messages) == 30
    assert any(isinstance(event, Rename) for event in trace.events), "it was not made smaller"
    dice = random.Random(9)
    for each in cuts(trace, places(60, len(trace.events), dice), dice):
        materialise(each.files, cut)
        with open_journal(cut / JOURNAL_NAME, workload.SETTINGS) as journal:
            assert not journal.opening.damage
        assert content(cut) == expected, f"cut at {each.place} of {len(trace.events)}"


def content(folder: Path) -> Contents:
    """All that a journal tells when it is opened, but what it says of its repair."""
    with open_journal(folder / JOURNAL_NAME, workload.SETTINGS) as journal:
        return replace(read(journal, set()), complaints=[])


def test_cut_while_a_file_is_replaced(folder: Path) -> None:
    """`write_atomic`: the content that was acknowledged or one that was begun after it, never a mixture, never nothing."""
    recorded = new_folder(folder, "recorded")
    (recorded / "state").write_bytes(version(0))
    program = (sys.executable, "-m", "tests.fault.power_cuts.replacing", str(recorded / "state"), "30")
    trace = record(program, recorded)
    dice, acknowledged, begun = random.Random(7), 0, 0
    for each in cuts(trace, sorted(dice.randint(0, len(trace.events)) for _ in range(2000)), dice):
        for mark in each.marks:
            sign, number = mark.split()
            acknowledged, begun = (int(number), begun) if sign == "!" else (acknowledged, int(number))
        assert each.files["state"] in {version(acknowledged), version(begun)}, f"cut at {each.place}"
    assert begun == 30
