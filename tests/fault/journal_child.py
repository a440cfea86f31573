"""A process that uses a journal until it is killed; run by `test_journal_kill`.

`python -m tests.fault.journal_child` imports everything once. For each line `FOLDER FIRST` on its standard input it forks,
answers with the child's process id, and, when the child has been killed, with `dead`. The child makes the calls of
`power_cuts.workload` on `FOLDER/journal.db` from incident FIRST on, without an end, and writes its marks to `FOLDER/marks`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edge_agent.journal import JOURNAL_NAME, Journal
from tests.fault.power_cuts.workload import SETTINGS, Workload
from tests.journals import SetClock

MARKS = "marks"
ENDLESS = 50_000


def live(folder: Path, first: int) -> None:
    marks = os.open(folder / MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(marks, sys.stdout.fileno())
    with Journal.open(folder / JOURNAL_NAME, SETTINGS, SetClock()) as journal:
        Workload(journal).run(first, ENDLESS)


def main() -> None:
    for line in sys.stdin:
        folder, first = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                live(Path(folder), int(first))
            finally:
                os._exit(3)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print("dead" if os.WIFSIGNALED(status) else f"ended by itself: {status}", flush=True)


if __name__ == "__main__":
    main()
