"""The requests worker: `request/<command>` to `response/<command>`, or to the MQTT 5 response topic where one is given.

Rules: every request gets exactly one answer, also a wrong one; the answer goes through the journal's outbox, and the
request is acknowledged when it stands there. Commands are the literal table `COMMANDS`. Nothing here changes an incident:
a closing is handed to the screen worker, which owns the open ones, an answer to a question to the escalate worker.

Commands: `status` (the health document), `incidents` ({"limit"?, "state"?} or {"incident"}), `check` ({"config"?}: text to
check, else the agent's own file), `close` ({"incident", "cause", "note"?}), `answer` ({"id", "sentences", "model"?}, also as
a CloudEvent), `update-status`, `update-check` ({"again"?}), `update-cancel`, `update-rollback`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.config.load import check, check_text
from edge_agent.errors import RequestError, StorageError
from edge_agent.escalate.contract import Reply
from edge_agent.journal import Journal, StoredIncident
from edge_agent.messages import (
    Health,
    RequestBody,
    Topics,
    escalation_document,
    health_document,
    incident_document,
    parse_answer_request,
    parse_close,
    parse_request,
    response_message,
    summary_document,
)
from edge_agent.messages.times import format_time
from edge_agent.metrics import Metrics
from edge_agent.mqtt import Request
from edge_agent.values import Closure, Escalation, IncidentState, Message, Summary
from edge_agent.workers.update_requests import (
    Updates,
    answer_update_cancel,
    answer_update_check,
    answer_update_rollback,
    answer_update_status,
)

POLL_S = 0.05
"""How often the link is asked for requests."""
CLOSE_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0
UNKNOWN_QUESTION = "unknown-question"
"""The fate of an answer to something that was not asked."""
DEFAULT_LISTED = 20
MAX_LISTED = 200


class Asked(Protocol):
    """Where requests come from and are acknowledged; `edge_agent.mqtt.MqttLink` is one."""

    def requests(self) -> list[Request]:
        """All requests that arrived, oldest first."""

    def ack(self, items: Iterable[Request]) -> None:
        """Acknowledge what was answered."""


class Closer(Protocol):
    """Who closes incidents; `edge_agent.workers.screen.ScreenWorker` is one."""

    def close_incident(self, closure: Closure) -> Future[bool]:
        """Ask for an incident to be closed. Raises `queue.Full`."""


class Answers(Protocol):
    """Who takes answers of stronger models; `edge_agent.workers.escalate.EscalateWorker` is one."""

    def answer(self, reply: Reply) -> Future[str]:
        """Hand over an answer; its fate in words, once that is on disk, the same each time. Raises `queue.Full`."""


class Summaries(Protocol):
    """Who keeps summaries and escalations; `edge_agent.journal.Journal` is one."""

    def summary(self, incident_id: str) -> Summary | None:
        """The latest summary of an incident. Raises StorageError."""

    def escalation(self, incident_id: str) -> Escalation | None:
        """How the escalation of an incident stands. Raises StorageError."""


class Desk:
    """What the commands need of the rest of the agent."""

    def __init__(
        self,
        *,
        journal: Journal,
        health: Callable[[], Health],
        config_path: Path,
        credentials_dir: str | None,
        closer: Closer,
        remember: Callable[[str], None],
        clock: Clock,
        answers: Answers | None = None,
        updates: Updates | None = None,
    ) -> None:
        """Hold on to what is given. `answers` is None while escalation is off, `updates` where another process updates."""
        self.journal = journal
        self.health = health
        self.config_path = config_path
        self.credentials_dir = credentials_dir
        self.closer = closer
        self.remember = remember
        self.clock = clock
        self.answers = answers
        self.updates = updates


def answer_status(desk: Desk, body: RequestBody) -> object:
    """How the agent is."""
    return health_document(desk.health())


def answer_incidents(desk: Desk, body: RequestBody) -> object:
    """The newest incidents in short, or one in full with its summary."""
    wanted = body.members.get("incident")
    if wanted is not None:
        return _one_incident(desk, wanted)
    limit = body.members.get("limit", DEFAULT_LISTED)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LISTED:
        raise RequestError("bad-request", f"limit: expected a whole number, 1 to {MAX_LISTED}")
    return {"incidents": [short_incident(desk.journal, stored) for stored in desk.journal.incidents(limit, _state(body))]}


def answer_check(desk: Desk, body: RequestBody) -> object:
    """Whether a configuration is good: the text that was sent, or the agent's own file as it stands now."""
    text = body.members.get("config")
    if text is not None and not isinstance(text, str):
        raise RequestError("bad-request", "config: expected text")
    report = check(desk.config_path, credentials_dir=desk.credentials_dir) if text is None else check_text(text, "config")
    return {"ok": report.settings is not None, "problems": list(report.problems), "warnings": list(report.warnings)}


