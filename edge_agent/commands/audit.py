"""`edge-agent audit verify | export`: whether the log of decisions is whole and fits what is stored, and the log as a file.

Rules: nothing is changed. What breaks a chain is told by the number of the first entry that does not follow, and what that means.
That the end of a log was cut off, or that all of it was written anew, can only be told with a hash that was noted elsewhere:
so the newest one is always printed. An exported file is verified without the journal.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.chain import ANCHOR, first_break
from edge_agent.commands.decided import Checked, Said, check_summaries, explain_again
from edge_agent.commands.journal import open_reader
from edge_agent.commands.logs import entries
from edge_agent.config.settings import Settings
from edge_agent.errors import InputError
from edge_agent.journal import LogName
from edge_agent.journal.reader import Reader
from edge_agent.messages.log_lines import log_lines, parse_log
from edge_agent.values import LogEntry

BROKEN = 1
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


def verify(settings: Settings, name: LogName, *, head: bytes | None = None, explain: bool = False) -> int:
    """Verify a log of the journal, and for the log of decisions whether the stored summaries are what it says.

    `head` is a hash that was noted earlier. With `explain` the sentences of closed incidents are written again and compared.
    The exit code is 0 where all is well. Raises StorageError.
    """
    with open_reader(settings) as reader:
        log = read_log(reader, name) if reader is not None else Log(ANCHOR, [])
        if not _whole(log, f"{name} log", head):
            return BROKEN
        if reader is None or name != "audit":
            return 0
        checked = check_summaries(reader, log.entries)
        fits = _report_checked(checked)
        return 0 if (not explain or _report_again(explain_again(checked.said, settings))) and fits else BROKEN


def verify_file(path: Path, *, head: bytes | None = None) -> int:
    """Verify an exported log alone. The exit code is 0 where it is whole. Raises InputError."""
    try:
        with path.open("rb") as file:
            log = Log(*parse_log(file, str(path)))
    except OSError as error:
        raise InputError("not-readable", f"{path}: {error.strerror or error}") from error
    return 0 if _whole(log, str(path), head) else BROKEN


def export(settings: Settings, name: LogName) -> int:
    """Write a log of the journal to standard output, whole or not, one entry a line. Raises StorageError."""
    sys.stdout.flush()
    with open_reader(settings) as reader:
        if reader is not None:
            log = read_log(reader, name)
            for line in log_lines(log.entries, log.anchor):
                sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    return 0


def read_log(reader: Reader, name: LogName) -> Log:
    """A log of the journal. One that the agent shortens meanwhile is read again, so that its anchor fits. Raises StorageError."""
    for _ in range(_READ_AGAIN):
        anchor = reader.log_anchor(name)
        log = Log(anchor, list(entries(reader, name)))
        if reader.log_anchor(name) == anchor:
            break
    return log


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


def _whole(log: Log, what: str, head: bytes | None) -> bool:
    broken = first_break(log.entries, log.anchor)
    if broken is not None:
        print(f"{what}: broken at entry {broken}: {meaning_of_break(log.entries, broken)}")
        return False
    if not log.entries:
        print(f"{what}: no entries")
    else:
        first, last = log.entries[0].number, log.entries[-1].number
        removed = "" if log.anchor == ANCHOR else f"; the {first - 1} before them were removed for their age"
        print(f"{what}: {len(log.entries)} entries, {first} to {last}, are whole and in order{removed}")
        for schema, count in sorted(_schemas(log.entries).items()):
            print(f"  {count} of {schema}")
        print(f"head {log.head.hex()}")
    if head is None or log.knows(head):
        return True
    old = "" if log.anchor == ANCHOR else ", or it is so old that it was removed"
    print(f"{what}: does not hold {head.hex()}: entries were cut off at its end, or it was written anew{old}")
    return False


def _schemas(log: Sequence[LogEntry]) -> Counter[str]:
    return Counter(_schema(entry.body) for entry in log)


def _schema(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Schema).schema
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "?"


def _report_checked(checked: Checked) -> bool:
    absent = f"; {checked.absent} have no entry: they were written before it began" if checked.absent else ""
    print(f"summaries: {len(checked.said)} are what the log says{absent}")
    for problem in checked.problems:
        print(problem)
    return not checked.problems


def _report_again(said: Said) -> bool:
    print(f"explained again: {said.same} closed incidents, the same bytes")
    for why, count in sorted(said.skipped.items()):
        print(f"  not {count}: {why}")
    for problem in said.problems:
        print(problem)
    return not said.problems
