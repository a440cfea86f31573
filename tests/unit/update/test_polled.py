"""The polled repository: one look at a time, after the usual pause, after a hint, later after failures."""

from __future__ import annotations

from edge_agent.config.settings import RepositorySettings
from edge_agent.update import Verdict
from edge_agent.update.jobs import Repository
from edge_agent.update.pace import FIRST_S, HINT_GAP_S, JITTER
from edge_agent.update.polled import RETRY_MIN_S, PolledRepository
from edge_agent.update.record import Ended, Held
from tests.unit.update.clocks import At, Longest

_URL = "https://releases.example/edge"


def _polled(clock: At) -> PolledRepository:
    return PolledRepository(RepositorySettings(url=_URL, poll_s=600.0), clock, Longest())


def test_there_is_one_look_at_a_time_and_the_next_after_the_pause() -> None:
    clock = At()
    polled = _polled(clock)
    assert polled.lead() is None
    clock.s += FIRST_S
    lead = polled.lead()
    assert lead is not None
    assert lead.place == Repository(url=_URL)
    clock.s += 10_000.0
    assert polled.lead() is None  # nobody said what came of the first
    lead.tell(Verdict.unwanted, "it runs already")
    assert polled.lead() is None
    clock.s += 601.0 * (1 + JITTER)
    assert polled.lead() is not None


def test_after_a_failure_it_is_tried_sooner_and_after_a_hint_soonest() -> None:
    clock = At()
    polled = _polled(clock)
    clock.s += FIRST_S
    lead = polled.lead()
    assert lead is not None
    lead.tell(Verdict.failed)
    clock.s += RETRY_MIN_S
    lead = polled.lead()
    assert lead is not None
    lead.tell(Verdict.refused)
    polled.hint()
    assert polled.lead() is None
    clock.s += HINT_GAP_S
    assert polled.lead() is not None


def test_nobody_needs_to_know_how_it_ended_and_nothing_is_withdrawn() -> None:
    polled = _polled(At())
    held = Held(release="r", counter=1, manifest_sha256="0" * 64)
    assert polled.ended(Ended(held=held, result="refused", reason="", at_s=0.0))
    assert polled.withdrawn("x") == ""
    polled.close()
