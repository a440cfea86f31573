"""Updates over wrong clocks, long silences and newer releases: the update worker with real children and a real repository."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from edge_agent.config.settings import JournalSettings
from edge_agent.journal import JOURNAL_NAME, Journal
from edge_agent.messages import Topics, outcome_message
from edge_agent.update.machine import MAX_TRIES
from edge_agent.update.record import Record
from edge_agent.workers.keeper import outcome_of
from tests.journals import TwoClocks
from tests.update.whole_updates import Fleet, Gateway, soaking

Y1970, Y2000, Y2106 = 0.0, 946_684_800.0, 4_291_747_200.0
DAY_S = 86_400.0


class WallClock:
    """A device whose calendar stands where the test puts it, and whose seconds pass as they do."""

    def __init__(self, offset_s: float = 0.0) -> None:
        self._offset_s = offset_s

    def stand_at(self, now_s: float) -> None:
        """Jump."""
        self._offset_s = now_s - time.time()

    def now_s(self) -> float:
        """See `Clock.now_s`."""
        return time.time() + self._offset_s

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return time.monotonic()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    fleet.publish(1)
    return fleet


def ended(record: Record) -> bool:
    return bool(record.ended) and record.stage == "idle"


@pytest.mark.parametrize("stands_at_s", [Y1970, pytest.param(Y2000, marks=pytest.mark.slow)])
def test_a_clock_that_is_decades_late_takes_releases(fleet: Fleet, tmp_path: Path, stands_at_s: float) -> None:
    clock = WallClock()
    clock.stand_at(stands_at_s)
    gateway = Gateway(tmp_path, soaking(fleet.settings(), 0.2), clock=clock)
    assert gateway.until(ended).ended[-1].result == "committed"
    gateway.stop()


def test_a_clock_that_stood_in_2106_takes_nothing_then_and_bars_nothing_after(fleet: Fleet, tmp_path: Path) -> None:
    clock = WallClock()
    clock.stand_at(Y2106)
    gateway = Gateway(tmp_path, soaking(fleet.settings(), 0.2), clock=clock)
    record = gateway.until(lambda record: record.looked_count == 1)
    assert "expired" in record.looked
    assert (record.stage, record.candidate, record.ended) == ("idle", None, ())
    clock.stand_at(time.time())
    gateway.look()
    assert gateway.until(ended).ended[-1].result == "committed"
    gateway.stop()


def test_jumps_of_decades_neither_end_a_trial_nor_cut_it_short(fleet: Fleet, tmp_path: Path) -> None:
    clock = WallClock()
    gateway = Gateway(tmp_path, soaking(fleet.settings(), 4.0), clock=clock)
    gateway.until(lambda record: record.stage == "trial" and record.tries_left < MAX_TRIES)
    began_s = time.monotonic()
    jumps = itertools.cycle((Y1970, Y2106, Y2000))
    while not ended(gateway.record):
        clock.stand_at(next(jumps))
        gateway.worker.step(0.0)
    assert gateway.record.ended[-1].result == "committed"
    # It began a little before `began_s`; a jump that counted would end it at once.
    assert time.monotonic() - began_s >= 3.0
    gateway.stop()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fetching", "verified", "staged", "probing", "trial"])
def test_a_newer_release_that_comes_at_any_stage_is_the_one_that_runs(tmp_path: Path, stage: str) -> None:
    fleet = Fleet(tmp_path / "fleet")
    fleet.publish(1)
    gateway = Gateway(tmp_path / "state", soaking(fleet.settings(), 0.5))
    gateway.until(lambda record: record.stage == stage or ended(record))
    fleet.publish(2)
    gateway.look()
    until_s = time.monotonic() + 60.0
    while (active := gateway.record.active) is None or active.release != "fleet-2":
        assert time.monotonic() < until_s, gateway.record
        gateway.until(lambda record: record.stage == "idle")
        gateway.look()
        gateway.worker.step(0.02)
    assert {each.result for each in gateway.record.ended} <= {"committed", "cancelled"}
    assert gateway.record.ended[-1].held.release == "fleet-2"
    gateway.stop()


def test_an_outcome_that_cannot_be_delivered_for_weeks_waits_and_stands_in_the_record(fleet: Fleet, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, soaking(fleet.settings(), 0.1))
    record = gateway.until(ended)
    gateway.stop()
    clock = TwoClocks()
    topics = Topics("edge", "gw")
    settings = JournalSettings()
    with Journal.open(tmp_path / JOURNAL_NAME, settings, clock) as journal:
        journal.record((), [outcome_message(topics, outcome_of(each)) for each in record.ended])

    for _ in range(3):
        clock.wall_s += 7 * DAY_S
        clock.running_s += 7 * DAY_S
        with Journal.open(tmp_path / JOURNAL_NAME, settings, clock) as journal:
            journal.record((), [])
            assert [queued.message.topic for queued in journal.outbox(0, 10)] == [topics.update_outcome]
    again = Gateway(tmp_path, fleet.settings(), sources=False)
    assert [(each.held.release, each.result) for each in again.record.ended] == [("fleet-1", "committed")]
    assert [each.release for each in again.worker.state().outcomes] == ["fleet-1"]
    again.stop()
