"""The fates of escalations: an answer is judged, and whatever became of a question is kept, told and logged in one commit.

Rules: one owner, the escalate worker. A fate that is final stays as it is: the same answer once more gets the same fate. A
summary is revised only while it is still of the incident's newest revision.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Final

from msgspec.structs import replace

from edge_agent.clock import Clock
from edge_agent.egress.answer import parse_answer
from edge_agent.errors import InputError
from edge_agent.escalate.contract import Reply
from edge_agent.journal import Journal
from edge_agent.messages import Topics, escalation_message, summary_messages
from edge_agent.messages.decisions import decision_entry, escalation_entry
from edge_agent.metrics import Metrics
from edge_agent.pipeline import plan_of, revise
from edge_agent.values import Escalation, EscalationState, Incident, Summary

UNKNOWN: Final = "unknown-question"
FINAL: Final[frozenset[EscalationState]] = frozenset({"answered", "refused", "dropped"})
PAGE: Final = 64
"""Escalations read from the journal at once."""
_MAX_MODEL: Final = 120


class Fates:
    """Keeps what becomes of questions. `meters` gives the states that are kept in the same commit."""

    def __init__(
        self,
        *,
        journal: Journal,
        topics: Topics,
        backend: str,
        meters: Callable[[], Mapping[str, bytes]],
        latest: Callable[[], str],
        zone: tzinfo,
        deliver: threading.Event,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._topics = topics
        self._backend = backend
        self._meters = meters
        self._latest = latest
        self._zone = zone
        self._deliver = deliver
        self._metrics = metrics
        self._clock = clock

    def judge(self, reply: Reply) -> str:
        """Judge an answer, keep its fate, and say it in words. Raises StorageError."""
        escalation = self._journal.escalation_of(reply.id)
        if escalation is None:
            self._metrics.flow.add("escalations_answers_unknown")
            return UNKNOWN
        if escalation.state in FINAL:
            return fate(escalation)
        incident = self.incident_of(escalation)
        summary = self.summary_of(escalation, incident)
        if incident is None or summary is None:
            return fate(self.drop(escalation, "superseded"))
        try:
            wordings = parse_answer(reply.text, len(plan_of(incident, summary.evidence, self._zone).chunks))
        except InputError as error:
            return fate(self.finish(escalation, "refused", error.reason))
        model = f"{self._backend}:{_printable(reply.model)}"
        revised = revise(summary, incident, wordings, model, self._clock.now_s(), self._zone)
        if isinstance(revised, str):
            return fate(self.finish(escalation, "refused", revised))
        return self._publish(escalation, incident, revised)

    def incident_of(self, escalation: Escalation) -> Incident | None:
        """The incident as it stands now; None once it is forgotten."""
        stored = self._journal.incident(escalation.incident_id)
        return stored.incident if stored is not None else None

    def summary_of(self, escalation: Escalation, incident: Incident | None) -> Summary | None:
        """The summary that the escalation is about; None once the incident went on, whose newest revision is what counts."""
        if incident is None or incident.revision != escalation.revision:
            return None
        summary = self._journal.summary(incident.id)
        return summary if summary is not None and summary.revision == escalation.revision else None

    def drop(self, escalation: Escalation, why: str) -> Escalation:
        """Give a question up."""
        return self.finish(escalation, "dropped", why)

    def finish(self, escalation: Escalation, state: EscalationState, why: str) -> Escalation:
        """Keep a final fate other than an answer."""
        final = self.changed(escalation, state, outcome=why)
        if self.settle(final, audit=escalation_entry(final)):
            self._metrics.flow.add(f"escalations_{state}_{why}")
        return final

    def settle(
        self, escalation: Escalation, *, meters: Mapping[str, bytes] | None = None, egress: bytes = b"", audit: bytes = b""
    ) -> bool:
        """Keep how an escalation stands and tell it; False if a newer one took its place."""
        kept = self._journal.settle(
            escalation,
            messages=(escalation_message(self._topics, escalation),),
            meters=self._meters() if meters is None else meters,
            egress=egress,
            audit=audit,
        )
        if kept:
            self._deliver.set()
        return kept

    def changed(self, escalation: Escalation, state: EscalationState, *, outcome: str, attempts: int | None = None) -> Escalation:
        """The escalation in another state, as of now."""
        count = escalation.attempts if attempts is None else attempts
        return replace(escalation, state=state, outcome=outcome, attempts=count, changed_s=self._clock.now_s())

    def _publish(self, escalation: Escalation, incident: Incident, revised: Summary) -> str:
        answered = self.changed(escalation, "answered", outcome="")
        messages = summary_messages(self._topics, revised, is_latest=self._latest() == incident.id)
        kept = self._journal.settle(
            answered,
            messages=(*messages, escalation_message(self._topics, answered)),
            summary=revised,
            meters=self._meters(),
            audit=decision_entry(incident, revised),
        )
        if not kept:
            return "dropped: superseded"
        self._deliver.set()
        self._metrics.flow.add("escalations_answered")
        self._metrics.routes.add(revised.route)
        return "answered"


def drop_all(journal: Journal, topics: Topics, clock: Clock) -> int:
    """Drop whatever still waits, because escalation is switched off; how many there were. Raises StorageError."""
    dropped = 0
    while page := journal.pending_escalations(PAGE):
        for escalation in page:
            final = replace(escalation, state="dropped", outcome="switched-off", changed_s=clock.now_s())
            journal.settle(final, messages=(escalation_message(topics, final),), audit=escalation_entry(final))
            dropped += 1
    return dropped


def fate(escalation: Escalation) -> str:
    """How an escalation stands, in words: `answered`, `refused: role-wrong`."""
    return f"{escalation.state}: {escalation.outcome}" if escalation.outcome else escalation.state


def _printable(text: str) -> str:
    """A model's name as it may be shown: text from outside."""
    return "".join(c for c in text if c.isascii() and c.isprintable())[:_MAX_MODEL]
