"""`python -m edge_agent` is the command line."""

from __future__ import annotations

import subprocess
import sys

import edge_agent


def test_it_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "edge_agent", "--version"], capture_output=True, timeout=60, check=True)
    assert done.stdout.decode() == f"edge-agent {edge_agent.__version__}\n"
    wrong = subprocess.run([sys.executable, "-m", "edge_agent", "no-such"], capture_output=True, timeout=60, check=False)
    assert wrong.returncode == 2
