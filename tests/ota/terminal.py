"""Runs a shell script on a terminal of its own, as a person would: gives a passphrase where asked, interrupts a server."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from tests.deadline import eventually

PASSPHRASE = "correct horse battery staple"
_ASKED = re.compile(r"(?:Passphrase(?: of [^\n]*)?|Again): $")
_SERVES = "interrupt to end\r\n"


def run(script: str, folder: Path, environment: Mapping[str, str], within_s: float = 90.0) -> tuple[int, str]:
    """The exit code and what was shown. The first command that fails ends the script."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.chdir(folder)
            os.execvpe("bash", ["bash", "-euo", "pipefail", "-c", script], dict(environment))
        finally:
            os._exit(127)
    shown, answered = b"", 0
    deadline_s = time.monotonic() + within_s
    try:
        while True:
            ready, _, _ = select.select([terminal], [], [], max(0.0, deadline_s - time.monotonic()))
            assert ready, f"not done within {within_s} s:\n{shown.decode(errors='replace')}"
            try:
                part = os.read(terminal, 65_536)
            except OSError:  # how Linux says that the other side is closed
                part = b""
            if not part:
                break
            shown += part
            new = shown[answered:].decode(errors="replace")
            if _ASKED.search(new):
                os.write(terminal, f"{PASSPHRASE}\n".encode())
                answered = len(shown)
            elif new.endswith(_SERVES):
                os.write(terminal, b"\x03")
                answered = len(shown)
        eventually(lambda: _ended(child), max(1.0, deadline_s - time.monotonic()))
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(terminal)  # after the end: who is hung up on does not end with 0
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


def _ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
