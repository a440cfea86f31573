"""The JSON documents that are published or written to files, made from values.

Rules: plain dicts in a fixed order of keys; times go through `times.format_time`; what is unknown is `null`, never left
out and never NaN. A document never carries a secret: settings are shown by the configuration's own printer.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from edge_agent.messages.times import format_time
from edge_agent.values import Anomaly, Drop, Escalation, Evidence, Incident, Summary

Document: TypeAlias = dict[str, object]
TimeFormat: TypeAlias = Callable[[float], str | float]
HealthStatus: TypeAlias = Literal["ok", "degraded"]


def _no_counts() -> dict[str, int]:
    return {}


def _no_heads() -> dict[str, str]:
    return {}


class Health(Struct, frozen=True, kw_only=True):
    """How the agent is. `degraded` as soon as `problems` has an entry, which says in words what a person should know."""

    version: str
    release: str
    boot_id: str
    started_s: float
    time_s: float
    clock_synced: bool | None = None
    """Whether the system's clock is synchronised; None where the system does not say."""
    streams: int = 0
    open_incidents: int = 0
    queues: Mapping[str, int] = msgspec.field(default_factory=_no_counts)
    """How many wait, by queue: arrivals, incidents to explain, outbox."""
    drops: Mapping[str, int] = msgspec.field(default_factory=_no_counts)
    """What was set aside or dropped since the start, by reason."""
    counts: Mapping[str, int] = msgspec.field(default_factory=_no_counts)
    """What was done since the start: readings, anomalies, incidents, summaries."""
    heads: Mapping[str, str] = msgspec.field(default_factory=_no_heads)
    """The newest hash of each hash-chained log that has an entry, in hexadecimal digits: whoever keeps health documents can tell
    later whether the end of a log was cut off, or all of it written anew."""
    problems: tuple[str, ...] = ()
    certificate: str = ""
    """Why the release's certificate does not hold on this machine, in words; empty where it does. No problem: see ADR 6."""


def encode(document: object) -> bytes:
    """A document as UTF-8 JSON without spaces. The same document gives the same bytes."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        # A name with half of a surrogate pair: no UTF-8, but JSON can escape it. Publishing does not fail for it.
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")


def event_document(anomaly: Anomaly, time_format: TimeFormat = format_time) -> Document:
    """One anomaly as a line of `replay --events`; `time_format` writes its times, as the input writes them."""
    return {
        "stream": anomaly.stream,
        "kind": anomaly.kind,
        "direction": anomaly.direction,
        "onset": time_format(anomaly.onset_s),
        "peak": time_format(anomaly.peak_s),
        "end": None if anomaly.end_s is None else time_format(anomaly.end_s),
        "score": anomaly.score,
        "observed": anomaly.observed,
        "baseline": anomaly.baseline,
        "unit": anomaly.unit,
    }


def anomaly_document(anomaly: Anomaly) -> Document:
    """One anomaly as on `anomaly/<stream>` and in an incident: the event, with what the classifier and the memory know."""
    return {
        **event_document(anomaly),
        "ending": "ongoing" if anomaly.end_s is None else anomaly.ending,
        "magnitude": anomaly.magnitude,
        "kind_confidence": anomaly.kind_confidence,
        "signature": b64encode(anomaly.signature).decode("ascii"),
    }


def incident_document(incident: Incident) -> Document:
    """An incident as on `incident/<id>`, in `replay --incidents` and for `explain FILE`."""
    return {
        "id": incident.id,
        "asset": incident.asset,
        "state": incident.state,
        "revision": incident.revision,
        "opened": format_time(incident.opened_s),
        "updated": format_time(incident.updated_s),
        "closed": None if incident.closed_s is None else format_time(incident.closed_s),
        "severity": incident.severity,
        "storm": incident.storm,
        "anomaly_count": incident.anomaly_count,
        "stream_count": incident.stream_count,
        "anomalies": [anomaly_document(anomaly) for anomaly in incident.anomalies],
    }


def evidence_document(evidence: Evidence) -> Document:
    """The past incident that a summary refers to."""
    return {
        "incident": evidence.incident_id,
        "asset": evidence.asset,
        "opened": format_time(evidence.opened_s),
        "cause": evidence.cause,
        "similarity": evidence.similarity,
    }


def summary_document(summary: Summary) -> Document:
    """A summary as on `summary` and `summary/<incident-id>`."""
    return {
        "incident": summary.incident_id,
        "revision": summary.revision,
        "asset": summary.asset,
        "state": summary.state,
        **explanation_document(summary),
        "evidence": None if summary.evidence is None else evidence_document(summary.evidence),
        "revised": summary.revised,
        "model": summary.model,
        "written": format_time(summary.written_s),
    }


def escalation_document(escalation: Escalation) -> Document:
    """The fate of an escalation as on `escalation/<incident-id>`."""
    return {
        "incident": escalation.incident_id,
        "revision": escalation.revision,
        "id": escalation.id,
        "state": escalation.state,
        "outcome": escalation.outcome,
        "reasons": list(escalation.reasons),
        "severity": escalation.severity,
        "attempts": escalation.attempts,
        "queued": format_time(escalation.queued_s),
        "changed": format_time(escalation.changed_s),
    }


def drops_document(drops: Sequence[Drop]) -> Document:
    """What was given up since the journal was made, as on `drops`."""
    return {
        "drops": [
            {
                "reason": drop.reason,
                "count": drop.count,
                "bytes": drop.bytes,
                "first": format_time(drop.first_s),
                "last": format_time(drop.last_s),
            }
            for drop in drops
        ]
    }


def explanation_document(summary: Summary) -> Document:
    """A summary as `explain FILE` prints it: nothing in it depends on when it was written.

    `outcome` says what became of it: `local`, it stands as published; `escalate`, a stronger model is to be asked.
    `route` says who wrote the text: the writer, the template, or sentences of both.
    """
    return {
        "text": summary.text,
        "skeleton": summary.skeleton,
        "facts": [{"token": slot.token, "role": slot.role, "text": slot.text} for slot in summary.slots],
        "confidence": summary.confidence,
        "outcome": summary.verdict,
        "route": summary.route,
        "reasons": list(summary.reasons),
        "release": summary.release,
    }


def health_document(health: Health) -> Document:
    """The health of the agent as on `health`."""
    status: HealthStatus = "degraded" if health.problems else "ok"
    return {
        "status": status,
        "problems": list(health.problems),
        "version": health.version,
        "release": health.release,
        "certificate": health.certificate,
        "boot_id": health.boot_id,
        "started": format_time(health.started_s),
        "time": format_time(health.time_s),
        "clock_synced": health.clock_synced,
        "streams": health.streams,
        "open_incidents": health.open_incidents,
        "queues": dict(sorted(health.queues.items())),
        "drops": dict(sorted(health.drops.items())),
        "counts": dict(sorted(health.counts.items())),
        "heads": dict(sorted(health.heads.items())),
    }
