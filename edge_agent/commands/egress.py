"""`edge-agent egress log`: what left the device, from the egress log, as text or in the form of a log's file.

Rules: nothing is changed; an entry that cannot be read is shown as such, never left out.
"""

from __future__ import annotations

import sys

import msgspec
from msgspec import Struct

from edge_agent.chain import ANCHOR
from edge_agent.commands.journal import open_reader
from edge_agent.commands.logs import Log, read_log
from edge_agent.config.settings import Settings
from edge_agent.messages.log_lines import log_lines
from edge_agent.values import LogEntry


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


def show_log(settings: Settings, *, limit: int, as_json: bool) -> int:
    """Print the newest entries of the egress log, in order; as JSON in the form of a log's file. Raises StorageError."""
    with open_reader(settings) as reader:
        log = read_log(reader, "egress") if reader is not None else Log(ANCHOR, [])
    older, newest = log.entries[:-limit], log.entries[-limit:]
    anchor = older[-1].hash if older else log.anchor
    sys.stdout.flush()
    for line in log_lines(newest, anchor) if as_json else map(_line, newest):
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    if not newest and not as_json:
        print("nothing left the device")
    return 0


def read_line(entry: LogEntry) -> LogLine | None:
    """What an entry says; None where it cannot be read."""
    try:
        return msgspec.json.decode(entry.body, type=LogLine)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _line(entry: LogEntry) -> bytes:
    line = read_line(entry)
    if line is None:
        return f"{entry.number}  cannot be read; see `edge-agent egress verify`\n".encode()
    allowed = ", ".join(line.allowed) or "nothing but the form"
    text = (
        f"{entry.number}  {line.time}  {line.kind} {line.id}, attempt {line.attempt}, to {line.destination} ({line.backend})\n"
        f"    {line.bytes:,} bytes, SHA-256 {line.sha256}; allowed: {allowed}"
    )
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text).encode("utf-8", "replace") + b"\n"
