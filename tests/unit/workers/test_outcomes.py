"""Outcomes reach the outbox and their source, each until it has them, whatever the disk refuses meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_agent.errors import StorageError
from edge_agent.messages import UpdateOutcome
from edge_agent.update import Lead
from edge_agent.update.machine import Event, Failed, Found
from edge_agent.update.record import Candidate, Ended, Held
from edge_agent.workers.keeper import Keeper
from edge_agent.workers.outcomes import RETRY_S, Outcomes
from tests.unit.workers.parts import StepClock


class Source:
    """One that is told, when it listens."""

    name = "server"
    trouble = ""

    def __init__(self) -> None:
        self.listens = False
        self.told: list[str] = []

    def ended(self, ended: Ended) -> bool:
        self.told.append(ended.ticket)
        return self.listens

    def lead(self) -> Lead | None:
        return None

    def withdrawn(self, ticket: str) -> str:
        return ""

    def hint(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Outbox:
    """Takes outcomes, unless its disk is full."""

    def __init__(self) -> None:
        self.is_full = False
        self.told: list[str] = []

    def tell(self, outcomes: Sequence[UpdateOutcome]) -> None:
        if self.is_full:
            raise StorageError("the disk is full")
        self.told += [each.release for each in outcomes]


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    """Whose last release failed."""
    keeper = Keeper.open(tmp_path, StepClock())
    held = Held(release="pump-7", counter=7, manifest_sha256="7" * 64)
    keeper.apply(Found(Candidate(held=held, source="server", ticket="12")))
    keeper.apply(Failed("bad"))
    return keeper


def test_both_get_it_and_neither_twice(keeper: Keeper) -> None:
    outbox, source = Outbox(), Source()
    source.listens = True
    outcomes = Outcomes(keeper=keeper, sources=(source,), teller=outbox, apply=keeper.apply, clock=StepClock())
    for _ in range(3):
        outcomes.step()
    assert (outbox.told, source.told) == (["pump-7"], ["12"])
    assert [(each.told, each.reported) for each in keeper.record.ended] == [(True, True)]


def test_a_disk_that_refuses_is_asked_again_later(keeper: Keeper) -> None:
    outbox, clock = Outbox(), StepClock()
    outbox.is_full = True
    outcomes = Outcomes(keeper=keeper, sources=(), teller=outbox, apply=keeper.apply, clock=clock)
    outcomes.step()
    outbox.is_full = False
    outcomes.step()
    assert outbox.told == []
    clock.s += RETRY_S
    outcomes.step()
    assert outbox.told == ["pump-7"]


def test_what_the_record_cannot_say_is_not_put_into_the_outbox_again(keeper: Keeper) -> None:
    outbox, clock = Outbox(), StepClock()
    refuses = [True]

    def apply(event: Event) -> bool:
        if refuses[0]:
            raise StorageError("the disk is full")
        return keeper.apply(event)

    outcomes = Outcomes(keeper=keeper, sources=(), teller=outbox, apply=apply, clock=clock)
    outcomes.step()
    refuses[0] = False
    clock.s += RETRY_S
    outcomes.step()
    assert outbox.told == ["pump-7"]
    assert keeper.record.ended[-1].told


def test_a_source_that_does_not_listen_is_told_until_it_does_and_one_that_is_gone_is_not(keeper: Keeper) -> None:
    source = Source()
    outcomes = Outcomes(keeper=keeper, sources=(source,), teller=None, apply=keeper.apply, clock=StepClock())
    outcomes.step()
    outcomes.step()
    assert (source.told, keeper.record.ended[-1].reported) == (["12", "12"], False)
    Outcomes(keeper=keeper, sources=(), teller=None, apply=keeper.apply, clock=StepClock()).step()
    assert keeper.record.ended[-1].reported
    assert not keeper.record.ended[-1].told, "beside no running agent nothing goes into an outbox"
