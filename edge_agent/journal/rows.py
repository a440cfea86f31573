"""Values as rows and back: JSON bodies with a form number and a CRC-32, messages as columns with a CRC-32.

Rules: pure; SQLite has no checksums of its own, so a flipped bit in a body would otherwise be published as a fact, and one
in a key would give an incident the sentence of another: the checksum covers both. A row that fails it or cannot be
interpreted is answered with `Unusable`, never with an exception.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from edge_agent.journal.records import DeadLetter, DropReason
from edge_agent.values import Closure, Escalation, EscalationState, Incident, IncidentState, Message, PastIncident, Summary

FORM: Final = 1
"""Version of the JSON bodies: a struct of `edge_agent.values` by field name, bytes as base64."""

STATES: Final[dict[IncidentState, int]] = {"open": 0, "closed": 1}
FATES: Final[dict[EscalationState, int]] = {"queued": 0, "sent": 1, "answered": 2, "refused": 3, "dropped": 4}
"""The index of pending escalations is of those below `FINAL`."""
FINAL: Final = 2

_RETAIN, _SUPERSEDES = 4, 8
_T = TypeVar("_T")

Sealed: TypeAlias = tuple[int, int, bytes]
"""Form, CRC-32 of the body, body."""
MessageRow: TypeAlias = tuple[int, int, int, str, bytes, bytes]
"""Priority, flags, CRC-32, topic, correlation, payload: columns of `outbox` in this order."""


def read_text(raw: bytes) -> str:
    """A connection's `text_factory`: text that damage made invalid becomes a wrong text, which fails its checksum."""
    return raw.decode("utf-8", "surrogateescape")


class Unusable(Struct, frozen=True):
    """A row that must not be used, and why."""

    reason: DropReason


class IncidentRow(Struct, frozen=True):
    """An incident encoded in the caller's thread, so that the writer thread only writes."""

    id: str
    state: int
    revision: int
    sealed: Sealed


class SummaryRow(Struct, frozen=True):
    """A summary, its body checked together with the revision and the incident that its row says it is of."""

    incident_id: str
    revision: int
    sealed: Sealed


class EscalationRow(Struct, frozen=True):
    """An escalation, its body checked together with the columns by which it is found and the incident that it is of."""

    incident_id: str
    request: str
    revision: int
    state: int
    severity: float
    sealed: Sealed


class MeterRow(Struct, frozen=True):
    """A small named state; the checksum covers its name and its body."""

    name: str
    crc: int
    body: bytes


def summary_row(summary: Summary) -> SummaryRow:
    """The columns of a summary."""
    sealed = _seal(summary, summary.revision, summary.incident_id)
    return SummaryRow(summary.incident_id, summary.revision, sealed)


def escalation_row(escalation: Escalation) -> EscalationRow:
    """The columns of an escalation."""
    columns = (escalation.id, escalation.revision, FATES[escalation.state], float(escalation.severity))
    return EscalationRow(escalation.incident_id, *columns, _seal(escalation, *columns, escalation.incident_id))


def meter_row(name: str, body: bytes) -> MeterRow:
    """The columns of a meter."""
    return MeterRow(name, _body_crc((name,), body), body)


def open_meter(crc: object, body: object, name: object) -> bytes | Unusable:
    """The body of a meter's row."""
    return body if isinstance(body, bytes) and _body_crc((name,), body) == crc else Unusable("damaged-row")


def seal_closure(closure: Closure) -> Sealed:
    """A closure's body, checked together with the incident that its row says it is of."""
    return _seal(closure, closure.incident_id)


def _seal(value: Incident | Summary | Closure | Escalation, *columns: object) -> Sealed:
    body = msgspec.json.encode(value)
    return FORM, _body_crc(columns, body), body


def _body_crc(columns: Sequence[object], body: bytes) -> int:
    """CRC-32 over the columns that say what the body is of, as text each ended by a zero byte, then over the body."""
    return zlib.crc32(body, zlib.crc32("".join(f"{column}\0" for column in columns).encode("utf-8", "surrogateescape")))


class Opener(Generic[_T]):
    """Reads the bodies of one type."""

    def __init__(self, kind: type[_T]) -> None:
        self._decoder = msgspec.json.Decoder(kind)

    def __call__(self, form: object, crc: object, body: object, *columns: object) -> _T | Unusable:
        """The value of a sealed body and the columns sealed with it, which may be of any type, since damage changes them."""
        if not isinstance(body, bytes) or _body_crc(columns, body) != crc:
            return Unusable("damaged-row")
        if form != FORM:
            return Unusable("unreadable-row")
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Unusable("unreadable-row")


