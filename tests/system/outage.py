"""A site in simulated time: scripted anomalies, and behind them the real incident book, journal and workers, on one clock.

The link and the stronger model are scripted, so that each can be away for hours that take seconds. Every message that is
queued is noted, so that what arrived can be compared with it one by one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path
from random import Random
from typing import Any, cast

from msgspec.structs import replace

from edge_agent.confidence import FEATURES, ConfidenceRule
from edge_agent.config.settings import DetectSettings, EscalationSettings, IncidentSettings, JournalSettings
from edge_agent.detect.bank import DetectorBank
from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.errors import StorageError, TryLaterError
from edge_agent.escalate.contract import Reply, Request
from edge_agent.escalate.gate import Gate
from edge_agent.incidents import IncidentBook
from edge_agent.journal import Journal
from edge_agent.messages import drops_message
from edge_agent.metrics import Metrics
from edge_agent.pipeline import Screened, Screener, SpeakingRelease
from edge_agent.values import Anomaly, Draft, Message, Prompt
from edge_agent.workers.active import ReleaseSlot, Wish
from edge_agent.workers.deliver import DeliverWorker
from edge_agent.workers.escalate import EscalateWorker, Outside
from edge_agent.workers.explain import ExplainWorker
from edge_agent.workers.loop import Worker
from edge_agent.workers.screen import Core, ScreenWorker, Wakes
from tests.journals import TwoClocks
from tests.unit.workers.escalation import ScriptedBackend, right
from tests.unit.workers.parts import TOPICS, MemoryLink
from tests.writing import anomaly, draft

START_S = 1_790_000_000.0
STEP_S = 60.0
ASSETS = 40
LASTS_S = 20.0
HOUR_S = 3_600.0
RELEASE = SpeakingRelease(
    "test-1", frozenset(), ConfidenceRule(features=FEATURES, weights=(0.0,) * 4, intercept=2.0, threshold=0.5)
)


class Unsure:
    """A writer whose every sentence is refused, so that a stronger model is asked about each incident."""

    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        return [draft("nothing that can be read .") for _ in prompts]


class Script:
    """Stands in the place of the screener: one anomaly every so often, over the assets in turn; the incident book is real."""

    def __init__(self, book: IncidentBook, every_s: float) -> None:
        self.begun = 0
        self._book = book
        self._every_s = every_s
        self._next_s = START_S
        self._ending: deque[Anomaly] = deque()

    def tick(self, now_s: float, monotonic_s: float | None = None) -> Screened:
        found: list[Anomaly] = []
        while self._ending and self._ending[0].onset_s + LASTS_S <= now_s:
            ended = self._ending.popleft()
            found.append(replace(ended, end_s=ended.onset_s + LASTS_S))
        while self._next_s <= now_s:
            stream = f"pump-{self.begun % ASSETS}/vibration"
            begun = anomaly(stream, onset_s=self._next_s, peak_s=self._next_s, score=0.5 + self.begun % 40 / 100)
            found.append(begun)
            self._ending.append(begun)
            self._next_s += self._every_s
            self.begun += 1
        return Screened(found, self._book.update(found, now_s), [], {}, 0)


class NotingJournal:
    """A real journal that notes every message which is queued in it, in order."""

    def __init__(self, journal: Journal) -> None:
        self.queued: list[Message] = []
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if name not in ("record", "record_summary", "close_incident", "settle"):
            return method

        def note(*arguments: Any, **named: Any) -> Any:
            answer = method(*arguments, **named)
            values = [*arguments, *named.values()]
            self.queued += [
                each for value in values if isinstance(value, list | tuple) for each in value if isinstance(each, Message)
            ]
            return answer

        return note


class Site:
    """All of it. `run` lets simulated time pass."""

    def __init__(
        self,
        folder: Path,
        *,
        incidents_per_hour: float,
        journal: JournalSettings,
        escalation: EscalationSettings | None = None,
        each_step: Callable[[Site], None] = lambda site: None,
    ) -> None:
        self.clock, self.link, self.metrics = TwoClocks(START_S), MemoryLink(), Metrics()
        self.settings = journal
        self.journal = Journal.open(folder / "journal.db", journal, self.clock, lambda drops: drops_message(TOPICS, drops))
        self.noted = NotingJournal(self.journal)
        self.cloud = ScriptedBackend(self._ask)
        self.cloud_is_away = False
        self.refusals = 0
        """Steps that the journal refused."""
        self._each_step = each_step
        self._wakes = Wakes(explain=threading.Event(), deliver=threading.Event())
        book = IncidentBook(IncidentSettings(join_within_s=60.0, close_after_s=60.0), salt="test")
        self.script = Script(book, HOUR_S / incidents_per_hour)
        core = Core(cast("Screener", self.script), DetectorBank(DetectSettings(), None), book)
        slot = ReleaseSlot()
        slot.want(Wish(speaking=RELEASE, open_writer=Unsure))
        self._screen = ScreenWorker(
            link=self.link,
            journal=self._written,
            core=core,
            slot=slot,
            topics=TOPICS,
            wakes=self._wakes,
            metrics=self.metrics,
            clock=self.clock,
        )
        self.escalate = self._make_escalate(escalation) if escalation is not None else None
        self._explain = ExplainWorker(
            journal=self._written,
            topics=TOPICS,
            slot=slot,
            zone=UTC,
            wake=self._wakes.explain,
            deliver=self._wakes.deliver,
            metrics=self.metrics,
            clock=self.clock,
            escalates=self.escalate,
        )
        self._deliver = DeliverWorker(
            link=self.link, journal=self.journal, wake=self._wakes.deliver, metrics=self.metrics, clock=self.clock
        )

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    @property
    def queued(self) -> list[Message]:
        """Every message that the workers queued, in order; the journal's own reports of drops are not among them."""
        return self.noted.queued

    @property
    def arrived(self) -> list[Message]:
        """What the broker confirmed, in order."""
        return self.link.reached

    def run(self, hours: float) -> None:
        """Let simulated time pass, a minute a step."""
        for _ in range(round(hours * HOUR_S / STEP_S)):
            self.clock.pass_s(STEP_S)
            self._step(self._screen)
            self.settle()
            self._each_step(self)

    def settle(self) -> None:
        """Let the workers do what there is to do, without time passing."""
        for worker in (self._explain, self.escalate, self._deliver):
            while worker is not None and self._step(worker):
                pass

    def _step(self, worker: Worker) -> bool:
        """One step, as the workers' loop makes it: what the journal refuses is tried again with the next one."""
        try:
            return worker.step(0.0)
        except StorageError:
            self.refusals += 1
            return False

    @property
    def _written(self) -> Journal:
        return cast("Journal", self.noted)

    def _ask(self, request: Request) -> Reply | None:
        if self.cloud_is_away:
            raise TryLaterError("connection")
        return right(request)

    def _make_escalate(self, settings: EscalationSettings) -> EscalateWorker:
        gate = Gate(settings, fingerprint="f", kept=self.journal.meter, clock=self.clock, boot="boot-1", rng=Random(1))
        return EscalateWorker(
            journal=self._written,
            topics=TOPICS,
            settings=settings,
            pseudonyms=Pseudonyms(b"k" * 32),
            open_outside=lambda: Outside(self.cloud, gate, settings.backend, "models.example"),
            latest=lambda: self._explain.latest_incident,
            zone=UTC,
            deliver=self._wakes.deliver,
            metrics=self.metrics,
            clock=self.clock,
        )
