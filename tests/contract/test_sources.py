"""What every source of releases keeps to, whichever it is: one suite over the table."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.config.settings import HawkbitSettings, RepositorySettings, UpdateSettings
from edge_agent.update import Lead, Source, Verdict
from edge_agent.update.hawkbit import Hawkbit
from edge_agent.update.jobs import Place
from edge_agent.update.record import Candidate, Ended, Held, Record, Result
from edge_agent.update.sources import INBOX, SOURCES, Needs
from tests.deadline import eventually
from tests.unit.update.clocks import At
from tests.update.hawkbit_device import settle
from tests.update.hawkbit_stub import Action, hawkbit

_HELD = Held(release="r", counter=1, manifest_sha256="0" * 64)
_LATER_S = 3 * 3_600.0
"""By then whatever failed is tried again."""


class World:
    """A source, what stands behind it, and the worker's way of asking it."""

    def __init__(self, name: str, folder: Path, behind: ExitStack) -> None:
        self.name = name
        self.clock = At()
        self.offer: Callable[[], object] = lambda: None
        """Put something there to be found."""
        secret = folder / "token"
        secret.write_text("secret")
        update = UpdateSettings(group="site", root_file="/root.json")
        match name:
            case "inbox":
                self.offer = lambda: self._put(folder / INBOX)
            case "hawkbit":
                server = behind.enter_context(hawkbit())
                server.sleep = "00:01:00"
                own = HawkbitSettings(url=server.url, token_file=str(secret))
                update = msgspec.structs.replace(update, hawkbit=own)
                self.offer = lambda: server.actions.setdefault(len(server.actions) + 1, Action(id=len(server.actions) + 1))
            case "repository":
                update = msgspec.structs.replace(update, repository=RepositorySettings(url="https://x.example", poll_s=600.0))
        self._needs = Needs(settings=update, gateway="gw-1", folder=folder, record=Record, clock=self.clock, rng=random.Random(1))
        self._number = 0
        self.source = self.open()

    def open(self) -> Source:
        source = SOURCES[self.name](self._needs)
        assert source is not None
        return source

    def restart(self) -> None:
        self.source.close()
        self.source = self.open()

    def next_lead(self, within_s: float = _LATER_S, ticket: str = "") -> Lead | None:
        """The next lead that comes within a time; `ticket` is the candidate's."""
        until_s = self.clock.s + within_s
        while self.clock.s <= until_s:
            assert self.source.withdrawn(ticket) == ""
            self._settle()
            lead = self.source.lead()
            self._settle()
            if lead is not None:
                return lead
            self.clock.s += 2.0
        return None

    def is_told(self, ended: Ended, within_s: float = _LATER_S) -> bool:
        until_s = self.clock.s + within_s
        while self.clock.s <= until_s:
            if self.source.ended(ended):
                return True
            self._settle()
            self.clock.s += 2.0
        return False

    def _settle(self) -> None:
        if isinstance(self.source, Hawkbit):
            settle(self.source)

    def _put(self, folder: Path) -> None:
        self._number += 1
        folder.mkdir(exist_ok=True)
        path = folder / f"{self._number}.tar"
        path.write_bytes(b"bundle")
        os.utime(path, (self._number, self._number))


@pytest.fixture(params=list(SOURCES))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as behind:
        made = World(request.param, tmp_path, behind)
        yield made
        made.source.close()


def _ended(lead: Lead, result: Result = "committed") -> Ended:
    return Ended(held=_HELD, result=result, reason="why", at_s=0.0, source=lead.source, ticket=lead.ticket)


def _first(world: World) -> Lead:
    world.offer()
    lead = world.next_lead()
    assert lead is not None
    return lead


