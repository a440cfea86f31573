"""How often in a row native code ended the agent: what keeps one sentence from taking a gateway down again and again.

A crash in an engine ends the process, and the incident that it was writing about is the first to be written about after the next
start. So crashes are counted, in a file to which Python's fault handler writes a trace when the process is ended by SIGSEGV,
SIGBUS, SIGFPE, SIGILL or SIGABRT, the last of which is also the watchdog's. After `MAX_CRASHES` the release that runs is left for
the one before it; where that is the one inside the package, one start does without engines.

Rules: a kill and a power cut leave no trace, and so no suspicion. A stop in order, a start after too many, and an hour without a
crash end the row. Where the file cannot be had nothing is counted, and the agent starts as ever.
"""

from __future__ import annotations

import faulthandler
import logging
import os
from pathlib import Path

NAME = "crashes"
"""In the state folder."""
MAX_CRASHES = 5
"""More than a release on trial is given, fewer than the starts after which the service manager gives up."""
ROW_S = 3_600.0
_MARK = b"Fatal Python error"
_MAX_BYTES = 4 << 20

_log = logging.getLogger(__name__)


class Crashes:
    """The file in one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME

    def too_many(self, now_s: float) -> str:
        """Why this start is better made without what ran, in words; empty where it is not. The row is ended then."""
        try:
            old_s = now_s - self._path.stat().st_mtime
            with self._path.open("rb") as file:
                count = file.read(_MAX_BYTES).count(_MARK)
        except OSError:
            return ""
        if old_s > ROW_S:
            self.end_row()
            return ""
        if count < MAX_CRASHES:
            return ""
        self.end_row()
        return f"the agent crashed {count} times in a row"

    def watch(self) -> None:
        """Have a crash from now on leave its trace. For the process, once it is an agent."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        except OSError as error:
            _log.warning("%s: cannot be written, so that crashes are not counted: %s", self._path, error.strerror)
            return
        faulthandler.enable(fd)

    def end_row(self) -> None:
        """There is no row any more, because the agent is stopped in order, or starts without engines."""
        try:
            os.truncate(self._path, 0)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("%s: cannot be emptied: %s", self._path, error.strerror)
