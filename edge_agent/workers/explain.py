"""The explain worker: incidents of the journal to published sentences.

Rules: what is to be explained stands in the journal; an event only wakes. The worker owns the writer and the memory and
opens both itself, on its own thread, before its first sentence. When another release is wanted it exchanges both between two
incidents; the old writer is let go before the new one is opened, so that two never stand in memory at once. Whatever fails, a
sentence is published: without the memory it has no past incident in it, without the writer it is the template's, and where even
the template fails it says what was counted. Each fallback is counted under its reason.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from datetime import tzinfo
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.detect.contract import signer
from edge_agent.errors import EdgeAgentError, EngineError, StorageError
from edge_agent.facts import print_name
from edge_agent.journal import Journal
from edge_agent.messages import Topics, escalation_message, summary_messages
from edge_agent.messages.decisions import decision_entry
from edge_agent.metrics import Metrics
from edge_agent.pipeline import Writer, explain
from edge_agent.values import Escalation, Evidence, Incident, Summary
from edge_agent.workers.active import ClosedMemory, ReleaseSlot, Wanted, Wish

MAX_BATCH = 16
"""Incidents taken from the journal at once."""
STEP_S = 10.0
"""After so long no further incident is begun in the same step: a slow writer is no worker that hangs, and stops do not wait."""
RECHECK_S = 5.0
"""How often the journal is asked although nothing woke the worker."""
MAX_WRITER_FAILURES = 3
"""Failures in a row after which the writer is given up until the next start."""
MAX_REMEMBERED = 1_024
REFUSED = "refused-"
"""What the reasons of a refused draft begin with."""
UNOPENED = "its engines could not be opened; the log says why"

_log = logging.getLogger(__name__)


class Escalates(Protocol):
    """Who makes an escalation of a summary that is not certain; `workers.escalate.EscalateWorker` is one."""

    def escalation_of(self, incident: Incident, summary: Summary) -> Escalation:
        """The escalation to be queued together with the summary. Any thread."""

    def wake(self) -> None:
        """Something was queued."""


class ExplainWorker:
    """Implements `loop.Worker`."""

    name = "explain"
    max_step_s = 120.0
    """Opening a large writer from slow storage takes the longest, or one incident: six sentences, each as slow as may be."""

    def __init__(
        self,
        *,
        journal: Journal,
        topics: Topics,
        slot: ReleaseSlot,
        zone: tzinfo,
        wake: threading.Event,
        deliver: threading.Event,
        metrics: Metrics,
        clock: Clock,
        escalates: Escalates | None = None,
    ) -> None:
        self._journal = journal
        self._topics = topics
        self._slot = slot
        self._active = Wanted(-1, Wish())
        """What is in use; read and replaced as one."""
        self._escalates = escalates
        self.latest_incident = ""
        """The incident of the summary that was published last; any thread may read it."""
        self._zone = zone
        self._wake = wake
        self._deliver = deliver
        self._metrics = metrics
        self._clock = clock
        self._writer: Writer | None = None
        self._memory: ClosedMemory | None = None
        self._writer_failures = 0
        self._closed: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self._trying: tuple[str, int] | None = None
        self._tries = 0
        self._checked_s = clock.monotonic_s() - RECHECK_S

    def remember(self, incident_id: str) -> None:
        """An incident was closed with a cause: take it into the memory at the next step. Any thread."""
        self._closed.append(incident_id)
        self._wake.set()

    def step(self, timeout_s: float) -> bool:
        """Explain up to `MAX_BATCH` incidents. Raises StorageError; what is not explained is taken again."""
        self._exchange()
        due = self._wake.is_set() or self._clock.monotonic_s() - self._checked_s >= RECHECK_S
        if not due and not self._wake.wait(timeout_s):
            return False
        self._wake.clear()
        self._checked_s = self._clock.monotonic_s()
        while self._closed:
            self._remember(self._closed[0])
            self._closed.popleft()
        incidents = self._journal.to_explain(MAX_BATCH)
        if incidents:
            self._wake.set()
        for incident in incidents:
            # Also one that was wanted while this step waited, or wrote: what is taken back writes no further sentence.
            self._exchange()
            self._explain(incident)
            if self._clock.monotonic_s() - self._checked_s > STEP_S:
                break
        return bool(incidents)

    def finish(self) -> None:
        """Keep the memory's cache for the next start, which otherwise builds it anew."""
        if self._memory is not None:
            self._memory.save()

    def _explain(self, incident: Incident) -> None:
        summary = self._summarise(incident)
        messages = summary_messages(self._topics, summary)
        escalation = None
        if self._escalates is not None and summary.verdict == "escalate":
            escalation = self._escalates.escalation_of(incident, summary)
            messages = (*messages, escalation_message(self._topics, escalation))
        entry = decision_entry(incident, summary)
        try:
            self._journal.record_summary(summary, messages, escalation=escalation, audit=entry)
        except StorageError:
            # The disk's trouble is not the incident's: what is explained again is explained as well as before.
            self._trying = None
            raise
        self.latest_incident = incident.id
        self._deliver.set()
        if self._escalates is not None and escalation is not None:
            self._metrics.flow.add("escalations_queued")
            self._escalates.wake()
        self._trying = None
        self._metrics.flow.add("summaries")
        self._metrics.routes.add(summary.route)
        for reason in summary.reasons:
            self._metrics.fallbacks.add(reason)
        self._metrics.summary_latency.add(max(0.0, self._clock.now_s() - incident.updated_s))

    def _summarise(self, incident: Incident) -> Summary:
        """The best summary that can be had; one whose attempt failed unexpectedly is tried with less each time."""
        trying = (incident.id, incident.revision)
        self._tries = self._tries + 1 if trying == self._trying else 0
        self._trying = trying
        if self._tries > 1:
            self._metrics.fallbacks.add("explaining-failed")
            return _bare_summary(incident, self._active.wish.speaking.id, self._clock.now_s())
        release = self._active.wish.speaking
        evidence = self._evidence(incident) if self._tries == 0 else None
        if self._writer is not None and self._tries == 0:
            try:
                summary = explain(incident, evidence, self._writer, release, self._clock.now_s(), self._zone)
            except EngineError as error:
                self._writer_failed(error)
            else:
                self._writer_failures = 0
                self._metrics.conditions.clear("writer")
                refused = any(reason.startswith(REFUSED) for reason in summary.reasons)
                self._slot.wrote(self._active.number, refused=refused)
                return summary
        summary = explain(incident, evidence, None, release, self._clock.now_s(), self._zone)
        if self._writer is not None and self._tries == 1:
            # What nobody thought of a moment ago does not happen without it.
            self._writer_failed(EngineError("the writer failed unexpectedly; the log says how"))
        return summary

    def _evidence(self, incident: Incident) -> Evidence | None:
        signed = [anomaly for anomaly in incident.anomalies if anomaly.signature and self._compares(anomaly.signed_by)]
        if self._memory is None or not signed:
            return None
        signature = max(signed, key=lambda anomaly: anomaly.score).signature
        try:
            return self._memory.nearest(signature, incident.opened_s, incident.asset)
        except EngineError as error:
            self._memory_failed(error)
            return None

    def _compares(self, signed_by: str) -> bool:
        """Whether the memory is of the classifier that made a signature."""
        key = self._active.wish.classifier_key
        return not key or signer(signed_by) == signer(key)

    def _remember(self, incident_id: str) -> None:
        past = self._journal.past_incident(incident_id)
        if past is None or self._memory is None or not self._compares(past.signed_by):
            return
        try:
            self._memory.add(past)
        except EngineError as error:
            self._memory_failed(error)

    def _exchange(self) -> None:
        """Take the release that is wanted, where it is not the one in use."""
        wanted, before = self._slot.wanted(), self._active
        if wanted.number == before.number:
            return
        wish, problem = wanted.wish, UNOPENED
        keeps_memory = self._memory is not None and wish.classifier_key and wish.classifier_key == before.wish.classifier_key
        keeps_writer = self._writer is not None and wish.writer_key and wish.writer_key == before.wish.writer_key
        if not keeps_memory:
            self._let_go_of_memory()
        if not keeps_writer:
            self._writer = None
            self._metrics.conditions.clear("writer")
        self._active, self._writer_failures = wanted, 0
        # From here on nothing of the release before is left but what both have: whatever fails now, releases are not mixed.
        try:
            if not keeps_memory:
                self._open_memory(wish)
            problem = "" if keeps_writer else self._open_writer(wish)
        finally:
            self._slot.took("explain", wanted.number, problem)

    def _let_go_of_memory(self) -> None:
        if self._memory is not None:
            try:
                self._memory.save()
            except EdgeAgentError as error:
                _log.warning("the memory's cache was not written, it is built anew: %s", error)
        self._memory = None
        self._metrics.conditions.clear("memory")

    def _open_memory(self, wish: Wish) -> None:
        if wish.open_memory is not None:
            try:
                self._memory = wish.open_memory()
            except EdgeAgentError as error:
                self._memory_failed(error)

    def _open_writer(self, wish: Wish) -> str:
        """Why the writer of the release cannot be had, in words; empty where it can, or is not wanted."""
        if wish.open_writer is None:
            return ""
        try:
            self._writer = wish.open_writer()
        except EdgeAgentError as error:
            self._metrics.fallbacks.add("writer-not-loaded")
            self._metrics.conditions.set("writer", f"{error}; sentences are the template's")
            _log.warning("the writer cannot be loaded, sentences are the template's: %s", error)
            return str(error)
        return ""

    def _writer_failed(self, error: EngineError) -> None:
        self._writer_failures += 1
        self._metrics.fallbacks.add("writer-failed")
        self._metrics.conditions.set("writer", f"{error}; this sentence is the template's")
        _log.warning("the writer failed, this sentence is the template's: %s", error)
        given_up = self._writer_failures >= MAX_WRITER_FAILURES
        self._slot.failed(self._active.number, f"{error}; given up" if given_up else "")
        if given_up:
            self._writer = None
            self._metrics.conditions.set(
                "writer", f"{error}; given up until another release or the next start, sentences are the template's"
            )

    def _memory_failed(self, error: EdgeAgentError) -> None:
        self._memory = None
        self._metrics.fallbacks.add("memory-failed")
        self._metrics.conditions.set("memory", f"{error}; sentences name no past incident until the next start")
        _log.warning("the memory failed, sentences name no past incident until the next start: %s", error)


def _bare_summary(incident: Incident, release: str, now_s: float) -> Summary:
    """What can be said of an incident that nothing else could phrase: how many anomalies it counts."""
    anomalies = "1 anomaly" if incident.anomaly_count == 1 else f"{incident.anomaly_count} anomalies"
    text = f"{anomalies} on {print_name(incident.asset)}."
    return Summary(
        incident_id=incident.id,
        revision=incident.revision,
        text=text,
        skeleton=text,
        slots=(),
        confidence=0.0,
        route="template",
        verdict="escalate",
        reasons=("explaining-failed",),
        release=release,
        written_s=now_s,
        asset=incident.asset,
        state=incident.state,
    )
