"""The journal as commands see it: opened read-only beside the agent that writes it.

Rules: nothing is written; a state folder without a journal is a normal answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge_agent.config.settings import Settings
from edge_agent.journal import JOURNAL_NAME
from edge_agent.journal.reader import Reader


@contextlib.contextmanager
def open_reader(settings: Settings) -> Iterator[Reader | None]:
    """The journal, read-only; None where there is none yet. Raises StorageError."""
    path = Path(settings.state_dir) / JOURNAL_NAME
    if not path.exists():
        yield None
        return
    # What cannot be read is left out here; the agent is who reports and repairs it.
    reader = Reader(str(path), lambda table, number, reason: None, lambda: None)
    try:
        yield reader
    finally:
        reader.close()
