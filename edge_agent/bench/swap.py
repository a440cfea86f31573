"""Exchange of releases in a running agent: how long explaining pauses, beyond what the writer takes to load, and what is lost.

Two releases with the same models and different names for them take turns, so that every exchange closes a writer and opens one.

Rules: the workers are the agent's own, with a real journal; their steps are called in turn, so that what is timed is an
exchange and not the scheduler. An exchange is timed with the sentence that follows it, and the same sentence alone is taken off.
Loading is timed in the same run, each time just before.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.bench.harness import BenchError
from edge_agent.bench.queuer import TOPICS, incident, settings_of
from edge_agent.bench.report import Figure, percentile
from edge_agent.clock import Clock, SystemClock
from edge_agent.config.settings import DetectSettings, IncidentSettings, NumberRoute, Route, WriterSettings
from edge_agent.decode.router import Router
from edge_agent.detect.bank import DetectorBank
from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.incidents import IncidentBook
from edge_agent.journal import Journal
from edge_agent.metrics import Metrics
from edge_agent.pipeline import Screener
from edge_agent.values import Arrival
from edge_agent.workers.active import ReleaseSlot, Wish
from edge_agent.workers.explain import ExplainWorker
from edge_agent.workers.screen import Core, ScreenWorker, Source, Wakes
from edge_agent.workers.speaking import wish_for

READINGS = 500
"""Offered around each exchange."""
AIM_S = 2.0


class Shared(Struct, frozen=True, kw_only=True):
    """What the two workers that exchange engines share."""

    journal: Journal
    slot: ReleaseSlot
    wakes: Wakes
    metrics: Metrics
    clock: Clock


def exchanging(link: Source, route: Route, shared: Shared) -> tuple[ScreenWorker, ExplainWorker]:
    """The agent's own workers that exchange engines, for the readings of one route."""
    bank, book = DetectorBank(DetectSettings(), None), IncidentBook(IncidentSettings(), salt="bench")
    screen = ScreenWorker(
        link=link,
        journal=shared.journal,
        core=Core(Screener(Router((route,), own_root="edge", max_topics=4_096), bank, book), bank, book),
        slot=shared.slot,
        topics=TOPICS,
        wakes=shared.wakes,
        metrics=shared.metrics,
        clock=shared.clock,
    )
    explain = ExplainWorker(
        journal=shared.journal,
        topics=TOPICS,
        slot=shared.slot,
        zone=UTC,
        wake=shared.wakes.explain,
        deliver=shared.wakes.deliver,
        metrics=shared.metrics,
        clock=shared.clock,
    )
    return screen, explain


class _Sensors:
    """A link on which readings wait."""

    connected = True

    def __init__(self) -> None:
        self.waiting: list[Arrival] = []
        self.acknowledged = 0

    def drain(self, max_messages: int, timeout_s: float) -> list[Arrival]:
        """Up to so many, oldest first."""
        taken, self.waiting = self.waiting[:max_messages], self.waiting[max_messages:]
        return taken

    def ack(self, items: Iterable[Arrival]) -> None:
        """Count what was acknowledged."""
        self.acknowledged += len(list(items))


class _Agent:
    """The two workers that exchange engines, and what they share. One owner."""

    def __init__(self, journal: Journal) -> None:
        wakes = Wakes(explain=threading.Event(), deliver=threading.Event())
        self.metrics, self.slot, self.sensors = Metrics(), ReleaseSlot(), _Sensors()
        self._journal = journal
        self._incidents = 0
        self._readings = 0
        shared = Shared(journal=journal, slot=self.slot, wakes=wakes, metrics=self.metrics, clock=SystemClock())
        self._screen, self._explain = exchanging(self.sensors, NumberRoute(topic="bench/+"), shared)
        self._wakes = wakes

    def offer(self) -> int:
        """Put readings down; how many were offered so far."""
        for _ in range(READINGS):
            self._readings += 1
            value = b"%.3f" % (10 + self._readings * 7 % 5 / 10)
            self.sensors.waiting.append(
                Arrival(topic="bench/level", payload=value, arrived_s=1.8e9 + self._readings, qos=1, mid=1, session=1)
            )
        return self._readings

    def screen(self) -> None:
        """Take in what waits, and the classifier that is wanted."""
        while self.sensors.waiting:
            self._screen.step(0.0)

    def explain_one_s(self, release: str) -> float:
        """Seconds until the next incident has its sentence. Raises BenchError where another release wrote it."""
        one = incident(self._incidents)
        self._incidents += 1
        self._journal.record([one], [])
        self._wakes.explain.set()
        began_s = time.perf_counter()
        self._explain.step(0.0)
        took_s = time.perf_counter() - began_s
        summary = self._journal.summary(one.id)
        if summary is None or summary.release != release:
            raise BenchError(f"an incident was explained by {None if summary is None else summary.release}, not by {release}")
        return took_s


def measure(swaps: int, folder: Path = FACTORY) -> Iterator[Figure]:
    """Seconds an exchange takes from explaining, and readings lost. `folder`: the release whose writer is opened."""
    with (
        tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as name,
        Journal.open(Path(name) / "journal.db", settings_of(4 * swaps), SystemClock()) as journal,
    ):
        agent = _Agent(journal)
        loads_s, pauses_s, offered = _exchanged(agent, journal, Path(name), folder, swaps)
        lost = offered - agent.metrics.flow.by_label().get("readings", 0)
    beyond_s = sorted(pause - load for pause, load in zip(pauses_s, loads_s, strict=True))
    yield Figure(
        part="swap",
        name="pause of explaining, median",
        value=percentile(pauses_s, 50),
        unit="s",
        n=swaps,
        against="loading the writer alone",
        against_value=percentile(loads_s, 50),
    )
    yield Figure(
        part="swap", name="pause beyond the load, worst", value=max(0.0, beyond_s[-1]), unit="s", n=swaps, aim=f"{AIM_S:.0f} s"
    )
    yield Figure(part="swap", name="readings lost", value=float(lost), unit="readings", n=offered, aim="0")


def _exchanged(agent: _Agent, journal: Journal, state: Path, folder: Path, swaps: int) -> tuple[list[float], list[float], int]:
    opened = open_release(folder)
    wish = wish_for(opened, WriterSettings(device="cpu"), journal, state)
    loads_s, pauses_s, offered = [], [], 0
    for number in range(-1, swaps):  # the first one opens what later ones exchange
        release = f"bench-{number % 2}"
        began_s = time.perf_counter()
        opened.open_writer()
        load_s = time.perf_counter() - began_s
        agent.slot.want(_named(wish, release))
        offered = agent.offer()
        took_s = agent.explain_one_s(release)
        agent.screen()
        if not agent.slot.state().taken or agent.slot.state().problem:
            raise BenchError(f"the release was not taken: {agent.slot.state().problem or 'a worker did not look'}")
        alone_s = agent.explain_one_s(release)
        if number >= 0:
            loads_s.append(load_s)
            pauses_s.append(took_s - alone_s)
    return loads_s, pauses_s, offered


def _named(wish: Wish, release: str) -> Wish:
    """The same engines under another name, which nobody takes for the same."""
    return replace(wish, speaking=replace(wish.speaking, id=release), writer_key=release, classifier_key=release)
