"""Wear of the flash memory: what the kernel sends to the disk for one incident of about 700 bytes, stored and acknowledged.

Rules: counted by the kernel for this process (`write_bytes` of /proc/self/io: pages made dirty, 4 KB each on most machines),
until the file is closed, so that checkpoints are in it; the folder is on the disk that TMPDIR names. The same
is done with plain SQLite as one would begin: a rollback journal, each insert and each delete a transaction of its own.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_agent.bench.flash import written_bytes
from edge_agent.bench.harness import BenchError
from edge_agent.bench.queuer import TOPICS, incident, settings_of
from edge_agent.bench.report import Figure
from edge_agent.clock import SystemClock
from edge_agent.journal import Journal
from edge_agent.messages import incident_messages
from edge_agent.values import Incident, Message

GROUP = 20
PAUSE_S = 0.3
"""Longer than an acknowledgement waits for company in the journal."""
AIM_KB = 5.0


def measure(incidents: int, paced: int) -> Iterator[Figure]:
    """Kilobytes an incident: in groups of 20, one by one, and one by one with pauses (`paced` of them)."""
    each = [incident(number) for number in range(incidents)]
    messages = [message for one in each for message in incident_messages(TOPICS, one)]
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as name:
        folder = Path(name)
        plain_kb = _plain_kb(folder, messages[: max(paced, incidents // 10)])
        taken = (
            (f"queued and delivered, {GROUP} at a time", _journal_kb(folder / "1", messages, group=GROUP), incidents),
            (f"stored as well, {GROUP} at a time", _journal_kb(folder / "2", messages, group=GROUP, stored=each), incidents),
            ("queued and delivered, one at a time", _journal_kb(folder / "3", messages, group=1), incidents),
            (f"the same, {PAUSE_S} s apart", _journal_kb(folder / "4", messages[:paced], group=1, pause_s=PAUSE_S), paced),
        )
    size = sum(len(message.topic) + len(message.payload) for message in messages) / len(messages)
    for number, (what, value, n) in enumerate(taken):
        yield Figure(
            part="wear",
            name=what,
            value=value or None,
            unit="KB each",
            n=n,
            against="plain SQLite, a transaction each",
            against_value=plain_kb or None,
            aim=f"{AIM_KB:.0f} KB" if number == 0 else "",
            note="" if value else "the kernel wrote nothing: the folder is in memory; set TMPDIR to one on a disk",
        )
    yield Figure(part="wear", name="topic and payload of one", value=size / 1e3, unit="KB", n=len(messages))


def _journal_kb(
    path: Path, messages: Sequence[Message], *, group: int, stored: Sequence[Incident] = (), pause_s: float = 0.0
) -> float:
    with Journal.open(path, settings_of(len(messages)), SystemClock()) as journal:
        before = written_bytes()
        for start in range(0, len(messages), group):
            journal.record(stored[start : start + group], messages[start : start + group])
            queued = journal.outbox(0, group)
            if len(queued) < len(messages[start : start + group]):
                raise BenchError("the journal did not keep what it was given")
            journal.delivered([each.number for each in queued])
            time.sleep(pause_s)
    return (written_bytes() - before) / len(messages) / 1e3


def _plain_kb(folder: Path, messages: Sequence[Message]) -> float:
    db = sqlite3.connect(folder / "plain.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE outbox (number INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL)")
    before = written_bytes()
    for number, message in enumerate(messages):
        db.execute("INSERT INTO outbox VALUES (?, ?, ?)", (number, message.topic, message.payload))
        db.execute("DELETE FROM outbox WHERE number = ?", (number,))
    db.close()
    return (written_bytes() - before) / len(messages) / 1e3
