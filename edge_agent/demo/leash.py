"""Runs a command that is asked to end (SIGTERM) when whoever started it ends, however that ends: also when it is killed.

Rules: the process becomes the command, so that its number, its output and its exit code are the command's. What counts is the
thread that starts it: start it from one that lives as long as the command is wanted.
"""

from __future__ import annotations

import os
import signal
import sys

from edge_agent.update.launcher import end_with_parent


def leashed(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command line that runs `command`, a path or a name and its arguments, for this process."""
    return (sys.executable, "-m", __name__, str(os.getpid()), *command)


def main() -> None:
    """Become the command after the first argument, the number of the process that started this one."""
    end_with_parent(int(sys.argv[1]), signal.SIGTERM)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
