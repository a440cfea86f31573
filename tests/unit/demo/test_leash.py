"""A leashed command is the command itself, and does not begin where whoever started it is gone already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from edge_agent.demo.leash import leashed

ROOT = Path(__file__).resolve().parents[3]
SHOWS = "import os, sys; print(os.getpid(), *sys.argv[1:]); sys.exit(7)"
LEASHES_AND_GOES = """
import subprocess, sys
from edge_agent.demo.leash import leashed
child = subprocess.Popen(leashed((sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)")))
sys.stdin.read()
"""


def test_the_process_becomes_the_command() -> None:
    command = leashed((sys.executable, "-c", SHOWS, "a b", "--c"))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        shown, _ = process.communicate(timeout=60)
    assert (process.returncode, shown) == (7, f"{process.pid} a b --c\n")


def test_it_ends_when_its_starter_is_killed() -> None:
    starter = subprocess.Popen(
        (sys.executable, "-c", LEASHES_AND_GOES), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "here\n"
        starter.send_signal(signal.SIGKILL)
        assert starter.stdout.read() == "", "the command holds the other end of the pipe until it ends"


def test_nothing_begins_for_a_starter_that_is_gone() -> None:
    command = list(leashed((sys.executable, "-c", SHOWS)))
    command[command.index(str(os.getpid()))] = "1" if os.getpid() != 1 else "2"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
