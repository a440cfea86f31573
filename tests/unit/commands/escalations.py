"""Escalations in a real journal, for the tests of commands."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from edge_agent.journal import Journal
from edge_agent.pipeline import TEMPLATE_ONLY, explain
from edge_agent.values import Escalation, Incident
from tests.writing import ONSET_S


def escalation(**fields: Any) -> Escalation:
    """The escalation of the first revision of `pump-3-1`, as it is sent."""
    values: dict[str, Any] = {
        "incident_id": "pump-3-1",
        "revision": 1,
        "id": "q-0123456789abcdef01234567",
        "state": "sent",
        "reasons": ("low-confidence",),
        "severity": 0.9,
        "queued_s": ONSET_S,
        "changed_s": ONSET_S,
    }
    return Escalation(**{**values, **fields})


def store(journal: Journal, found: Incident, asked: Escalation | None = None, *, uncertain: bool = True) -> None:
    """Store an incident with its summary, and its escalation if there is one."""
    journal.record([found], [])
    summary = explain(found, None, None, TEMPLATE_ONLY, ONSET_S)
    journal.record_summary(replace(summary, verdict="escalate" if uncertain else "local"), [], escalation=asked)
