"""The two hash-chained logs of the journal, as commands read them and report whether they are whole.

Rules: an entry is shown as it stands, also one that was damaged; whether the log is whole is decided by `edge_agent.chain`
alone. What breaks a chain is told by the number of the first entry that does not follow, and what that means. That the end of a
log was cut off, or that all of it was written anew, can only be told with a hash that was noted elsewhere: so the newest one,
the head, is always printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from edge_agent.chain import ANCHOR, first_break
from edge_agent.commands.journal import open_reader
from edge_agent.config.settings import Settings
from edge_agent.journal import LogName
from edge_agent.journal.reader import Reader
from edge_agent.values import LogEntry

BROKEN = 1
PAGE = 1_000
_READ_AGAIN = 3


class Log(Struct, frozen=True):
    """A log as it was read: what its oldest entry follows from, and its entries."""

    anchor: bytes
    entries: list[LogEntry]

    @property
    def head(self) -> bytes:
        """The newest hash."""
        return self.entries[-1].hash if self.entries else self.anchor

    def knows(self, noted: bytes) -> bool:
        """Whether `noted` is the hash of an entry, or of the one that the oldest follows from."""
        return noted == self.anchor or any(entry.hash == noted for entry in self.entries)


class _Schema(Struct, frozen=True):
    schema: str = "?"


def entries(reader: Reader, name: LogName, after: int = 0) -> Iterator[LogEntry]:
    """The entries of a log in order, those after the number `after`. Raises StorageError."""
    while page := reader.log(name, after, PAGE):
        yield from page
        after = page[-1].number


def read_log(reader: Reader, name: LogName) -> Log:
    """A log of the journal. One that the agent shortens meanwhile is read again, so that its anchor fits. Raises StorageError."""
    for _ in range(_READ_AGAIN):
        anchor = reader.log_anchor(name)
        log = Log(anchor, list(entries(reader, name)))
        if reader.log_anchor(name) == anchor:
            break
    return log


def verify_log(settings: Settings, name: LogName, head: bytes | None = None) -> int:
    """Verify the chain of a log of the journal; the exit code is 0 where it is whole. Raises StorageError.

    `head` is a hash that was noted earlier, which the log must still hold.
    """
    with open_reader(settings) as reader:
        log = read_log(reader, name) if reader is not None else Log(ANCHOR, [])
    return 0 if report_whole(log, f"{name} log", head) else BROKEN


def report_whole(log: Log, what: str, head: bytes | None = None) -> bool:
    """Print whether a log is whole and, where `head` is given, holds it; whether all is well. `what` names the log."""
    broken = first_break(log.entries, log.anchor)
    if broken is not None:
        print(f"{what}: broken at entry {broken}: {meaning_of_break(log.entries, broken)}")
        return False
    if not log.entries:
        print(f"{what}: no entries")
    else:
        first, last = log.entries[0].number, log.entries[-1].number
        removed = "" if log.anchor == ANCHOR else f"; the {first - 1} before them were removed for their age"
        some = f"{last - first + 1} entries, {first} to {last}, are" if last > first else f"1 entry, {first}, is"
        print(f"{what}: {some} whole and in order{removed}")
        for schema, count in sorted(_schemas(log.entries).items()):
            print(f"  {count} of {schema}")
        print(f"head {log.head.hex()}")
    if head is None or log.knows(head):
        return True
    old = "" if log.anchor == ANCHOR else ", or it is so old that it was removed"
    print(f"{what}: does not hold {head.hex()}: entries were cut off at its end, or it was written anew{old}")
    return False


def meaning_of_break(log: Sequence[LogEntry], broken: int) -> str:
    """What it means that the entry with the number `broken` does not follow, in words."""
    place = next(i for i, entry in enumerate(log) if entry.number == broken)
    changed = "it was changed, or an entry before it was changed, removed or put in"
    if place == 0:
        return changed if broken == 1 else f"{changed}, or what it follows from is damaged"
    before = log[place - 1].number
    if broken <= before:
        return f"it stands after entry {before}: the order was changed"
    if broken == before + 2:
        return f"entry {before + 1} is missing"
    return f"entries {before + 1} to {broken - 1} are missing" if broken > before + 1 else changed


def _schemas(log: Sequence[LogEntry]) -> Counter[str]:
    return Counter(_schema(entry.body) for entry in log)


def _schema(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Schema).schema
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "?"
