"""What no release needs goes once for each change of what is needed, and again later where the disk keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.errors import StorageError
from edge_agent.update.machine import Failed, Found
from edge_agent.update.record import Candidate, Held
from edge_agent.workers.collector import RETRY_S, Collector
from edge_agent.workers.keeper import Keeper
from tests.unit.workers.parts import StepClock


def test_the_store_is_cleared_when_something_else_is_needed_and_later_where_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StepClock()
    keeper = Keeper.open(tmp_path, clock)
    asked: list[frozenset[str]] = []
    refuses = [False]

    def collect(needed: frozenset[str]) -> int:
        asked.append(needed)
        if refuses[0]:
            raise StorageError("the disk is full")
        return 0

    monkeypatch.setattr(keeper.store, "collect", collect)
    collector = Collector(keeper, clock)
    collector.step()
    collector.step()
    assert asked == [frozenset()]
    refuses[0] = True
    keeper.apply(Found(Candidate(held=Held(release="pump-7", counter=7, manifest_sha256="7" * 64), source="server")))
    collector.step()
    collector.step()
    assert asked == [frozenset(), frozenset({"7" * 64})]
    refuses[0] = False
    clock.s += RETRY_S
    collector.step()
    assert asked[2:] == [frozenset({"7" * 64})]
    keeper.apply(Failed("bad"))
    collector.step()
    assert asked[3:] == [frozenset()]