def answer_close(desk: Desk, body: RequestBody) -> object:
    """Close an incident, or tell the cause of one that is closed; durable when it is answered."""
    wanted = parse_close(body)
    closure = Closure(incident_id=wanted.incident_id, cause=wanted.cause, note=wanted.note, closed_s=desk.clock.now_s())
    try:
        known = desk.closer.close_incident(closure).result(CLOSE_TIMEOUT_S)
    except (queue.Full, TimeoutError, CancelledError):
        raise RequestError("busy", "the incident could not be closed in time; ask again") from None
    if not known:
        raise RequestError("unknown-incident", f"{wanted.incident_id}: there is no such incident in the journal")
    desk.remember(wanted.incident_id)
    return {"incident": wanted.incident_id, "cause": wanted.cause, "closed": format_time(closure.closed_s)}


def answer_answer(desk: Desk, body: RequestBody) -> object:
    """Take a stronger model's answer; verified, and its fate durable, when it is answered. Given again, the fate is the same."""
    given = parse_answer_request(body)
    if desk.answers is None:
        raise RequestError("escalation-off", "nothing was asked: `escalation.backend` is none")
    reply = Reply(id=given.question_id, text=given.text, model=given.model)
    try:
        fate = desk.answers.answer(reply).result(ANSWER_TIMEOUT_S)
    except (queue.Full, TimeoutError, CancelledError):
        raise RequestError("busy", "the answer could not be judged in time; send it again") from None
    if fate == UNKNOWN_QUESTION:
        raise RequestError(UNKNOWN_QUESTION, f"{given.question_id}: no question with this id went out, or it is forgotten")
    state, _, outcome = fate.partition(": ")
    return {"id": given.question_id, "state": state, "outcome": outcome}


COMMANDS: Mapping[str, Callable[[Desk, RequestBody], object]] = {
    "status": answer_status,
    "incidents": answer_incidents,
    "check": answer_check,
    "close": answer_close,
    "answer": answer_answer,
    "update-status": answer_update_status,
    "update-check": answer_update_check,
    "update-cancel": answer_update_cancel,
    "update-rollback": answer_update_rollback,
}


