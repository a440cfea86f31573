"""`kill -9` at random moments: what the journal acknowledged is there, whole transactions only, both logs unbroken."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fault.journal_child import ENDLESS, MARKS
from tests.fault.power_cuts.claims import Claims

JOURNALS = 8
KILLS_A_JOURNAL = 5


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    dice = random.Random(20)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fault.journal_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as launcher:
        acknowledged = [kill_again_and_again(launcher, tmp_path / str(journal), dice) for journal in range(JOURNALS)]
        assert launcher.stdin is not None
        launcher.stdin.close()
    assert sum(acknowledged) > JOURNALS * KILLS_A_JOURNAL, "the kills came before the work"


def kill_again_and_again(launcher: subprocess.Popen[str], folder: Path, dice: random.Random) -> int:
    """Let one journal live through several processes; how many calls they acknowledged."""
    assert launcher.stdin is not None
    assert launcher.stdout is not None
    folder.mkdir()
    claims, read = Claims(), 0
    for life in range(KILLS_A_JOURNAL):
        print(folder, life * ENDLESS, file=launcher.stdin, flush=True)
        pid = int(launcher.stdout.readline())
        # The moment is the point: from before the file is opened to the middle of the traffic.
        time.sleep(dice.uniform(0.0, 0.25))
        os.kill(pid, signal.SIGKILL)
        assert launcher.stdout.readline() == "dead\n"
        marks = (folder / MARKS).read_text().splitlines() if (folder / MARKS).exists() else []
        for mark in marks[read:]:
            claims.mark(mark)
        read = len(marks)
        assert not (found := claims.check(folder)), found
    return sum(mark.startswith("!") for mark in marks)
