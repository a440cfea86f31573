"""The entries of the audit log: what was decided about an incident, and what became of a question about it.

Rules: pure and deterministic: an entry holds digests, ids and stable words, and nothing that two runs over the same input by
the same release would not share, such as the time of writing. So the chain over the entries is the same, byte for byte. Bytes
are canonical JSON: UTF-8, keys sorted, no spaces. The schemas and test vectors stand in `docs/formats/logs.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

import edge_agent
from edge_agent.errors import InputError
from edge_agent.messages.documents import encode, incident_document
from edge_agent.values import Escalation, EscalationState, Evidence, Incident, Route, Summary, Verdict

DECISION_SCHEMA: Final = "edge-agent-decision/1"
FATE_SCHEMA: Final = "edge-agent-escalation/1"
_DIGITS: Final = 6
"""Decimal places of confidence and similarity: what lies beyond says nothing."""


_CAUSES: Final = {
    "schema": "another kind of entry",
    "agent": "another version of the agent decided",
    "release": "another release spoke",
    "incident": "it is about another incident",
    "revision": "it is about another revision of the incident",
    "input": "detection found something else: another recording, other settings, or another runtime of the classifier",
    "evidence": "another past incident was referred to",
    "route": "the writer decided otherwise: its arithmetic may differ from one family of processors to another",
    "skeleton": "the writer chose other words: its arithmetic may differ from one family of processors to another",
    "confidence": "the writer was surer or less sure: its arithmetic may differ from one family of processors to another",
    "text": "the same words with facts printed otherwise, such as times in another time zone",
}
"""What makes the rest of an entry differ, in that order, and what that means."""


class EvidenceEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The past incident that was referred to. `similarity` is a cosine in [-1, 1]."""

    incident: str
    similarity: float


class DecisionEntry(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="schema", tag="edge-agent-decision/1"
):
    """One summary: of which input, by which release, from which evidence, and the digests of what it says."""

    incident: str
    revision: int
    input: str
    """SHA-256 of the incident's document as published on `incident/<id>`, in hexadecimal digits."""
    agent: str
    """Version of the agent: planning, template and verifier are its code."""
    release: str
    evidence: EvidenceEntry | None
    route: Route
    verdict: Verdict
    reasons: tuple[str, ...]
    confidence: float
    text: str
    """SHA-256 of the published text as UTF-8, in hexadecimal digits."""
    skeleton: str
    """The same of the skeleton."""
    revised: bool
    model: str


class FateEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="schema", tag="edge-agent-escalation/1"):
    """What became of a question to a stronger model. An answer that was published has a `DecisionEntry` instead."""

    incident: str
    revision: int
    id: str
    state: EscalationState
    outcome: str
    reasons: tuple[str, ...]
    attempts: int


AuditEntry: TypeAlias = DecisionEntry | FateEntry


def decision_entry(incident: Incident, summary: Summary) -> bytes:
    """The entry about a summary of this revision of `incident`."""
    return _canonical(
        DecisionEntry(
            incident=incident.id,
            revision=incident.revision,
            input=incident_digest(incident),
            agent=edge_agent.__version__,
            release=summary.release,
            evidence=_evidence(summary.evidence),
            route=summary.route,
            verdict=summary.verdict,
            reasons=summary.reasons,
            confidence=round(summary.confidence, _DIGITS),
            text=text_digest(summary.text),
            skeleton=text_digest(summary.skeleton),
            revised=summary.revised,
            model=summary.model,
        )
    )


def escalation_entry(escalation: Escalation) -> bytes:
    """The entry about an escalation that was refused or dropped, or that stands as it does for another reason."""
    return _canonical(
        FateEntry(
            incident=escalation.incident_id,
            revision=escalation.revision,
            id=escalation.id,
            state=escalation.state,
            outcome=escalation.outcome,
            reasons=escalation.reasons,
            attempts=escalation.attempts,
        )
    )


def read_entry(body: bytes) -> AuditEntry:
    """An entry read back. Raises InputError for what is no entry of a known schema."""
    try:
        entry: AuditEntry = msgspec.json.decode(body, type=AuditEntry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError("bad-entry", f"is no entry of the audit log: {error}") from error
    return entry


def differences(recorded: AuditEntry, now: AuditEntry) -> tuple[str, ...]:
    """How two entries differ, in words: first what the difference means, then its parts; empty where they are equal."""
    one, other = msgspec.to_builtins(recorded), msgspec.to_builtins(now)
    found = [name for name in dict.fromkeys((*_CAUSES, *one, *other)) if one.get(name) != other.get(name)]
    if not found:
        return ()
    parts = (f"{name}: recorded {_shown(one, name)}, now {_shown(other, name)}" for name in found)
    return (_CAUSES.get(found[0], "another decision"), *parts)


def incident_digest(incident: Incident) -> str:
    """SHA-256 of the incident's document as it is published, in hexadecimal digits."""
    return hashlib.sha256(encode(incident_document(incident))).hexdigest()


def text_digest(text: str) -> str:
    """SHA-256 of a text as UTF-8, in hexadecimal digits; half of a surrogate pair counts as its three bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _shown(parts: Mapping[str, object], name: str) -> str:
    return msgspec.json.encode(parts[name]).decode() if name in parts else "nothing"


def _evidence(evidence: Evidence | None) -> EvidenceEntry | None:
    if evidence is None:
        return None
    return EvidenceEntry(incident=evidence.incident_id, similarity=round(evidence.similarity, _DIGITS))


def _canonical(entry: AuditEntry) -> bytes:
    return msgspec.json.encode(entry, order="sorted")
