"""An escalate worker with a real journal, a backend that says what the test wants, and a clock that the test moves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from random import Random
from typing import TypeAlias

from msgspec.structs import replace

from edge_agent.config.settings import EscalationSettings, JournalSettings
from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.egress.question import Question, document
from edge_agent.errors import EdgeAgentError
from edge_agent.escalate.contract import Reply, Request, Usage
from edge_agent.escalate.gate import Gate
from edge_agent.journal import Journal
from edge_agent.messages import summary_messages
from edge_agent.metrics import Metrics
from edge_agent.pipeline import TEMPLATE_ONLY, explain
from edge_agent.values import Escalation, Incident, Summary
from edge_agent.workers.escalate import EscalateWorker, Outside
from tests.journals import T0_S, TwoClocks
from tests.unit.workers.parts import TOPICS
from tests.writing import ONSET_S, anomaly, incident

Behaviour: TypeAlias = Callable[[Request], Reply | None]


def spike(number: int = 1, severity: float = 0.9, revision: int = 1, closed: bool = True) -> Incident:
    """An incident of one spike."""
    return incident(
        anomaly(f"pump-{number}/vibration", end_s=ONSET_S + 3),
        id=f"i-{number}",
        severity=severity,
        revision=revision,
        state="closed" if closed else "open",
        closed_s=ONSET_S + 10 if closed else None,
    )


def examples(request: Request) -> str:
    """An answer that is right: the examples of the question."""
    question = json.loads(request.body)
    return json.dumps({"sentences": [chunk["example"] for chunk in question["chunks"]]})


def right(request: Request) -> Reply:
    """What a good model answers."""
    return Reply(id=request.id, text=examples(request), model="large-1", usage=Usage(tokens=5, bytes=len(request.body)))


def saying(text: str) -> Behaviour:
    """A model that says this whatever it is asked."""
    return lambda request: Reply(id=request.id, text=text)


def failing(error: EdgeAgentError) -> Behaviour:
    """A backend that fails."""

    def fail(request: Request) -> Reply | None:
        raise error

    return fail


class ScriptedBackend:
    """Behaves as told; the last behaviour lasts."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours) or [right]
        self.sent: list[Request] = []
        self.later: list[Reply] = []

    def encode(self, question: Question) -> tuple[bytes, Usage]:
        body = document(question)
        return body, Usage(tokens=10, bytes=len(body))

    def send(self, request: Request) -> Reply | None:
        self.sent.append(request)
        behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
        return behaviour(request)

    def collect(self) -> list[Reply]:
        replies, self.later = self.later, []
        return replies


class Station:
    """The worker and what is around it; `restart` is what a kill and a start do."""

    def __init__(self, folder: Path, *behaviours: Behaviour, settings: EscalationSettings | None = None) -> None:
        self.path = folder / "journal.db"
        self.settings = settings or EscalationSettings(backend="openai")
        self.clock = TwoClocks(T0_S)
        self.backend = ScriptedBackend(*behaviours)
        self.latest = ""
        self.metrics = Metrics()
        self.pseudonyms = Pseudonyms(b"k" * 32)
        self.deliver = threading.Event()
        self.opening: Callable[[], Outside] = self.outside
        self.journal = Journal.open(self.path, JournalSettings(), self.clock)
        self.worker = self._worker()

    def __enter__(self) -> Station:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    def outside(self) -> Outside:
        gate = Gate(self.settings, fingerprint="f", kept=self.journal.meter, clock=self.clock, boot="boot-1", rng=Random(1))
        return Outside(self.backend, gate, self.settings.backend, "models.example")

    def restart(self) -> None:
        self.journal.close()
        self.journal = Journal.open(self.path, JournalSettings(), self.clock)
        self.worker = self._worker()

    def queue(self, *incidents: Incident, reasons: tuple[str, ...] = ("low-confidence",)) -> None:
        """Store incidents with their summaries, as the explain worker does for one that is not certain."""
        for one in incidents:
            summary = explain(one, None, None, TEMPLATE_ONLY, self.clock.now_s())
            summary = replace(summary, verdict="escalate", reasons=reasons)
            self.journal.record([one], [])
            escalation = self.worker.escalation_of(one, summary)
            self.journal.record_summary(summary, summary_messages(TOPICS, summary), "critical", escalation=escalation)
            self.latest = one.id
        self.worker.wake()

    def work(self) -> None:
        """Step until there is nothing to do now."""
        for _ in range(1_000):
            if not self.worker.step(0.0):
                return
        raise AssertionError("the worker never rests")

    def stands(self, number: int = 1) -> tuple[str, str]:
        """State and outcome of an incident's escalation."""
        found = self.escalation(number)
        return found.state, found.outcome

    def escalation(self, number: int = 1) -> Escalation:
        found = self.journal.escalation(f"i-{number}")
        assert found is not None
        return found

    def summary(self, number: int = 1) -> Summary:
        found = self.journal.summary(f"i-{number}")
        assert found is not None
        return found

    def told(self, topic: str) -> list[dict[str, object]]:
        """The documents that wait on a topic, in order."""
        messages = [queued.message for queued in self.journal.outbox(0, 10_000)]
        return [json.loads(m.payload) for m in messages if m.topic == topic and m.payload]

    def _worker(self) -> EscalateWorker:
        return EscalateWorker(
            journal=self.journal,
            topics=TOPICS,
            settings=self.settings,
            pseudonyms=self.pseudonyms,
            open_outside=lambda: self.opening(),
            latest=lambda: self.latest,
            zone=UTC,
            deliver=self.deliver,
            metrics=self.metrics,
            clock=self.clock,
        )
