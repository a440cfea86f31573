"""A process that records into a journal until it is killed; run by `test_journal_kill`.

`python -m tests.fault.journal_child FOLDER` imports everything once, then forks for each number it reads on standard input,
answers with the child's process id, and, when the child has been killed, with `dead`. The child writes one line to
`FOLDER/acknowledged` after each call that returned, and one to `FOLDER/handed-over` before it reports a delivery.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path

from edge_agent.config.settings import JournalSettings
from edge_agent.journal import Journal
from tests.journals import SetClock, incident, message, summary

SETTINGS = JournalSettings(max_bytes=16 << 20, max_outbox=100_000, keep_incidents=100_000)


def say(fd: int, line: str) -> None:
    os.write(fd, (line + "\n").encode())


def record(journal: Journal, fd: int, lane: int, start: int, seed: int) -> None:
    """New incidents, revisions, summaries, each acknowledged in `fd` when the call returned."""
    rng = random.Random(seed)
    number = start + lane
    while True:
        journal.record([incident(number)], [message(f"m/{number}/1")], rng.choice(("critical", "soon")))
        say(fd, f"record {number} 1")
        if rng.random() < 0.5:
            journal.record(
                [incident(number, 2, "closed")], [message(f"m/{number}/2"), message("s", str(number), supersedes=True)]
            )
            say(fd, f"record {number} 2")
        if rng.random() < 0.3:
            journal.record_summary(summary(number), [])
            say(fd, f"summary {number} 1")
        number += 10


def deliver(journal: Journal, fd: int, seed: int) -> None:
    """Take messages out, as the deliver worker does."""
    rng = random.Random(seed)
    after = 0
    while True:
        taken = journal.outbox(after, 20)
        for queued in taken:
            after = queued.number
            say(fd, f"{queued.message.topic}")
        journal.delivered([queued.number for queued in taken])
        threading.Event().wait(rng.uniform(0, 0.02))


def work(folder: Path, start: int) -> None:
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    handed_over = os.open(folder / "handed-over", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    journal = Journal.open(folder / "journal.db", SETTINGS, SetClock())
    for lane in range(3):
        threading.Thread(target=record, args=(journal, acknowledged, lane, start, start + lane), daemon=True).start()
    deliver(journal, handed_over, start)


def main() -> None:
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                work(folder, int(line))
            finally:
                os._exit(3)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print("dead" if os.WIFSIGNALED(status) else f"ended by itself: {status}", flush=True)


if __name__ == "__main__":
    main()
