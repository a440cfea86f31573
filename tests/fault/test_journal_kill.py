"""`kill -9` at random moments: what the journal acknowledged is there, whole transactions only."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fault.journal_child import SETTINGS
from tests.journals import SetClock, open_journal, waiting

KILLS = 40
ROUND_NUMBERS = 100_000
"""Incident numbers of one round start at a multiple of this."""


def lines(path: Path) -> list[list[str]]:
    """Whole lines of a file; the last may be cut by the kill."""
    if not path.exists():
        return []
    return [line.split() for line in path.read_text().split("\n")[:-1]]


def check(folder: Path, start: int) -> int:
    """Open the journal as the next run would and compare it with what was acknowledged since `start`; how much that was."""
    with open_journal(folder / "journal.db", SETTINGS, SetClock()) as journal:
        assert not journal.opening.damage
        acknowledged = [line for line in lines(folder / "acknowledged") if int(line[1]) >= start]
        handed_over = {line[0] for line in lines(folder / "handed-over")}
        queued = {m.topic for m in waiting(journal)}
        for what, number_text, revision_text in acknowledged:
            number, revision = int(number_text), int(revision_text)
            stored = journal.incident(f"i-{number:06d}")
            assert stored is not None, f"acknowledged incident {number} is lost"
            if what == "record":
                assert stored.incident.revision >= revision
                assert f"m/{number}/{revision}" in queued | handed_over, f"its message {revision} is lost"
            else:
                assert stored.explained_revision == revision
                assert journal.summary(stored.incident.id) is not None
        for stored in journal.incidents(1_000_000):
            number = int(stored.incident.id[2:])
            if number >= start:
                for revision in range(1, stored.incident.revision + 1):
                    assert f"m/{number}/{revision}" in queued | handed_over, "half a transaction"
        return len(acknowledged)


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    rng = random.Random(20)
    checked = 0
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fault.journal_child", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        for kill in range(KILLS):
            start = kill * ROUND_NUMBERS
            print(start, file=launcher.stdin, flush=True)
            pid = int(launcher.stdout.readline())
            # The moment is the point: from before the file is opened to the middle of the traffic.
            time.sleep(rng.uniform(0.0, 0.25))
            os.kill(pid, signal.SIGKILL)
            assert launcher.stdout.readline() == "dead\n"
            checked += check(tmp_path, start)
        launcher.stdin.close()
    assert checked > KILLS, "the kills came before the work"
