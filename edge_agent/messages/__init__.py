"""Everything that edge-agent publishes and is asked, in one place: topics, JSON documents, and what they are read back as.

`topics` names them, `times` writes times, `documents` makes the JSON, `outgoing` puts both together with QoS and retain,
`incident_file` reads an incident back, `requests` reads what is asked. The formats stand in `docs/formats/messages.md`.
Beside them: the entries of the log of decisions (`decisions`), logs as files (`log_lines`), what telemetry holds (`telemetry`).

Rules: pure; documents are plain dicts in a fixed order of keys, so that equal values give equal bytes; text that came
from sensors is only ever a JSON string or an escaped topic level.
"""

from __future__ import annotations

from edge_agent.messages.documents import (
    Health,
    anomaly_document,
    drops_document,
    encode,
    escalation_document,
    event_document,
    explanation_document,
    health_document,
    incident_document,
    summary_document,
)
from edge_agent.messages.incident_file import MAX_FILE_ANOMALIES, MAX_FILE_BYTES, parse_incident
from edge_agent.messages.outgoing import (
    anomaly_message,
    drops_message,
    escalation_message,
    health_message,
    incident_messages,
    info_message,
    outcome_message,
    response_message,
    status_message,
    summary_messages,
    update_message,
)
from edge_agent.messages.requests import (
    AnswerRequest,
    CloseRequest,
    RequestBody,
    parse_answer_request,
    parse_close,
    parse_request,
)
from edge_agent.messages.times import format_time, parse_time
from edge_agent.messages.topics import Topics, escape_stream, unescape_stream
from edge_agent.messages.updates import UpdateOutcome, UpdateState, outcome_document, update_document

__all__ = [
    "MAX_FILE_ANOMALIES",
    "MAX_FILE_BYTES",
    "AnswerRequest",
    "CloseRequest",
    "Health",
    "RequestBody",
    "Topics",
    "UpdateOutcome",
    "UpdateState",
    "anomaly_document",
    "anomaly_message",
    "drops_document",
    "drops_message",
    "encode",
    "escalation_document",
    "escalation_message",
    "escape_stream",
    "event_document",
    "explanation_document",
    "format_time",
    "health_document",
    "health_message",
    "incident_document",
    "incident_messages",
    "info_message",
    "outcome_document",
    "outcome_message",
    "parse_answer_request",
    "parse_close",
    "parse_incident",
    "parse_request",
    "parse_time",
    "response_message",
    "status_message",
    "summary_document",
    "summary_messages",
    "unescape_stream",
    "update_document",
    "update_message",
]
