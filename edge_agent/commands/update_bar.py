"""How far an update is, for whoever watches: a bar on a terminal, a line for each change anywhere else.

Rules: what stands in the update's folder tells how much was fetched; nobody is asked. Nothing is printed twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from edge_agent.errors import EdgeAgentError
from edge_agent.messages import UpdateState
from edge_agent.update.machine import Record
from edge_agent.update.store import Store

WIDTH = 30
MEGA = 1_000_000


class Bar:
    """One bar. Close it before anything else is printed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._said = ""

    def show(self, state: UpdateState, done_bytes: int, total_bytes: int) -> None:
        """Show how the update stands."""
        what = f"{state.state:<9} {state.candidate}" if state.candidate else ""
        if not self._is_terminal:
            if what and what != self._said:
                print(what, file=self._out, flush=True)
            self._said = what
            return
        if what and total_bytes:
            full = WIDTH * min(done_bytes, total_bytes) // total_bytes
            what = f"{what} [{'#' * full}{'.' * (WIDTH - full)}] {done_bytes / MEGA:.1f} of {total_bytes / MEGA:.1f} MB"
        if what != self._said:
            self._out.write(f"\r\x1b[K{what}")
            self._out.flush()
            self._said = what

    def close(self) -> None:
        """Leave the line."""
        if self._is_terminal and self._said:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._said = ""


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
