"""A hash-chained log as a file: one entry a line, `{"number", "body", "hash"}`, so that it can be verified without the journal.

Rules: pure. `body` is the entry's exact text, because the hash is over its bytes; a byte that is no UTF-8, which only damage
leaves, is written as the lone surrogate of Python's `surrogateescape` (PEP 383). `hash` is in hexadecimal digits. Where
older entries were removed the first line is the last one that was, without its body: its hash is what the rest follows from.
The format stands in `docs/formats/logs.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from edge_agent.chain import ANCHOR, link
from edge_agent.errors import InputError
from edge_agent.messages import strict_json
from edge_agent.values import LogEntry

MAX_LINE_BYTES: Final = 1 << 20
_HASH_DIGITS: Final = 64


class Chain:
    """A log that is being written: each body becomes the next entry."""

    def __init__(self) -> None:
        self.head = ANCHOR
        self.length = 0

    def append(self, body: bytes) -> LogEntry:
        """The next entry."""
        self.head = link(self.head, body)
        self.length += 1
        return LogEntry(number=self.length, body=body, hash=self.head)


def log_lines(entries: Iterable[LogEntry], anchor: bytes = ANCHOR) -> Iterator[bytes]:
    """The lines of a log whose oldest entry follows from `anchor`."""
    for place, entry in enumerate(entries):
        if place == 0 and anchor != ANCHOR:
            yield _line(entry.number - 1, None, anchor)
        yield _line(entry.number, entry.body.decode("utf-8", "surrogateescape"), entry.hash)


def parse_log(lines: Iterable[bytes], source: str) -> tuple[bytes, list[LogEntry]]:
    """The anchor and the entries of a log's file. Raises InputError, `file:line: problem`, for what is no such file.

    Whether the entries follow from each other is for `chain.first_break` to say.
    """
    anchor, entries = ANCHOR, []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            read = _entry(line.rstrip(b"\n"))
        except ValueError as error:
            raise InputError("bad-log", f"{source}:{number}: {error}") from None
        if read.body is not None:
            entries.append(LogEntry(number=read.number, body=read.body, hash=read.hash))
        elif entries or anchor != ANCHOR:
            raise InputError("bad-log", f"{source}:{number}: has no body; only the first line of a log may be without one")
        else:
            anchor = read.hash
    return anchor, entries


def parse_hash(text: str) -> bytes:
    """A hash from its 64 hexadecimal digits. Raises ValueError."""
    if len(text) != _HASH_DIGITS or not set(text.lower()) <= set("0123456789abcdef"):
        raise ValueError(f"{text[:80]!r} is no hash; expected {_HASH_DIGITS} hexadecimal digits")
    return bytes.fromhex(text)


class _Read:
    def __init__(self, number: int, body: bytes | None, entry_hash: bytes) -> None:
        self.number = number
        self.body = body
        self.hash = entry_hash


def _entry(line: bytes) -> _Read:
    document = strict_json.load(line, MAX_LINE_BYTES)
    if not isinstance(document, dict) or set(document) != {"number", "body", "hash"}:
        raise ValueError('is no entry of a log; expected {"number", "body", "hash"}')
    number, body, digits = document["number"], document["body"], document["hash"]
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError("number: expected a whole number")
    if body is not None and not isinstance(body, str):
        raise ValueError("body: expected text")
    if not isinstance(digits, str):
        raise ValueError("hash: expected text")  # noqa: TRY004 - callers tell all bad lines alike
    try:
        exact = None if body is None else body.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("body: holds half of a surrogate pair") from None
    return _Read(number, exact, parse_hash(digits))


def _line(number: int, body: str | None, entry_hash: bytes) -> bytes:
    document = {"number": number, "body": body, "hash": entry_hash.hex()}
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