open_incident: Final = Opener(Incident)
"""Of form, crc, body, state, revision, id."""
open_summary: Final = Opener(Summary)
"""Of form, crc, body, revision, id of the incident."""
open_closure: Final = Opener(Closure)
"""Of form, crc, body, id of the incident."""
open_escalation: Final = Opener(Escalation)
"""Of form, crc, body, request, revision, state, severity, id of the incident."""


def incident_row(incident: Incident) -> IncidentRow:
    """The columns of an incident."""
    state = STATES[incident.state]
    return IncidentRow(incident.id, state, incident.revision, _seal(incident, state, incident.revision, incident.id))


def message_row(message: Message) -> MessageRow:
    """The columns of a message."""
    flags = message.qos | (message.retain * _RETAIN) | (message.supersedes * _SUPERSEDES)
    crc = _message_crc(message.priority, flags, message.topic.encode(), message.response_correlation, message.payload)
    return message.priority, flags, crc, message.topic, message.response_correlation, message.payload


def open_message(
    priority: object, flags: object, crc: object, topic: object, correlation: object, payload: object
) -> Message | Unusable:
    """The message of a row; columns of any type are taken, since damage may change them."""
    return _open_message(priority, flags, crc, topic, correlation, payload, b"")


def dead_letter_crc(message: MessageRow, reason: str, queued_s: float, buried_s: float) -> int:
    """The checksum of a dead letter: over its message's columns, the two times and the reason."""
    priority, flags, _, topic, correlation, payload = message
    return _message_crc(priority, flags, topic.encode(), correlation, payload, _burial(reason, queued_s, buried_s))


def open_dead_letter(number: int, reason: object, queued_s: object, buried_s: object, *message: object) -> DeadLetter | Unusable:
    """The dead letter of a row: its number, its reason and times, then the columns of its message."""
    if not (isinstance(reason, str) and isinstance(queued_s, float) and isinstance(buried_s, float)):
        return Unusable("damaged-row")
    priority, flags, crc, topic, correlation, payload = message
    opened = _open_message(priority, flags, crc, topic, correlation, payload, _burial(reason, queued_s, buried_s))
    if isinstance(opened, Unusable):
        return opened
    return DeadLetter(number=number, message=opened, reason=reason, queued_s=queued_s, buried_s=buried_s)


def _burial(reason: str, queued_s: float, buried_s: float) -> bytes:
    return struct.pack("<dd", queued_s, buried_s) + reason.encode(errors="surrogateescape")


def _open_message(
    priority: object, flags: object, crc: object, topic: object, correlation: object, payload: object, tail: bytes
) -> Message | Unusable:
    if not (isinstance(priority, int) and isinstance(flags, int) and isinstance(topic, str)):
        return Unusable("damaged-row")
    if not (isinstance(correlation, bytes) and isinstance(payload, bytes)):
        return Unusable("damaged-row")
    encoded = topic.encode(errors="surrogateescape")
    if not (-(1 << 63) <= priority < 1 << 63 and 0 <= flags < 16):
        return Unusable("damaged-row")
    if crc != _message_crc(priority, flags, encoded, correlation, payload, tail):
        return Unusable("damaged-row")
    return Message(
        topic=topic,
        payload=payload,
        qos=flags & 3,
        retain=bool(flags & _RETAIN),
        supersedes=bool(flags & _SUPERSEDES),
        response_correlation=correlation,
        priority=priority,
    )


def supersedes(flags: int) -> bool:
    """True if the flags are of a message that a newer one on its topic replaces."""
    return bool(flags & _SUPERSEDES)


def message_bytes(row: MessageRow) -> int:
    """Bytes of topic, correlation data and payload."""
    return len(row[3].encode()) + len(row[4]) + len(row[5])


def past_incident(number: int, incident: Incident, closure: Closure) -> PastIncident | None:
    """The incident for the memory: with the signature of its most severe anomaly that has one, or None."""
    signed = [a for a in incident.anomalies if a.signature]
    if incident.state != "closed" or not closure.cause or not signed:
        return None
    worst = max(signed, key=lambda a: a.score)
    return PastIncident(
        number=number,
        incident_id=incident.id,
        asset=incident.asset,
        opened_s=incident.opened_s,
        cause=closure.cause,
        signature=worst.signature,
        signed_by=worst.signed_by,
    )


def _message_crc(priority: int, flags: int, topic: bytes, correlation: bytes, payload: bytes, tail: bytes = b"") -> int:
    """CRC-32 over all columns; the lengths come first so that bytes cannot move from one column to the next unnoticed."""
    head = struct.pack("<qiII", priority, flags, len(topic), len(correlation))
    return zlib.crc32(tail, zlib.crc32(payload, zlib.crc32(correlation, zlib.crc32(topic, zlib.crc32(head)))))
