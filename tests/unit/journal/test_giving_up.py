"""`edge_agent.journal.journal`: what is given up for its age or for the wear of the disk, and that every loss is reported."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_agent.config.settings import JournalSettings
from edge_agent.journal.store import suspect_path
from tests.deadline import eventually
from tests.journals import T0_S, TwoClocks, incident, message, open_journal, report_of, waiting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_every_loss_is_reported_in_the_outbox_and_the_report_is_never_lost(path: Path) -> None:
    with open_journal(path, tombstone=report_of) as journal:
        journal.record([], [message("big", "x" * (1 << 18)), message("a")])
        assert [m.topic for m in waiting(journal)] == ["a", "drops"]
        for n in range(0, 600, 20):
            journal.record([], [message(f"t/{k}", priority=2) for k in range(n, n + 20)])
        reports = [m for m in waiting(journal) if m.topic == "drops"]
        assert reports[-1] == report_of(journal.drops())
        assert len(reports) <= 2, "one may have been handed out before it was replaced"
        counted = {drop.reason: drop.count for drop in journal.drops()}
        assert counted["outbox-full"] == 601 - (journal.counts().outbox - len(reports))


def test_a_repair_is_reported_too(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1)], [])
    Path(suspect_path(str(path))).touch()
    with open_journal(path, tombstone=report_of) as journal:
        assert journal.opening.damage
        journal.record([], [])
        assert [m.payload for m in waiting(journal)] == [b"damaged-file=1"]


def test_a_discarded_row_is_reported_too(path: Path) -> None:
    with open_journal(path) as journal:
        journal.record([incident(1)], [])
    db = sqlite3.connect(path)
    db.execute("UPDATE incidents SET crc = 0")
    db.commit()
    db.close()
    with open_journal(path, tombstone=report_of) as journal:
        assert journal.open_incidents() == []
        eventually(lambda: [m.payload for m in waiting(journal)] == [b"damaged-row=1"])


# --- age ---


@pytest.mark.parametrize(("before_s", "after_s"), [(10.0, T0_S), (T0_S, 10.0), (T0_S, T0_S + 3e7)])
@pytest.mark.parametrize("restart", [True, False])
def test_a_clock_that_is_set_does_not_age_what_waits(path: Path, before_s: float, after_s: float, restart: bool) -> None:
    """From 1970 by the network's time, back, and far ahead; with and without a restart between."""
    settings = JournalSettings(max_bytes=1 << 20, max_message_age_s=3600.0)
    clock = TwoClocks(before_s)
    journal = open_journal(path, settings, clock)
    journal.record([], [message("minute ago")])
    clock.pass_s(60.0)
    if restart:
        journal.close()
        clock = TwoClocks(after_s, running_s=5.0)
        journal = open_journal(path, settings, clock)
    clock.wall_s = after_s
    with journal:
        clock.pass_s(60.0)
        journal.record([], [])
        assert [m.topic for m in waiting(journal)] == ["minute ago"]
        for _ in range(4):
            clock.pass_s(900.0)
            journal.record([], [])
        assert waiting(journal) == []
        assert [(d.reason, d.count) for d in journal.drops()] == [("too-old", 1)]


def test_age_goes_on_over_many_starts(path: Path) -> None:
    settings = JournalSettings(max_bytes=1 << 20, max_message_age_s=3600.0)
    clock = TwoClocks()
    for n in range(9):
        with open_journal(path, settings, clock) as journal:
            journal.record([], [message("first")] if n == 0 else [])
            assert len(waiting(journal)) == 1
            clock.pass_s(200.0)
        clock = TwoClocks(clock.wall_s + 200.0, running_s=3.0)
    with open_journal(path, settings, clock) as journal:
        clock.pass_s(60.0)
        journal.record([], [])
        assert waiting(journal) == []


# --- wear ---


def test_beyond_the_days_writes_incidents_are_still_stored_and_it_is_said(path: Path) -> None:
    settings = JournalSettings(max_bytes=1 << 20, max_write_bytes_per_day=200_000)
    with open_journal(path, settings, tombstone=report_of) as journal:
        for n in range(60):
            journal.record([incident(n)], [message(f"seen/{n}", priority=2), message(f"usual/{n}", priority=1)])
        counts = journal.counts()
        assert counts.written_bytes_day >= 200_000
        assert "max_write_bytes_per_day" in journal.trouble
        topics = [m.topic for m in waiting(journal)]
        assert len([t for t in topics if t.startswith("seen")]) == len(journal.incidents(100)) == 60
        stored = len([t for t in topics if t.startswith("usual")])
        assert 0 < stored < 60
        assert {d.reason: d.count for d in journal.drops()} == {"write-budget": 60 - stored}
        written = journal.counts().written_bytes
        for n in range(100):
            journal.record([], [message(f"usual/{n}", priority=0)])
        assert journal.counts().written_bytes == written, "what is dropped to save writing does not write"
    with open_journal(path, settings, tombstone=report_of) as journal:
        assert "max_write_bytes_per_day" in journal.trouble, "a restart does not begin a new day"
        assert {d.reason: d.count for d in journal.drops()} == {"write-budget": 160 - stored}
