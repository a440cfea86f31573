"""The journal as commands see it: opened read-only beside the agent that writes it.

Rules: nothing is written; a state folder without a journal is a normal answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge_agent.config.settings import Settings
from edge_agent.errors import StorageError
from edge_agent.journal import JOURNAL_NAME
from edge_agent.journal.reader import Reader, connect_reader
from edge_agent.journal.schema import MIGRATIONS
from edge_agent.journal.trouble import DAMAGE_ERRORS


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
    except StorageError as error:
        # Much of an earlier format can be read; the rest is no defect, and no damage.
        if _is_of_earlier_version(path):
            message = f"{path}: is of an earlier version of edge-agent: start the agent once, which brings it up to date"
            raise StorageError(message) from error
        raise
    finally:
        reader.close()


def _is_of_earlier_version(path: Path) -> bool:
    try:
        with contextlib.closing(connect_reader(str(path))) as db:
            return 0 < int(db.execute("PRAGMA user_version").fetchone()[0]) < len(MIGRATIONS)
    except DAMAGE_ERRORS:
        return False
