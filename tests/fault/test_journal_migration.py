"""A migration that is killed before any of its statements: the next opening finishes it, and nothing is lost or done twice."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.journals import open_journal, waiting

VERSION_1 = Path(__file__).parents[1] / "unit" / "journal" / "version_1.sql"
DYING = """
import os, shutil, signal, sys
from edge_agent.journal import opening
from tests.journals import open_journal

folder, connect = sys.argv[1], opening.connect_writer

def dying_before(step):
    def connect_and_count(path, max_bytes):
        db, left = connect(path, max_bytes), [step]
        def trace(_):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        db.set_trace_callback(trace)
        return db
    return connect_and_count

for step in range(1_000):
    os.mkdir(f"{folder}/{step}")
    shutil.copy(f"{folder}/version-1.db", f"{folder}/{step}/journal.db")
    pid = os.fork()
    if pid == 0:
        opening.connect_writer = dying_before(step)
        open_journal(f"{folder}/{step}/journal.db")
        os._exit(0)
    if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
        break
print(step)
"""


def test_a_migration_killed_anywhere_is_finished_by_the_next_opening(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "version-1.db")
    db.executescript(VERSION_1.read_text())
    db.close()
    ran = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    kills = int(ran.stdout)
    assert kills > 20
    found = set()
    for step in range(kills):
        with open_journal(tmp_path / str(step) / "journal.db") as journal:
            assert not journal.opening.damage
            found.add(journal.opening.version_before)
            assert [s.incident.id for s in journal.incidents(10)] == ["i-000002", "i-000001"]
            assert [m.topic for m in waiting(journal)] == ["edge/gateway-1/summary"]
            assert {d.reason: d.count for d in journal.drops()} == {"outbox-full": 3}
    assert found == {1, 2}, "kills on both sides of the commit"
