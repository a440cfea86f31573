"""The program that is recorded: a real journal under the mix of calls that an agent makes, from several threads.

`python -m tests.fault.power_cuts.workload FOLDER FIRST COUNT [SYNCHRONOUS]` stores incidents FIRST to FIRST + COUNT - 1 with
their revisions, summaries and closures, and delivers most of the messages. Before each call it writes the line `? WHAT` to
its standard output and after the call returned `! WHAT`. What a call stores follows from its name and numbers alone (the
functions here), so that a reader of the lines knows every byte that may be found. SYNCHRONOUS other than FULL is for the
proof that the simulation finds a journal that syncs too little.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Final

from edge_agent.config.settings import JournalSettings
from edge_agent.journal import JOURNAL_NAME, Journal, opening, schema
from edge_agent.journal.records import Urgency
from edge_agent.values import Closure, Incident, Message, Summary
from tests.journals import SetClock, closure, incident, message, summary

SETTINGS: Final = JournalSettings(max_bytes=1 << 20, max_outbox=10_000, keep_incidents=10_000)
"""The smallest file: its log is folded in every 64 pages. Nothing is ever dropped at this size of the workload."""
LANES: Final = 3
LAST_REVISION: Final = 3
LATEST: Final = "summary"
"""The topic on which a newer message replaces one that waits."""
URGENCIES: Final[tuple[Urgency, ...]] = ("critical", "critical", "soon", "soon", "relaxed")


def incident_of(number: int, revision: int) -> Incident:
    """What `record NUMBER REVISION` stores; the last revision is closed."""
    return incident(number, revision, "closed" if revision == LAST_REVISION else "open", signature=bytes(32))


def incident_messages(number: int, revision: int) -> list[Message]:
    """What it queues."""
    return [message(f"incident/{number}/{revision}", f"{revision} ".ljust(200 + number % 300, "."), priority=number % 3)]


def summary_of(number: int, revision: int) -> Summary:
    """What `summary NUMBER REVISION` stores."""
    return summary(number, revision, f"Incident {number} in its revision {revision}.")


def summary_messages(number: int, revision: int) -> list[Message]:
    """What it queues: one of its own and the latest of all."""
    return [message(f"summary/{number}/{revision}", "It rose."), message(LATEST, f"{number}/{revision}", supersedes=True)]


def closure_of(number: int) -> Closure:
    """What `close NUMBER` stores."""
    return closure(number, note=f"Seen to by number {number}.")


def closure_messages(number: int) -> list[Message]:
    """What it queues."""
    return [message(f"closed/{number}", "by hand")]


def key_of(sent: Message) -> str:
    """A name for a message that no other message has."""
    return f"{sent.topic}={sent.payload.decode()}" if sent.supersedes else sent.topic


def say(line: str) -> None:
    os.write(1, (line + "\n").encode())


class Workload:
    """The calls of all threads on one journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._written = threading.Event()

    def run(self, first: int, count: int) -> None:
        """Make all calls and return."""
        lanes = [threading.Thread(target=self._lane, args=(range(first + lane, first + count, LANES),)) for lane in range(LANES)]
        delivering = threading.Thread(target=self._deliver, args=(first,))
        for thread in (*lanes, delivering):
            thread.start()
        for thread in lanes:
            thread.join()
        self._written.set()
        delivering.join()

    def _lane(self, numbers: range) -> None:
        dice = random.Random(numbers.start)
        for number in numbers:
            for revision in range(1, dice.randint(1, LAST_REVISION) + 1):
                self._record(number, revision, dice.choice(URGENCIES))
                if dice.random() < 0.6:
                    self._summarise(number, revision, dice.choice(URGENCIES))
            if dice.random() < 0.3:
                say(f"? close {number}")
                assert self._journal.close_incident(closure_of(number), closure_messages(number))
                say(f"! close {number}")

    def _record(self, number: int, revision: int, urgency: Urgency) -> None:
        say(f"? record {number} {revision}")
        self._journal.record([incident_of(number, revision)], incident_messages(number, revision), urgency)
        say(f"! record {number} {revision}")

    def _summarise(self, number: int, revision: int, urgency: Urgency) -> None:
        say(f"? summary {number} {revision}")
        self._journal.record_summary(summary_of(number, revision), summary_messages(number, revision), urgency)
        say(f"! summary {number} {revision}")

    def _deliver(self, seed: int) -> None:
        dice = random.Random(seed)
        after = 0
        while not self._written.wait(0.005):
            taken = self._journal.outbox(after, 10)
            if not taken:
                continue
            after = taken[-1].number
            sent = [(queued.number, key_of(queued.message)) for queued in taken if dice.random() < 0.8]
            say("? delivered " + " ".join(key for _, key in sent))
            self._journal.delivered([number for number, _ in sent])


def sync_less(synchronous: str) -> None:
    """Have journals opened with another value of `synchronous`."""
    connect = schema.connect_writer

    def connect_less(path: str, max_bytes: int) -> sqlite3.Connection:
        db = connect(path, max_bytes)
        db.execute(f"PRAGMA synchronous = {synchronous}")
        return db

    vars(opening)["connect_writer"] = connect_less


def main() -> None:
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if sys.argv[4:]:
        sync_less(sys.argv[4])
    # Threads change over more often, so that there are more orders of events than the ordinary 5 ms give.
    sys.setswitchinterval(0.0005)
    with Journal.open(folder / JOURNAL_NAME, SETTINGS, SetClock()) as journal:
        Workload(journal).run(first, count)


if __name__ == "__main__":
    main()
