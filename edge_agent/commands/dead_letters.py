"""`edge-agent dead-letters`: the messages that the broker will never take, and why.

Rules: newest first; read-only, beside the agent that writes; times are UTC, as in the published documents. As JSON each is
one line with its whole payload, so that it can be published by hand once the reason is put right.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator

from edge_agent.commands.journal import open_reader
from edge_agent.config.settings import Settings
from edge_agent.journal import DeadLetter
from edge_agent.journal.reader import Reader
from edge_agent.messages import encode, format_time

PAGE = 100


def show_dead_letters(settings: Settings, *, limit: int, as_json: bool) -> int:
    """Print up to `limit` of them. Raises StorageError."""
    shown = 0
    with open_reader(settings) as reader:
        for letter in _newest(reader, limit) if reader is not None else ():
            _print(letter, as_json=as_json)
            shown += 1
    if not shown and not as_json:
        print("no dead letters")
    return 0


def _newest(reader: Reader, limit: int) -> Iterator[DeadLetter]:
    before: int | None = None
    while limit > 0 and (letters := reader.dead_letters(min(PAGE, limit), before)):
        yield from letters
        before, limit = letters[-1].number, limit - len(letters)


def _print(letter: DeadLetter, *, as_json: bool) -> None:
    message = letter.message
    if as_json:
        sys.stdout.flush()
        sys.stdout.buffer.write(encode(_document(letter)) + b"\n")
        sys.stdout.buffer.flush()
    else:
        size = len(message.payload)
        print(f"{format_time(letter.buried_s)}  {letter.reason}  {message.topic}  {size} byte{'' if size == 1 else 's'}")


def _document(letter: DeadLetter) -> dict[str, object]:
    message = letter.message
    document: dict[str, object] = {
        "number": letter.number,
        "topic": message.topic,
        "reason": letter.reason,
        "queued": format_time(letter.queued_s),
        "buried": format_time(letter.buried_s),
        "qos": message.qos,
        "retain": message.retain,
    }
    try:
        return {**document, "payload": message.payload.decode("utf-8")}
    except UnicodeDecodeError:
        return {**document, "payload_base64": base64.b64encode(message.payload).decode("ascii")}
