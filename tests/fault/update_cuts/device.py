"""A gateway that updates in one process: the real update worker, with the children's work done by function call.

Rules: what was saved is told by a line on the report stream before anything else happens, so that whoever kills this process
knows what it took for done. A line is three words, the stage, the tries that are left and what the rest is, then JSON.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from edge_agent.clock import SystemClock
from edge_agent.config.settings import RepositorySettings, UpdateSettings
from edge_agent.metrics import Metrics
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.fetch import Stop, fetch
from edge_agent.update.floor import Floor
from edge_agent.update.install import install
from edge_agent.update.jobs import FetchJob, InstallJob, Looked, LookJob, Probed, ProbeJob
from edge_agent.update.look import look
from edge_agent.update.orders import RollBack
from edge_agent.update.polled import PolledRepository
from edge_agent.update.record import Record
from edge_agent.workers.keeper import Keeper
from edge_agent.workers.update import UpdateWorker
from tests.update.whole_updates import StillLive

GROUP = "canary"

Say = Callable[[str], None]


class Job(Struct, frozen=True, kw_only=True):
    """What a gateway is to do: take what a repository offers, or leave what is active."""

    state_dir: str
    repository: str
    roll_back: bool = False
    syncs: bool = True
    """False: every fsync is left out, to see that this is found out."""


class Report(Struct, frozen=True, kw_only=True):
    """What was done, and is durable."""

    record: Record
    floor: Floor
    """What was seen of the repository, by the last look."""


class _TellingKeeper(Keeper):
    """Tells what it saved."""

    say: Say = staticmethod(lambda line: None)
    floor: Floor = Floor()

    def told(self) -> None:
        """Say what stands now."""
        self.say(f"{self.record.stage} {self.record.tries_left} {encoded(Report(record=self.record, floor=self.floor))}")

    def _save(self, record: Record) -> bool:
        changed = super()._save(record)
        if changed:
            self.told()
        return changed


class _Done:
    """A child that has ended."""

    def __init__(self, result: Struct) -> None:
        self._result = result

    def result(self, kind: type[Struct]) -> Struct:
        assert isinstance(self._result, kind)
        return self._result


class _Worker(UpdateWorker):
    """The update worker, which does its children's work itself and does not wait."""

    def __init__(self, keeper: _TellingKeeper, **others: Any) -> None:
        super().__init__(keeper=keeper, **others)
        self._telling = keeper
        self._pause.set()

    def _start(self, module: str, job: Struct, limits: ChildLimits, then: Callable[[Child], None]) -> None:
        result = _WORK[type(job)](job)
        if isinstance(result, Looked):
            self._telling.floor = result.floor
            self._telling.told()
        then(cast(Child, _Done(result)))


_WORK: Mapping[type[Struct], Callable[[Any], Struct]] = {
    LookJob: lambda job: look(job, SystemClock()),
    FetchJob: lambda job: fetch(job, SystemClock(), lambda line: None, Stop()),
    InstallJob: install,
    ProbeJob: lambda job: Probed(),
}


def run(job: Job, say: Say = lambda line: None) -> Record:
    """Start, and go on until there is nothing left to do; the record then."""
    clock = SystemClock()
    keeper = _TellingKeeper.open(Path(job.state_dir), clock)
    assert isinstance(keeper, _TellingKeeper)
    keeper.say = say
    keeper.told()
    settings = UpdateSettings(
        group=GROUP,
        root_file=f"{job.repository}/metadata/1.root.json",
        repository=RepositorySettings(url=f"file://{job.repository}"),
        min_free_bytes=0,
        soak_s=0.0,
        looks_per_day=1_000_000,
    )
    source = PolledRepository(settings.repository, clock, random.Random(1))
    source.hint()
    worker = _Worker(
        keeper,
        settings=settings,
        sources=[] if job.roll_back else [source],
        live=StillLive(keeper),
        gateway="gw",
        device="cpu",
        metrics=Metrics(),
        clock=clock,
    )
    if job.roll_back:
        worker.ask(RollBack(leaves=""))
    while worker.step(0.0):
        pass
    worker.finish()
    keeper.told()
    return keeper.record


def encoded(value: Struct) -> str:
    """A value as a line of JSON."""
    return msgspec.json.encode(value).decode()
