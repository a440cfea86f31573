"""`edge-agent egress preview`: what would leave for an incident, to the byte.

Rules: nothing is sent and nothing is changed. Standard output is the body and nothing else, not even a line end; what a person
wants to know about it stands on standard error, where the names behind pseudonyms are shown: they leave neither way. The body
comes from the same functions with which the escalate worker makes it. Where the log says that the question left in another
of the forms that servers take, that one is shown.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.clock import SystemClock
from edge_agent.commands.egress import LogLine, read_line
from edge_agent.commands.incident_source import incident_in
from edge_agent.commands.journal import open_reader
from edge_agent.commands.logs import entries
from edge_agent.config.settings import Settings
from edge_agent.egress.pseudonyms import MIN_KEY_BYTES, Pseudonyms
from edge_agent.egress.question import Question, document, question_of
from edge_agent.errors import RequestError
from edge_agent.escalate.contract import Request
from edge_agent.escalate.key import KEY_NAME, existing_egress_key
from edge_agent.escalate.table import Needs, bodies, destination, envelope
from edge_agent.facts import print_name
from edge_agent.journal.reader import Reader
from edge_agent.pipeline import plan_of
from edge_agent.values import Evidence, Incident, Message

PAGE = 64
MAX_LOOKED_AT = 2_048
"""Newest incidents looked through for one that was to be asked about."""


class Chosen(Struct, frozen=True):
    """The incident that is shown, its past incident, and how it was chosen, in words."""

    incident: Incident
    evidence: Evidence | None
    how: str


def preview(
    settings: Settings,
    *,
    incident_id: str | None = None,
    file: str | None = None,
    backend: Literal["openai", "mqtt", "spool"] | None = None,
) -> int:
    """Write the bytes that would leave for an incident to standard output, and all about them to standard error.

    Without `incident_id` and `file` it is the newest incident that was to be asked about. Raises RequestError,
    IncidentFormatError, StorageError, ConfigError, EgressError.
    """
    if backend is not None:
        settings = replace(settings, escalation=replace(settings.escalation, backend=backend))
    key = existing_egress_key(settings.state_dir)
    names = Pseudonyms(key if key is not None else bytes(MIN_KEY_BYTES))
    with open_reader(settings) as reader:
        chosen = Chosen(incident_in(file), None, "from a file") if file is not None else _from_journal(reader, incident_id)
        question = _question(settings, chosen, names)
        left = _left(reader, question.id) if reader is not None else None
    bodies = _bodies(settings, question)
    body = _that_left(bodies, left or [])
    _tell(_about(settings, chosen, question, body))
    if body != bodies[0]:
        _tell(["note         the server had refused a part of the request around the question; this is how it left"])
    elif len(bodies) > 1:
        _tell(["note         a server that refuses a part of the request around the question is asked again without that part"])
    if key is None:
        path = Path(settings.state_dir) / KEY_NAME
        _tell([f"note         there is no {path} yet: with it the pseudonyms, and so the id, are others"])
    _tell(f"stands for   {pseudonym} = {name}" for name, pseudonym in _pseudonyms(chosen.incident, names, body))
    if left is not None:
        _tell([f"log          {_logged(left, body)}"])
    sys.stdout.flush()
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()
    return 0


def _from_journal(reader: Reader | None, incident_id: str | None) -> Chosen:
    if reader is None:
        raise RequestError("no-journal", "there is no journal yet; name an incident's file with --file")
    if incident_id is not None:
        stored = reader.incident(incident_id)
        if stored is None:
            raise RequestError("unknown-incident", f"{incident_id}: there is no such incident in the journal")
        return _chosen(reader, stored.incident, "")
    newest: Incident | None = None
    before: int | None = None
    for _ in range(MAX_LOOKED_AT // PAGE):
        page = reader.incidents(PAGE, None, before)
        for stored in page:
            newest = newest or stored.incident
            summary = reader.summary(stored.incident.id)
            if reader.escalation(stored.incident.id) is not None or (summary is not None and summary.verdict == "escalate"):
                return _chosen(reader, stored.incident, "the newest that was to be asked about")
        if len(page) < PAGE:
            break
        before = page[-1].number
    if newest is None:
        raise RequestError("no-incident", "there is no incident in the journal yet; name an incident's file with --file")
    return _chosen(reader, newest, "the newest; none was to be asked about")


def _chosen(reader: Reader, incident: Incident, how: str) -> Chosen:
    summary = reader.summary(incident.id)
    asked = reader.escalation(incident.id)
    if asked is not None and asked.revision != incident.revision:
        how = f"{how}; " if how else ""
        how += f"asked about was revision {asked.revision}, as {asked.id}"
    return Chosen(incident, summary.evidence if summary is not None else None, how)


def _question(settings: Settings, chosen: Chosen, names: Pseudonyms) -> Question:
    question = question_of(
        plan_of(chosen.incident, chosen.evidence, ZoneInfo(settings.writer.timezone)),
        id=names.request_id(chosen.incident.id, chosen.incident.revision),
        severity=chosen.incident.severity,
        allow=settings.escalation.allow,
        pseudonyms=names,
    )
    if not question.chunks:
        raise RequestError("nothing-to-phrase", f"{chosen.incident.id}: nothing is asked about an incident without anomalies")
    return question


def _bodies(settings: Settings, question: Question) -> Sequence[bytes]:
    """The body that would leave, and behind it the other forms that servers may make necessary."""
    return [document(question)] if settings.escalation.backend == "none" else bodies(_needs(settings), question)


def _left(reader: Reader, id: str) -> list[LogLine]:
    """What the log says of this question."""
    return [line for line in map(read_line, entries(reader, "egress")) if line is not None and line.id == id]


def _that_left(forms: Sequence[bytes], left: list[LogLine]) -> bytes:
    """The form that left last; the first one if none did."""
    by_hash = {hashlib.sha256(body).hexdigest(): body for body in forms}
    return next((by_hash[line.sha256] for line in reversed(left) if line.sha256 in by_hash), forms[0])


def _needs(settings: Settings) -> Needs:
    def queue(message: Message) -> None:
        raise AssertionError("a preview sends nothing")

    return Needs(settings=settings, queue=queue, clock=SystemClock())


def _about(settings: Settings, chosen: Chosen, question: Question, body: bytes) -> list[str]:
    escalation = settings.escalation
    incident = f"{chosen.incident.id}, revision {chosen.incident.revision}{f' ({chosen.how})' if chosen.how else ''}"
    lines = [f"incident     {incident}", f"id           {question.id}"]
    if escalation.backend == "none":
        lines += ["goes to      nobody: `escalation.backend` is none; this is the document that any backend would carry"]
    else:
        lines += [f"goes to      {destination(settings)} ({escalation.backend})"]
        head = envelope(_needs(settings), Request(id=question.id, body=body))
        lines += [f"with         {line}" for line in head.splitlines()]
    return [
        *lines,
        f"allowed      {', '.join(escalation.allow) or 'nothing but the form'}",
        f"body         {len(body):,} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}",
    ]


def _pseudonyms(incident: Incident, names: Pseudonyms, body: bytes) -> list[tuple[str, str]]:
    """The names whose pseudonyms stand in the body, and these."""
    printed = sorted({print_name(anomaly.stream) for anomaly in incident.anomalies})
    return [(name, names.stream(name)) for name in printed if names.stream(name).encode() in body]


def _logged(left: list[LogLine], body: bytes) -> str:
    """Whether this question left, and with these bytes."""
    digest = hashlib.sha256(body).hexdigest()
    same = [line for line in left if line.sha256 == digest]
    if same:
        return f"these very bytes left {len(same)} time{'' if len(same) == 1 else 's'}, last at {same[-1].time}"
    return f"this question left with other bytes, last at {left[-1].time}" if left else "this question has not left"


def _tell(lines: Iterable[str]) -> None:
    """Lines for a person; what could move a terminal's cursor is not printed."""
    for line in lines:
        print("".join(c if c.isprintable() else "?" for c in line), file=sys.stderr)