def test_opening_asks_nobody_and_starts_no_thread(world: World, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    source = world.open()
    assert set(threading.enumerate()) == before
    assert not (tmp_path / INBOX).exists()
    source.close()


def test_there_is_one_lead_at_a_time(world: World) -> None:
    lead = _first(world)
    world.offer()
    assert world.next_lead(within_s=600.0) is None
    lead.tell(Verdict.failed, "not reached")
    assert world.next_lead() is not None


def test_a_lead_can_be_written_into_a_record_and_a_job(world: World) -> None:
    lead = _first(world)
    assert lead.source == world.source.name == world.name
    candidate = Candidate(held=_HELD, source=lead.source, ticket=lead.ticket)
    assert msgspec.json.decode(msgspec.json.encode(candidate), type=Candidate) == candidate
    assert msgspec.json.decode(msgspec.json.encode(lead.place), type=Place) == lead.place


def test_what_failed_is_offered_again_and_not_at_once(world: World) -> None:
    lead = _first(world)
    waits = []
    for _ in range(6):
        before_s = world.clock.s
        lead.tell(Verdict.failed, "not reached")
        again = world.next_lead()
        assert again is not None
        assert (again.ticket, again.place) == (lead.ticket, lead.place)
        waits.append(world.clock.s - before_s)
        lead = again
    assert sum(waits) > 60.0


@pytest.mark.parametrize("verdict", [Verdict.nothing, Verdict.unwanted, Verdict.runs])
def test_what_is_not_taken_is_not_offered_again_at_once(world: World, verdict: Verdict) -> None:
    lead = _first(world)
    lead.tell(verdict, "it is not taken")
    assert world.next_lead(within_s=300.0) is None


@pytest.mark.parametrize("result", ["committed", "refused", "rolled-back", "cancelled"])
def test_how_it_ended_is_told_once_and_for_all(world: World, result: Result) -> None:
    lead = _first(world)
    lead.tell(Verdict.taken)
    assert world.source.withdrawn(lead.ticket) == ""
    assert world.is_told(_ended(lead, result))
    assert world.is_told(_ended(lead, result))
    again = world.next_lead(within_s=300.0)
    assert again is None


def test_how_it_ended_can_be_told_after_a_restart_and_twice(world: World) -> None:
    lead = _first(world)
    world.restart()
    assert world.is_told(_ended(lead))
    world.restart()
    assert world.is_told(_ended(lead))


@pytest.mark.parametrize("ticket", ["", "x", "../../etc", "1 2 ../x", "999", "9" * 400, "\u0663", "1 2 \ud800", "\0"])
def test_an_end_that_the_source_does_not_know_does_no_harm(world: World, ticket: str) -> None:
    assert world.is_told(Ended(held=_HELD, result="committed", reason="", at_s=0.0, source=world.name, ticket=ticket))


def test_a_lead_that_was_lost_with_the_process_comes_again(world: World) -> None:
    lead = _first(world)
    world.restart()
    again = world.next_lead()
    assert again is not None
    assert (again.ticket, again.place) == (lead.ticket, lead.place)


def test_what_is_half_fetched_is_offered_again_to_go_on(world: World) -> None:
    lead = _first(world)
    lead.tell(Verdict.failed, "broken off")
    again = world.next_lead(ticket=lead.ticket)
    assert again is not None
    assert again.ticket == lead.ticket


def test_a_hint_is_followed_soon(world: World) -> None:
    world.next_lead(within_s=60.0)
    world.restart()
    world.source.hint()
    world.offer()
    assert world.next_lead(within_s=30.0) is not None


def test_its_threads_end_with_it_and_closing_twice_does_no_harm(world: World) -> None:
    before = set(threading.enumerate())
    _first(world)
    world.source.close()
    world.source.close()
    eventually(lambda: not any(each.name.startswith("update") for each in set(threading.enumerate()) - before))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(st.sampled_from(Verdict), st.sampled_from(["offer", "hint", "restart", "lead"]), st.integers(1, 2_000)),
        max_size=25,
    )
)
def test_whatever_happens_in_whatever_order(world: World, events: list[Verdict | str | int]) -> None:
    out: Lead | None = None
    for event in events:
        match event:
            case Verdict():
                if out is not None:
                    out.tell(event, "because")
                    out = None
            case "offer":
                world.offer()
            case "hint":
                world.source.hint()
            case "restart":
                world.restart()
                out = None
            case int():
                world.clock.s += event
        lead = world.next_lead(within_s=8.0)
        assert lead is None or out is None
        out = lead or out
    if out is not None:
        out.tell(Verdict.failed)
        assert world.next_lead() is not None
