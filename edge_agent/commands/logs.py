"""The two hash-chained logs of the journal, as commands read and verify them.

Rules: an entry is shown as it stands, also one that was damaged; whether the log is whole is decided by `edge_agent.chain`
alone. What cannot be seen from a log itself, that its end was cut off, is told to whoever verifies it.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.chain import first_break
from edge_agent.commands.journal import open_reader
from edge_agent.config.settings import Settings
from edge_agent.journal import LogName
from edge_agent.journal.reader import Reader
from edge_agent.values import LogEntry

PAGE = 1_000
BROKEN = 1


def entries(reader: Reader, name: LogName, after: int = 0) -> Iterator[LogEntry]:
    """The entries of a log in order, those after the number `after`. Raises StorageError."""
    while page := reader.log(name, after, PAGE):
        yield from page
        after = page[-1].number


def verify_log(settings: Settings, name: LogName, contains: str | None = None) -> int:
    """Check a log's chain and print what was found; the exit code is 0 if it is whole. Raises StorageError.

    `contains` is a hash noted earlier, in hexadecimal digits: the log must have the entry that it was the hash of.
    """
    noted = contains.strip().lower() if contains is not None else None
    with open_reader(settings) as reader:
        anchor = reader.log_anchor(name) if reader is not None else b""
        seen = _Seen(anchor.hex() == noted)
        broken = first_break(seen.watch(entries(reader, name), noted), anchor) if reader is not None else None
    if broken is not None:
        print(f"{name} log: broken at entry {broken}: it does not follow from the entries before it")
        return BROKEN
    if seen.last is None:
        print(f"{name} log: no entries")
    else:
        rest = "" if seen.first == 1 else f"; the {seen.first - 1} before were removed for their age"
        print(f"{name} log: entries {seen.first} to {seen.last.number} are whole{rest}")
        print(f"newest hash: {seen.last.hash.hex()}")
    if noted is not None and not seen.noted:
        print(
            f"{name} log: no entry has the hash {noted}: entries were cut off or written anew, or it was so old that it is gone"
        )
        return BROKEN
    return 0


def anchor_of(reader: Reader, name: LogName, after: int) -> bytes:
    """The hash that the first entry above the number `after` follows from. Raises StorageError."""
    page = reader.log(name, after - 1, 1) if after > 0 else []
    return page[0].hash if page and page[0].number == after else reader.log_anchor(name)


class _Seen:
    """What was passed on the way through a log."""

    def __init__(self, noted: bool) -> None:
        self.noted = noted
        self.first = 0
        self.last: LogEntry | None = None

    def watch(self, log: Iterator[LogEntry], noted: str | None) -> Iterator[LogEntry]:
        """The entries, unchanged; whether one has the hash `noted` is kept."""
        for entry in log:
            self.first = self.first or entry.number
            self.last = entry
            self.noted = self.noted or entry.hash.hex() == noted
            yield entry
