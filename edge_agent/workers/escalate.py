"""The escalate worker: pending escalations of the journal to a stronger model, and its answers to revised summaries.

Rules: what is to be asked stands in the journal; an event only wakes. Before a question leaves, one durable commit holds that
it was sent, what it may cost, and its entry in the egress log; after a kill it is sent again under the same id. An answer is
only wording: it goes through the verifier like the writer's, and one that fails is refused, counted, and the text that was
published stands. Whether the other side can be reached is judged by outcomes alone. One question is under way at a time.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from datetime import tzinfo
from typing import Final

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.config.settings import EscalationSettings
from edge_agent.egress.log import egress_entry
from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.egress.question import Question, question_of
from edge_agent.errors import BackendRefusalError, EdgeAgentError, EgressError, StorageError, TryLaterError
from edge_agent.escalate.backoff import counts_as_attempt
from edge_agent.escalate.contract import Backend, Reply, Request
from edge_agent.escalate.gate import FORMAT_UNSUPPORTED, NOTHING_LEFT, Gate, Held, Reservation
from edge_agent.escalate.turns import Turns
from edge_agent.journal import Journal
from edge_agent.messages import Topics
from edge_agent.metrics import Metrics
from edge_agent.pipeline import plan_of
from edge_agent.values import Escalation, Incident, Summary
from edge_agent.workers.fates import PAGE, Fates
from edge_agent.workers.waiting import Waiting

COLLECT_S: Final = 2.0
"""How often the backend is asked for answers that came another way."""
REVIEW_S: Final = 30.0
"""How often what waits is held against its limits of age and number."""
SETTLE_S: Final = 20.0
"""How long the latest revision of an open incident must stand before it is asked about, unless it is critical."""
MAX_ANSWERS: Final = 100
REOPEN_S: Final = 60.0
"""Pause before the backend is opened again when it could not be."""

_log = logging.getLogger(__name__)


class Outside(Struct, frozen=True):
    """The backend and what belongs to it, opened by the worker on its own thread."""

    backend: Backend
    gate: Gate
    name: str
    """The backend's name in the configuration."""
    destination: str
    """Where questions go, in words without secrets, for the egress log."""


