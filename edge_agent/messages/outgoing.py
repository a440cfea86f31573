"""Values to MQTT messages: topic, document, QoS, retain, and what may be given up for what.

Rules: everything is QoS 1. Retained messages are few and are cleared when their subject is over, so that a broker does
not fill up with closed incidents. A message that only tells the newest state may be superseded while it waits; an
anomaly, a closed incident and a response may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from edge_agent.messages.documents import (
    Health,
    anomaly_document,
    drops_document,
    encode,
    escalation_document,
    health_document,
    incident_document,
    summary_document,
)
from edge_agent.messages.topics import Topics
from edge_agent.messages.updates import UpdateOutcome, UpdateState, outcome_document, update_document
from edge_agent.values import Anomaly, Drop, Escalation, Incident, Message, Summary

Status: TypeAlias = Literal["online", "stopped", "offline"]

_ROUTINE, _USUAL, _MUST_SEE, _REPORT = 0, 1, 2, 3


def status_message(topics: Topics, status: Status) -> Message:
    """`online` at every connect, `stopped` at a clean end; `offline` is the Will."""
    return Message(topic=topics.status, payload=status.encode("ascii"), retain=True, supersedes=True, priority=_USUAL)


def health_message(topics: Topics, health: Health) -> Message:
    """The agent's health, retained."""
    return _newest(topics.health, encode(health_document(health)), _ROUTINE)


def info_message(topics: Topics, config: object, schema: object) -> Message:
    """The effective configuration, already without secrets, and its JSON Schema, retained."""
    return _newest(topics.info, encode({"config": config, "schema": schema}), _ROUTINE)


def update_message(topics: Topics, update: UpdateState) -> Message:
    """The state of the update machine, retained."""
    return _newest(topics.update, encode(update_document(update)), _USUAL)


def outcome_message(topics: Topics, outcome: UpdateOutcome) -> Message:
    """How an update ended; kept until it is delivered."""
    document = outcome_document(topics.gateway, outcome)
    return Message(topic=topics.update_outcome, payload=encode(document), priority=_REPORT)


def anomaly_message(topics: Topics, anomaly: Anomaly) -> Message:
    """An anomaly, or what changed of it, at once."""
    return Message(topic=topics.anomaly(anomaly.stream), payload=encode(anomaly_document(anomaly)), priority=_USUAL)


def incident_messages(topics: Topics, incident: Incident) -> tuple[Message, ...]:
    """An open incident, retained; or a closed one, followed by the empty message that clears what was retained."""
    topic = topics.incident(incident.id)
    payload = encode(incident_document(incident))
    if incident.state == "open":
        return (_newest(topic, payload, _MUST_SEE),)
    return (
        Message(topic=topic, payload=payload, priority=_MUST_SEE),
        Message(topic=topic, payload=b"", retain=True, priority=_MUST_SEE),
    )


def summary_messages(topics: Topics, summary: Summary, *, is_latest: bool = True) -> tuple[Message, ...]:
    """A summary as the gateway's latest, retained, and on its incident's own topic, not retained.

    A late answer about an earlier incident is not the latest: it goes to its incident's topic alone.
    """
    payload = encode(summary_document(summary))
    own = Message(topic=topics.summary_of(summary.incident_id), payload=payload, supersedes=True, priority=_MUST_SEE)
    return (_newest(topics.summary, payload, _MUST_SEE), own) if is_latest else (own,)


def escalation_message(topics: Topics, escalation: Escalation) -> Message:
    """How an escalation stands; one that waits to be published gives way to the next."""
    payload = encode(escalation_document(escalation))
    return Message(topic=topics.escalation(escalation.incident_id), payload=payload, supersedes=True, priority=_USUAL)


def drops_message(topics: Topics, drops: Sequence[Drop]) -> Message:
    """The report of everything that was given up, retained; the newest of them is never given up itself."""
    return _newest(topics.drops, encode(drops_document(drops)), _REPORT)


def response_message(
    topic: str, data: object, transaction: str | None = None, error: str = "", correlation: bytes = b""
) -> Message:
    """The answer to a request, on `Topics.response(command)` or the request's own response topic.

    `{status, error?, data, transaction}`: with an `error` the status is `error`, else `ok`.
    """
    document: dict[str, object] = {"status": "error", "error": error} if error else {"status": "ok"}
    document |= {"data": data, "transaction": transaction}
    return Message(topic=topic, payload=encode(document), response_correlation=correlation, priority=_USUAL)


def _newest(topic: str, payload: bytes, priority: int) -> Message:
    return Message(topic=topic, payload=payload, retain=True, supersedes=True, priority=priority)
