"""The state record on the disk: which release is active, which is on its way, what failed. The one commit point of updates.

Format: a line `edge-agent record 1`, a line with the SHA-256 of all that follows, then one JSON object (`record.Record`).

Rules:
* The rules of `twice`. A save that returned is durable in both copies: what it says was done stays done.
* Whoever owns the record holds the lock for as long as he does, and saves before he acts. Others read without a lock and see
  the record before a save or after it.
* Lost (both copies damaged) is said, not guessed at: the device goes on with the factory release. Its trust in the repository
  stands in a file of its own, with a floor of its own.
* A record of another version of the agent is neither believed in part nor overwritten.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from msgspec.structs import replace

from edge_agent.errors import RecordLostError, RecordOtherError
from edge_agent.update.record import Record
from edge_agent.update.twice import Kind, Twice

COPIES: tuple[str, str] = ("record.a", "record.b")
MARKER = "record.begun"
MAX_FILE_BYTES = 1 << 20


class RecordFile:
    """The record in one folder, which must exist."""

    def __init__(self, folder: Path) -> None:
        self._twice = Twice(
            folder,
            Kind(
                type=Record,
                what="edge-agent record",
                version=1,
                copies=COPIES,
                marker=MARKER,
                marker_text="Releases were recorded here. Do not remove.",
                max_bytes=MAX_FILE_BYTES,
                busy="another agent updates from there; stop one of the two, or give each a state_dir of its own",
                lost=_lost,
                other=_other,
            ),
        )

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Own the record, in this process alone, while the block lasts. Raises StorageError where another one owns it."""
        return self._twice.locked()

    def load(self) -> Record | None:
        """The record; None where none was ever saved.

        Raises RecordLostError where both copies are gone, RecordOtherError where another version of the agent wrote it,
        StorageError where the disk fails.
        """
        found = self._twice.load()
        return None if found is None else found.value

    def save(self, record: Record) -> Record:
        """Make `record` durable; what was saved, under the next generation. It may follow a RecordLostError.

        Raises StorageError: the record before it, or this one, then stands. Raises RecordOtherError; nothing is written then.
        """
        highest = max(self._twice.generations().values())
        saved = replace(record, generation=max(record.generation, highest) + 1)
        self._twice.save(saved)
        return saved


def _lost(folder: str) -> RecordLostError:
    return RecordLostError(
        f"{folder}: the record of releases is gone: both copies ({', '.join(COPIES)}) are missing or damaged. The factory release"
        " runs; check the disk. The next release that is published is taken as usual"
    )


def _other(folder: str) -> RecordOtherError:
    return RecordOtherError(
        f"{folder}: the record of releases was written by another version of the agent, which this one does not understand."
        f" Install that version again, or remove {', '.join((*COPIES, MARKER))} there to begin from the factory release"
    )