class EscalateWorker:
    """Implements `loop.Worker` and `explain.Escalates`."""

    name = "escalate"

    def __init__(
        self,
        *,
        journal: Journal,
        topics: Topics,
        settings: EscalationSettings,
        pseudonyms: Pseudonyms,
        open_outside: Callable[[], Outside],
        latest: Callable[[], str],
        zone: tzinfo,
        deliver: threading.Event,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.max_step_s = settings.openai.timeout_s + 60.0
        self._journal = journal
        self._settings = settings
        self._pseudonyms = pseudonyms
        self._open_outside = open_outside
        self._zone = zone
        self._metrics = metrics
        self._clock = clock
        self._fates = Fates(
            journal=journal,
            topics=topics,
            backend=settings.backend,
            meters=self._meters,
            latest=latest,
            zone=zone,
            deliver=deliver,
            metrics=metrics,
            clock=clock,
        )
        self._outside: Outside | None = None
        self._waiting = Waiting(clock, settings.max_age_s)
        self._turns = Turns(settings.max_waiting)
        self._handed: queue.Queue[tuple[Reply, Future[str]]] = queue.Queue(MAX_ANSWERS)
        self._wake = threading.Event()
        self._collected_s = self._reviewed_s = clock.monotonic_s() - REVIEW_S
        self._look_at_s = clock.monotonic_s()
        self._collected: list[Reply] = []
        """Answers that the backend gave and that are not judged yet."""
        self._asking: tuple[str, int] | None = None
        """The revision being asked about; met again, its last attempt failed unexpectedly."""

    # ---- any thread ------------------------------------------------------------------------------------------------

    def escalation_of(self, incident: Incident, summary: Summary) -> Escalation:
        """The escalation of a summary that is not certain, to be queued in the same commit."""
        now_s = self._clock.now_s()
        return Escalation(
            incident_id=incident.id,
            revision=summary.revision,
            id=self._pseudonyms.request_id(incident.id, summary.revision),
            reasons=summary.reasons,
            severity=incident.severity,
            queued_s=now_s,
            changed_s=now_s,
        )

    def wake(self) -> None:
        """Something was queued."""
        self._wake.set()

    def answer(self, reply: Reply) -> Future[str]:
        """An answer that came as a request; its fate in words, once that is on disk. Raises `queue.Full`."""
        future: Future[str] = Future()
        self._handed.put_nowait((reply, future))
        self._wake.set()
        return future

    # ---- the worker's own thread -----------------------------------------------------------------------------------

    def step(self, timeout_s: float) -> bool:
        """Take in answers, keep the limits, ask at most one question. Raises StorageError; what is not done is done again."""
        if self._outside is None and not self._open():
            self._wake.wait(timeout_s)
            self._wake.clear()
            return False
        assert self._outside is not None
        if self._take_handed() or self._collect(self._outside) or self._review(self._outside):
            return True
        if self._wake.is_set() or self._clock.monotonic_s() >= self._look_at_s:
            self._wake.clear()
            return self._ask_next(self._outside)
        self._wake.wait(min(timeout_s, max(0.0, self._look_at_s - self._clock.monotonic_s())))
        return False

    def finish(self) -> None:
        """Keep how much of the day is over; answers that were handed over last are handed over again."""
        if self._outside is not None:
            self._journal.record_meters(self._outside.gate.meters())
        while not self._handed.empty():
            self._handed.get_nowait()[1].cancel()

    def _open(self) -> bool:
        """Open the backend; what is missing is a condition, and looked for again later."""
        now_s = self._clock.monotonic_s()
        if now_s < self._look_at_s:
            return False
        try:
            outside = self._open_outside()
        except EdgeAgentError as error:
            self._look_at_s = now_s + REOPEN_S
            self._metrics.conditions.set("escalation", f"{error}; what waits is kept")
            _log.warning("nothing can be escalated: %s", error)
            return False
        self._journal.record_meters(outside.gate.meters())
        self._outside = outside
        self._metrics.conditions.clear("escalation")
        return True

    def _take_handed(self) -> bool:
        try:
            reply, future = self._handed.get_nowait()
        except queue.Empty:
            return False
        if not future.set_running_or_notify_cancel():
            return True
        try:
            future.set_result(self._fates.judge(reply))
        except BaseException as error:
            future.set_exception(error)
            raise
        return True

    def _collect(self, outside: Outside) -> bool:
        now_s = self._clock.monotonic_s()
        if now_s - self._collected_s < COLLECT_S:
            return False
        self._collected_s = now_s
        if not self._collected:
            try:
                self._collected = outside.backend.collect()
            except TryLaterError as error:
                self._metrics.conditions.set("escalation answers", f"{error}")
                return False
            self._metrics.conditions.clear("escalation answers")
        found = bool(self._collected)
        while self._collected:
            reply = self._collected.pop(0)
            try:
                self._fates.judge(reply)
            except StorageError:
                # The next call of `collect` says that all of them are on disk: it waits until that is so.
                self._collected.insert(0, reply)
                raise
        return found

    def _review(self, outside: Outside) -> bool:
        """Drop what waited too long and what is too many, the least severe and newest of it first."""
        now_s = self._clock.monotonic_s()
        if now_s - self._reviewed_s < REVIEW_S:
            return False
        self._reviewed_s = now_s
        self._waiting.look()
        if outside.gate.due_for_saving():
            self._journal.record_meters(outside.gate.meters())
            outside.gate.saved()
        excess = self._journal.pending_count() - self._settings.max_waiting
        too_many = self._journal.pending_escalations(excess, self._settings.max_waiting) if excess > 0 else []
        for escalation in too_many:
            self._fates.drop(escalation, "too-many")
        waiting = self._journal.pending_escalations(self._settings.max_waiting)
        too_old = [escalation for escalation in waiting if self._waiting.is_too_old(escalation.queued_s)]
        for escalation in too_old:
            self._fates.drop(escalation, "too-old")
        return bool(too_many or too_old)

    def _ask_next(self, outside: Outside) -> bool:
        """Ask about the first that may be asked about; sets when to look again."""
        self._look_at_s = self._clock.monotonic_s() + REVIEW_S
        held: Held | None = None
        passed_over = False
        for escalation in self._pending():
            if _awaited(outside) == escalation.outcome and self._awaits(escalation):
                continue
            held = outside.gate.held(escalation.severity)
            if held is not None:
                # The most severe come first: what is held for one is held for all after it.
                break
            incident = self._fates.incident_of(escalation)
            wait_s = self._not_yet_s(escalation, incident)
            if wait_s > 0:
                self._look_at_s = min(self._look_at_s, self._clock.monotonic_s() + wait_s)
                continue
            if self._turns.lets_others_go_first(escalation.id):
                passed_over = True
                continue
            self._look_at_s = self._clock.monotonic_s()
            self._ask_once(outside, escalation, incident)
            return True
        if passed_over and held is None:
            self._turns.all_had_theirs()
            self._look_at_s = self._clock.monotonic_s()
        if held is not None:
            self._look_at_s = min(self._look_at_s, self._clock.monotonic_s() + max(0.05, held.for_s))
        self._tell(outside, held)
        return False

    def _not_yet_s(self, escalation: Escalation, incident: Incident | None) -> float:
        """How long this one is not to be asked about yet: an incident that still changes is asked about once it rests."""
        critical = escalation.severity >= self._settings.critical_severity
        if incident is None or incident.state == "closed" or incident.revision != escalation.revision or critical:
            return 0.0
        return self._waiting.rest_s(escalation.queued_s, SETTLE_S)

    def _pending(self) -> Iterator[Escalation]:
        """Everything that waits, most severe first, read in pages."""
        for offset in range(0, self._settings.max_waiting, PAGE):
            page = self._journal.pending_escalations(PAGE, offset)
            yield from page
            if len(page) < PAGE:
                return

    def _awaits(self, escalation: Escalation) -> bool:
        """Whether this question, which was handed over, may still be answered."""
        rest_s = self._waiting.rest_s(escalation.changed_s, self._settings.answer_within_s)
        self._look_at_s = min(self._look_at_s, self._clock.monotonic_s() + max(1.0, rest_s))
        return rest_s > 0

    def _ask_once(self, outside: Outside, escalation: Escalation, incident: Incident | None) -> None:
        """Ask, unless the last attempt at this one failed unexpectedly: then it is given up, so that others get their turn."""
        trying = (escalation.incident_id, escalation.revision)
        if trying == self._asking:
            self._asking = None
            self._fates.drop(escalation, "asking-failed")
            return
        self._asking = trying
        try:
            self._ask(outside, escalation, incident)
        except StorageError:
            self._asking = None
            raise
        self._asking = None

    def _ask(self, outside: Outside, escalation: Escalation, incident: Incident | None) -> None:
        summary = self._fates.summary_of(escalation, incident)
        if incident is None or summary is None:
            self._fates.drop(escalation, "superseded")
            return
        cut_short = escalation.state == "sent" and not escalation.outcome
        if cut_short and escalation.attempts >= self._settings.max_attempts:
            # Nobody could keep what came of its attempts: perhaps the agent dies of the answer.
            self._fates.drop(escalation, "too-many-attempts")
            return
        try:
            question = self._question(escalation, incident, summary)
            if not question.chunks:
                self._fates.drop(escalation, "nothing-to-phrase")
                return
            body, most = outside.backend.encode(question)
            self._send(outside, escalation, Request(id=escalation.id, body=body), outside.gate.reserve(most))
        except EgressError as error:
            _log.error("a question was kept back: %s", error)
            self._metrics.conditions.set("escalation egress", f"{error}; please report it")
            self._fates.drop(escalation, "egress-refused")

    def _question(self, escalation: Escalation, incident: Incident, summary: Summary) -> Question:
        plan = plan_of(incident, summary.evidence, self._zone)
        return question_of(
            plan, id=escalation.id, severity=incident.severity, allow=self._settings.allow, pseudonyms=self._pseudonyms
        )

    def _send(self, outside: Outside, escalation: Escalation, request: Request, reserved: Reservation | Held | str) -> None:
        if isinstance(reserved, str):
            self._fates.drop(escalation, reserved)
            return
        if isinstance(reserved, Held):
            self._look_at_s = self._clock.monotonic_s() + max(1.0, min(REVIEW_S, reserved.for_s))
            self._tell(outside, reserved)
            return
        sent = self._fates.changed(escalation, "sent", outcome="", attempts=escalation.attempts + 1)
        entry = egress_entry(
            kind="question",
            request_id=request.id,
            backend=outside.name,
            destination=outside.destination,
            body=request.body,
            attempt=sent.attempts,
            allow=self._settings.allow,
            now_s=self._clock.now_s(),
        )
        kept = self._fates.settle(sent, meters=reserved.meters(), egress=entry)
        outside.gate.take(reserved)
        if not kept:
            outside.gate.give_back(reserved)
            return
        self._metrics.flow.add("escalations_sent")
        try:
            reply = outside.backend.send(request)
        except TryLaterError as error:
            self._later(outside, escalation, sent, reserved, error)
        except BackendRefusalError as error:
            _log.warning("%s refuses a question: %s", outside.name, error)
            self._turns.answered(request.id)
            outside.gate.refused(reserved, error)
            self._fates.finish(sent, "refused", error.reason)
        else:
            self._turns.answered(request.id)
            outside.gate.answered(reserved, reply.usage if reply is not None else None)
            if reply is None:
                self._fates.settle(self._fates.changed(sent, "sent", outcome=_awaited(outside)))
            else:
                self._fates.judge(reply)
        self._tell(outside, None)

    def _later(self, outside: Outside, before: Escalation, sent: Escalation, reserved: Reservation, error: TryLaterError) -> None:
        outside.gate.failed(reserved, error)
        _log.warning("%s does not answer: %s", outside.name, error)
        self._metrics.flow.add(f"escalations_later_{error.reason}")
        left = error.reason not in NOTHING_LEFT and error.reason != FORMAT_UNSUPPORTED
        at_fault = left and self._turns.in_vain(sent.id)
        attempts = sent.attempts if at_fault or counts_as_attempt(error) else before.attempts
        if attempts >= self._settings.max_attempts:
            self._fates.finish(sent, "dropped", "too-many-attempts")
        else:
            self._fates.settle(self._fates.changed(sent, "queued", outcome=error.reason, attempts=attempts))

    def _meters(self) -> Mapping[str, bytes]:
        return self._outside.gate.meters() if self._outside is not None else {}

    def _tell(self, outside: Outside, held: Held | None) -> None:
        """Raise or end the conditions that a person should know of."""
        conditions, gate = self._metrics.conditions, outside.gate
        if gate.broken:
            text = f"{outside.name} refuses every question ({gate.broken}); check its settings, the key and the account"
            conditions.set("escalation", f"{text}; what waits is kept")
        elif gate.failing:
            conditions.set("escalation", f"{outside.name} does not answer ({gate.failing}); what waits is kept")
        elif held is not None and held.reason.startswith("budget-"):
            conditions.set("escalation", f"the day's {held.reason} is spent; asking goes on in {held.for_s / 3600:.1f} h")
        elif held is None or held.reason != "backoff":
            conditions.clear("escalation")


def _awaited(outside: Outside) -> str:
    """Outcome of an escalation that was handed over and whose answer comes later; another backend does not wait for it."""
    return f"awaited-{outside.name}"
