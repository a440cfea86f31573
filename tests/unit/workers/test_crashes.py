"""Crashes in a row are counted by what they leave behind; kills, power cuts and old ones are none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_agent.workers.crashes import MAX_CRASHES, ROW_S, Crashes

ENDS = """
import os, sys
from pathlib import Path
from edge_agent.workers.crashes import Crashes
Crashes(Path(sys.argv[1])).watch()
os.kill(os.getpid(), int(sys.argv[2]))
"""


def ends_by(folder: Path, number: signal.Signals) -> None:
    done = subprocess.run((sys.executable, "-c", ENDS, str(folder), str(int(number))), cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -number


def test_crashes_in_a_row_make_one_start_do_without_engines(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path)
    for number in range(MAX_CRASHES):
        assert crashes.too_many(time.time()) == ""
        ends_by(tmp_path, (signal.SIGSEGV, signal.SIGABRT)[number % 2])
    assert f"crashed {MAX_CRASHES} times" in crashes.too_many(time.time())
    assert crashes.too_many(time.time()) == ""


def test_a_kill_is_no_crash(tmp_path: Path) -> None:
    for _ in range(MAX_CRASHES + 1):
        ends_by(tmp_path, signal.SIGKILL)
    assert Crashes(tmp_path).too_many(time.time()) == ""


@pytest.mark.parametrize("how", ["stop", "hour"])
def test_a_stop_in_order_and_an_hour_end_the_row(tmp_path: Path, how: str) -> None:
    crashes = Crashes(tmp_path)
    (tmp_path / "crashes").write_bytes(b"Fatal Python error: Segmentation fault\n" * MAX_CRASHES)
    if how == "stop":
        crashes.end_row()
    else:
        os.utime(tmp_path / "crashes", (0.0, time.time() - ROW_S - 60.0))
    assert crashes.too_many(time.time()) == ""
    assert (tmp_path / "crashes").stat().st_size == 0


def test_a_folder_that_is_not_there_stops_nobody(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path / "nowhere")
    crashes.watch()
    crashes.end_row()
    assert crashes.too_many(0.0) == ""
