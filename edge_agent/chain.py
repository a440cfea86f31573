"""Hash-chained logs: each entry's hash covers its content and the hash before it, so that nothing in the middle can change.

Rules: pure. A chain proves that what is there is whole and in order from its anchor on; it cannot prove that its end was not
cut off, for which the newest hash has to be known from elsewhere. The format stands in `docs/formats/logs.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from edge_agent.values import LogEntry

ANCHOR = bytes(32)
"""What stands before the first entry ever."""


def link(previous: bytes, body: bytes) -> bytes:
    """SHA-256 over the hash of the entry before (32 bytes) and the entry's body."""
    return hashlib.sha256(previous + body).digest()


def first_break(entries: Iterable[LogEntry], anchor: bytes = ANCHOR) -> int | None:
    """The number of the first entry that does not follow from the ones before it; None where all do.

    `anchor` is the hash of the entry before the first one: `ANCHOR`, or that of the last entry that was removed for its age.
    """
    previous = anchor
    number: int | None = None
    for entry in entries:
        if (number is not None and entry.number <= number) or link(previous, entry.body) != entry.hash:
            return entry.number
        previous, number = entry.hash, entry.number
    return None
