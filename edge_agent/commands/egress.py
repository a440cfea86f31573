"""`edge-agent egress preview | log | verify`: what would leave, to the byte, and what did.

Rules: nothing is sent and nothing is changed. Standard output of `preview` is the body and nothing else, not even a line end;
what a person wants to know about it stands on standard error, where the names behind pseudonyms are shown: they leave neither
way. The body comes from the same functions with which the escalate worker makes it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.clock import SystemClock
from edge_agent.commands.incident_source import incident_in
from edge_agent.commands.journal import open_reader
from edge_agent.commands.logs import anchor_of, entries
from edge_agent.config.settings import Settings
from edge_agent.egress.pseudonyms import MIN_KEY_BYTES, Pseudonyms
from edge_agent.egress.question import Question, document, question_of
from edge_agent.errors import RequestError
from edge_agent.escalate.contract import Request
from edge_agent.escalate.key import KEY_NAME, existing_egress_key
from edge_agent.escalate.table import Needs, destination, envelope, open_backend
from edge_agent.facts import print_name
from edge_agent.journal.reader import Reader
from edge_agent.messages.log_lines import log_lines
from edge_agent.pipeline import plan_of
from edge_agent.values import Evidence, Incident, LogEntry, Message

PAGE = 64
MAX_LOOKED_AT = 2_048
"""Newest incidents looked through for one that was to be asked about."""


class Chosen(Struct, frozen=True):
    """The incident that is shown, its past incident, and how it was chosen, in words."""

    incident: Incident
    evidence: Evidence | None
    how: str


class LogLine(Struct, frozen=True):
    """What an entry of the egress log says; see docs/formats/egress.md."""

    kind: str
    id: str
    backend: str
    destination: str
    bytes: int
    sha256: str
    attempt: int
    allowed: tuple[str, ...]
    time: str


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
        body = _body(settings, question)
        _tell(_about(settings, chosen, question, body))
        if key is None:
            path = Path(settings.state_dir) / KEY_NAME
            _tell([f"note         there is no {path} yet: with it the pseudonyms, and so the id, are others"])
        _tell(f"stands for   {pseudonym} = {name}" for name, pseudonym in _pseudonyms(chosen.incident, names, body))
        if reader is not None:
            _tell([f"log          {_logged(reader, question.id, body)}"])
    sys.stdout.flush()
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()
    return 0


def show_log(settings: Settings, *, limit: int, as_json: bool) -> int:
    """Print the newest entries of the egress log, in order; as JSON in the form of a log's file. Raises StorageError."""
    shown = 0
    with open_reader(settings) as reader:
        newest = reader.log_head("egress") if reader is not None else None
        if reader is not None and newest is not None:
            after = max(0, newest.number - limit)
            found = entries(reader, "egress", after)
            lines = log_lines(found, anchor_of(reader, "egress", after)) if as_json else (_line(entry) for entry in found)
            for line in lines:
                shown += 1
                sys.stdout.flush()
                sys.stdout.buffer.write(line)
    if not shown and not as_json:
        print("nothing left the device")
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


def _body(settings: Settings, question: Question) -> bytes:
    if settings.escalation.backend == "none":
        return document(question)
    return open_backend(_needs(settings)).encode(question)[0]


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
        if escalation.backend == "openai" and escalation.openai.answer_format == "auto":
            lines += [
                "note         a server that refuses a part of the request around the question is asked again without that part"
            ]
    return [
        *lines,
        f"allowed      {', '.join(escalation.allow) or 'nothing but the form'}",
        f"body         {len(body):,} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}",
    ]


def _pseudonyms(incident: Incident, names: Pseudonyms, body: bytes) -> list[tuple[str, str]]:
    """The names whose pseudonyms stand in the body, and these."""
    printed = sorted({print_name(anomaly.stream) for anomaly in incident.anomalies})
    return [(name, names.stream(name)) for name in printed if names.stream(name).encode() in body]


def _logged(reader: Reader, id: str, body: bytes) -> str:
    """Whether this question left, and with these bytes."""
    digest = hashlib.sha256(body).hexdigest()
    lines = [line for line in map(_read, entries(reader, "egress")) if line is not None and line.id == id]
    same = [line for line in lines if line.sha256 == digest]
    if same:
        return f"these very bytes left {len(same)} time{'' if len(same) == 1 else 's'}, last at {same[-1].time}"
    return f"this question left with other bytes, last at {lines[-1].time}" if lines else "this question has not left"


def _read(entry: LogEntry) -> LogLine | None:
    try:
        return msgspec.json.decode(entry.body, type=LogLine)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _line(entry: LogEntry) -> bytes:
    line = _read(entry)
    if line is None:
        return f"{entry.number}  cannot be read; see `edge-agent egress verify`\n".encode()
    allowed = ", ".join(line.allowed) or "nothing but the form"
    text = (
        f"{entry.number}  {line.time}  {line.kind} {line.id}, attempt {line.attempt}, to {line.destination} ({line.backend})\n"
        f"    {line.bytes:,} bytes, SHA-256 {line.sha256}; allowed: {allowed}"
    )
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text).encode("utf-8", "replace") + b"\n"


def _tell(lines: Iterable[str]) -> None:
    """Lines for a person; what could move a terminal's cursor is not printed."""
    for line in lines:
        print("".join(c if c.isprintable() else "?" for c in line), file=sys.stderr)