class RequestsWorker:
    """Implements `loop.Worker`."""

    name = "requests"
    max_step_s = 60.0

    def __init__(
        self, *, link: Asked, desk: Desk, topics: Topics, question_topic: str, deliver: threading.Event, metrics: Metrics
    ) -> None:
        """Hold on to what is given. `question_topic`: where questions to a stronger model leave, empty for nowhere."""
        self._link = link
        self._desk = desk
        self._topics = topics
        self._question_topic = question_topic
        self._deliver = deliver
        self._metrics = metrics
        self._waiting: list[Request] = []
        self._answer: Message | None = None
        self._failed: Request | None = None
        """The request being carried out; met again, its last attempt failed unexpectedly."""
        self._pause = threading.Event()

    def step(self, timeout_s: float) -> bool:
        """Answer one request, so that a stop waits for no more. Raises StorageError; that request is answered again."""
        self._waiting += self._link.requests()
        if not self._waiting:
            self._pause.wait(min(timeout_s, POLL_S))
            return False
        request = self._waiting[0]
        # Kept while the journal refuses it, so that a command is not carried out twice.
        self._answer = self._answer or self.answer(request)
        self._desk.journal.record((), [self._answer], urgency="soon")
        self._deliver.set()
        self._link.ack([request])
        self._metrics.flow.add("requests")
        self._answer = self._failed = None
        del self._waiting[0]
        return True

    def finish(self) -> None:
        """Requests that came last are answered by the next start, if their sender asked at QoS 1."""

    def answer(self, request: Request) -> Message:
        """The answer to one request. Raises nothing for any payload."""
        given = request.response_topic
        topic = given if self._may_answer_on(given) else self._topics.response(request.command)
        transaction, data, error = None, None, ""
        try:
            body = parse_request(request.payload)
            transaction = body.transaction
            if request is self._failed:
                error = "internal-error: the request could not be carried out; the agent's log says why"
            else:
                self._failed = request
                data = COMMANDS.get(request.command, _unknown)(self._desk, body)
        except (RequestError, StorageError) as problem:
            self._metrics.rejections.add("request-refused")
            error = str(problem)
        return response_message(topic, data, transaction, error, request.correlation)

    def _may_answer_on(self, topic: str) -> bool:
        """Whether a sender may have its answer there.

        Not where questions leave, which may be forwarded outside, while an answer holds names and values; nor on topics of
        ours that others take for our documents or requests.
        """
        if not topic or topic == self._question_topic or any(sign in topic for sign in "+#\0"):
            return False
        own = f"{self._topics.base}/"
        return not topic.startswith(own) or topic.startswith(f"{own}response/")


def _unknown(desk: Desk, body: RequestBody) -> object:
    raise RequestError("unknown-command", f"known are {', '.join(sorted(COMMANDS))}")


def short_incident(journal: Summaries, stored: StoredIncident) -> dict[str, object]:
    """An incident in a list: what it is, what was said of it, what an operator said."""
    incident, summary = stored.incident, journal.summary(stored.incident.id)
    return {
        "id": incident.id,
        "asset": incident.asset,
        "state": incident.state,
        "opened": format_time(incident.opened_s),
        "updated": format_time(incident.updated_s),
        "closed": None if incident.closed_s is None else format_time(incident.closed_s),
        "severity": incident.severity,
        "anomaly_count": incident.anomaly_count,
        "stream_count": incident.stream_count,
        "storm": incident.storm,
        "text": None if summary is None else summary.text,
        "route": None if summary is None else summary.route,
        "cause": None if stored.closure is None else stored.closure.cause,
        "note": None if stored.closure is None else stored.closure.note,
    }


def _one_incident(desk: Desk, wanted: object) -> object:
    stored = desk.journal.incident(wanted) if isinstance(wanted, str) else None
    if stored is None:
        raise RequestError("unknown-incident", f"{wanted}: there is no such incident in the journal")
    return full_incident(desk.journal, stored)


def full_incident(journal: Summaries, stored: StoredIncident) -> dict[str, object]:
    """An incident with all that is known of it."""
    summary, escalation = journal.summary(stored.incident.id), journal.escalation(stored.incident.id)
    return {
        "incident": incident_document(stored.incident),
        "summary": None if summary is None else summary_document(summary),
        "escalation": None if escalation is None else escalation_document(escalation),
        "cause": None if stored.closure is None else stored.closure.cause,
        "note": None if stored.closure is None else stored.closure.note,
    }


def _state(body: RequestBody) -> IncidentState | None:
    state = body.members.get("state")
    if state == "open":
        return "open"
    if state == "closed":
        return "closed"
    if state is None:
        return None
    raise RequestError("bad-request", "state: expected open or closed")
