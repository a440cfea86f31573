"""How far an update is, for whoever watches: a bar on a terminal that can take a line back, a line for each change elsewhere.

Rules: what stands in the update's folder tells how much was fetched; nobody is asked. Nothing is printed twice. A bar keeps to
one line of the terminal. A reader that has enough (`| head -1`) does not end the update, which may be done in this process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

from edge_agent.errors import EdgeAgentError
from edge_agent.messages import UpdateState
from edge_agent.update.record import Record
from edge_agent.update.store import Store

WIDTH, LEAST_WIDTH = 30, 5
USUAL_COLUMNS = 80
MEGA = 1_000_000


class Bar:
    """One bar. Close it before anything else is printed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty() and os.environ.get("TERM") != "dumb"
        self._said = self._why = ""

    def show(self, state: UpdateState, done_bytes: int, total_bytes: int) -> None:
        """Show how the update stands, and on a line of its own what it waits for, such as room on the disk."""
        what = f"{state.state:<9} {state.candidate}" if state.candidate else ""
        if what and state.reason not in ("", self._why):
            self.close()
            self._print(f"{what}: {state.reason}")
            self._why = state.reason
        if not self._is_terminal:
            if what and what != self._said:
                self._print(what)
            self._said = what
            return
        if what:
            what = _line(what, done_bytes, total_bytes, self._columns())
        if what != self._said:
            self._out.write(f"\r\x1b[K{what}")
            self._out.flush()
            self._said = what

    def _print(self, line: str) -> None:
        try:
            print(line, file=self._out, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())

    def _columns(self) -> int:
        """Of the terminal as it is now. One that does not say how wide it is, such as a serial line, says 0."""
        try:
            return os.get_terminal_size(self._out.fileno()).columns or USUAL_COLUMNS
        except OSError:
            return USUAL_COLUMNS

    def close(self) -> None:
        """Leave the line."""
        if self._is_terminal and self._said:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._said = ""


def _line(what: str, done_bytes: int, total_bytes: int, columns: int) -> str:
    """What fits on one line: a longer one would wrap, and could not be taken back. The last column makes some terminals wrap."""
    if not total_bytes:
        return what[: columns - 1]
    sizes = f"{done_bytes / MEGA:.1f} of {total_bytes / MEGA:.1f} MB"
    width = min(WIDTH, columns - 1 - len(f"{what} [] {sizes}"))
    if width < LEAST_WIDTH:
        return f"{what[: max(0, columns - 2 - len(sizes))]} {sizes}"[: columns - 1]
    full = width * min(done_bytes, total_bytes) // total_bytes
    return f"{what} [{'#' * full}{'.' * (width - full)}] {sizes}"


def standing(folder: Path, record: Record) -> tuple[int, int]:
    """Bytes of the candidate that stand in the store, and all of them; (0, 0) where there is no candidate."""
    if record.candidate is None:
        return 0, 0
    store = Store(folder)
    try:
        manifest = store.manifest(record.candidate.held.manifest_sha256)
        missing = store.missing_bytes(manifest)
    except EdgeAgentError:  # it is just coming, or just going
        return 0, 0
    total = sum(
        part.stored.size_bytes if part.stored else part.size_bytes for part in manifest.components.values() if not part.merged
    )
    return max(0, total - missing), total
