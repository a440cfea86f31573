"""The program that is recorded: a real journal under the mix of calls that an agent makes, from several threads.

`python -m tests.fault.power_cuts.workload FOLDER FIRST COUNT [SYNCHRONOUS]` stores incidents FIRST to FIRST + COUNT - 1 with
their revisions, summaries, escalations and closures, delivers most of the messages and buries a few. Before each call of
`calls` it writes the line `? CALL` to its standard output and after the call returned `! CALL`; `? delivered KEY...` before
messages are taken out, `? bury KEY` and `! bury KEY` around a burial. SYNCHRONOUS other than FULL is for the proof that the
simulation finds a journal that syncs too little.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edge_agent.config.settings import JournalSettings
from edge_agent.journal import JOURNAL_NAME, Journal, opening, schema
from edge_agent.journal.records import Urgency
from edge_agent.values import Closure, Escalation, Incident, Summary
from tests.fault.power_cuts.calls import BURIED, LAST_REVISION, Effects, effects, is_escalated, key_of
from tests.journals import SetClock

SETTINGS: Final = JournalSettings(max_bytes=1 << 20, max_outbox=10_000, keep_incidents=10_000, min_free_bytes=0)
"""The smallest file: its log is folded in every 64 pages. Nothing is ever given up at this size of the workload."""
LANES: Final = 3
URGENCIES: Final[tuple[Urgency, ...]] = ("critical", "critical", "soon", "soon", "relaxed")


def say(line: str) -> None:
    os.write(1, (line + "\n").encode())


def told(call: str, make: Callable[[Effects], object]) -> None:
    """Make a call, with its marks."""
    say(f"? {call}")
    assert make(effects(call)) is not False
    say(f"! {call}")


def kept(of: Effects, kind: type[Any]) -> Any:
    """What a call keeps of that type; None if nothing."""
    return next((each for each in of.kept.values() if isinstance(each, kind)), None)


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
                    self._summarise(number, revision, dice)
            if dice.random() < 0.3:
                told(f"close {number}", lambda does: self._journal.close_incident(kept(does, Closure), does.messages))
            if dice.random() < 0.2:
                told(f"meter lane-{numbers.start} {number}", lambda does: self._journal.record_meters(meters(does)))

    def _record(self, number: int, revision: int, urgency: Urgency) -> None:
        call = f"record {number} {revision}"
        told(call, lambda does: self._journal.record([kept(does, Incident)], does.messages, urgency))

    def _summarise(self, number: int, revision: int, dice: random.Random) -> None:
        urgency = dice.choice(URGENCIES)
        told(
            f"summary {number} {revision}",
            lambda does: self._journal.record_summary(
                kept(does, Summary), does.messages, urgency, escalation=kept(does, Escalation), audit=does.audit
            ),
        )
        if is_escalated(number):
            for state in ("sent", dice.choice(("answered", "refused")))[: dice.randint(0, 2)]:
                told(f"settle {number} {revision} {state}", self._settle)

    def _settle(self, does: Effects) -> bool:
        return self._journal.settle(
            kept(does, Escalation),
            messages=does.messages,
            summary=kept(does, Summary),
            meters=meters(does),
            egress=does.egress,
            audit=does.audit,
        )

    def _deliver(self, seed: int) -> None:
        dice = random.Random(seed)
        after = 0
        while not self._written.wait(0.005):
            taken = self._journal.outbox(after, 10)
            if not taken:
                continue
            after = taken[-1].number
            sent = [(queued.number, key_of(queued.message)) for queued in taken if dice.random() < 0.8]
            unsent = [queued for queued in taken if queued.number not in {number for number, _ in sent}]
            say("? delivered " + " ".join(key for _, key in sent))
            self._journal.delivered([number for number, _ in sent])
            if unsent and not unsent[0].message.supersedes and dice.random() < 0.2:
                say(f"? bury {key_of(unsent[0].message)}")
                self._journal.bury(unsent[0].number, BURIED)
                say(f"! bury {key_of(unsent[0].message)}")


def meters(does: Effects) -> dict[str, bytes]:
    """The meters that a call stores, by name."""
    return {key.removeprefix("meter "): body for key, body in does.kept.items() if isinstance(body, bytes)}


def sync_less(synchronous: str) -> None:
    """Have journals opened with another value of `synchronous`."""
    connect = schema.connect_writer

    def connect_less(path: str, *limits: Any) -> sqlite3.Connection:
        db = connect(path, *limits)
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
