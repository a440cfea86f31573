"""The keeper of the update's record: what is known of the releases, saved before it is acted on, and the store beside it.

Rules: one keeper a device: it holds the lock on the folder for as long as it lives, and who does not get it keeps nothing. A
record that cannot be saved did not happen: the caller waits and tries again. A record that is lost on the disk costs the way
back, not the service: the factory release runs, and what was trusted of the repository still bars older states of it.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from edge_agent.atomic import make_folder
from edge_agent.clock import Clock
from edge_agent.errors import RecordLostError, ReleaseError, plain
from edge_agent.messages import UpdateOutcome, UpdateState
from edge_agent.update.floor import Floor
from edge_agent.update.jobs import Progress
from edge_agent.update.machine import Event, after, speaks
from edge_agent.update.record import MAX_REASON_CHARACTERS, Ended, Held, Record
from edge_agent.update.record_file import RecordFile
from edge_agent.update.store import Store
from edge_agent.workers.host import boot_id

FOLDER = "update"
"""Below the state folder."""
TRUST = "trust"
DAY_S = 86_400.0

_log = logging.getLogger(__name__)


class Keeper:
    """Owns the record and the store of one device. Build it with `open`."""

    def __init__(self, folder: Path, file: RecordFile, record: Record, clock: Clock, held: ExitStack) -> None:
        self._file = file
        self._clock = clock
        self._held = held
        self._record = record
        self.boot = boot_id()
        """Of the device: a try that another boot began was cut off."""
        self.folder = folder
        self.store = Store(folder)
        self.lost = ""
        """Why the record had to be begun anew, in words; empty where it did not."""

    @classmethod
    def open(cls, state_dir: Path, clock: Clock) -> Keeper:
        """Take the lock, then what is known. Raises StorageError: another process keeps it, or the disk refuses."""
        folder = state_dir / FOLDER
        for each in (folder, folder / TRUST):
            make_folder(each)
        file = RecordFile(folder)
        with ExitStack() as stack:
            stack.enter_context(file.locked())
            lost = ""
            try:
                record = file.load()
            except RecordLostError as error:
                record, lost = None, str(error)
                _log.error("%s", error)
            keeper = cls(folder, file, record or Record(), clock, ExitStack())
            keeper.lost = lost
            keeper.store.prepare()
            keeper._held = stack.pop_all()
        return keeper

    def close(self) -> None:
        """Let go of the lock."""
        self._held.close()

    @property
    def record(self) -> Record:
        """What is known, and on the disk."""
        return self._record

    @property
    def trust_folder(self) -> Path:
        """Where what is trusted of the repository stands."""
        return self.folder / TRUST

    def apply(self, event: Event) -> bool:
        """Let the machine take `event`; False where it changes nothing. On the disk when this returns. Raises StorageError."""
        return self._save(after(self._record, event, self._clock.now_s()))

    def knows(self, floor: Floor) -> None:
        """Keep what was signed newer than before, so that nothing older is believed. Raises StorageError."""
        self._save(replace(self._record, floor=self._record.floor.joined(floor)))

    def saw(self, floor: Floor, looked: str, *, failed: bool = False) -> None:
        """Keep what a look found out, or why it failed, and count it. Raises StorageError."""
        record, (day_looks, day_bytes) = self._record, self.today()
        self._save(
            replace(
                record,
                floor=record.floor.joined(floor),
                looked=plain(looked, MAX_REASON_CHARACTERS),
                looked_failed=failed,
                looked_s=self._clock.now_s(),
                looked_count=record.looked_count + 1,
                day=self._day(),
                day_looks=day_looks + 1,
                day_bytes=day_bytes,
            )
        )

    def spent(self, fetched_bytes: int) -> None:
        """Count what was fetched today. Raises StorageError."""
        day_looks, day_bytes = self.today()
        self._save(replace(self._record, day=self._day(), day_looks=day_looks, day_bytes=day_bytes + fetched_bytes))

    def today(self) -> tuple[int, int]:
        """Looks and bytes of today, by the device's clock."""
        record = self._record
        return (record.day_looks, record.day_bytes) if record.day == self._day() else (0, 0)

    def folder_of(self, held: Held) -> Path:
        """The folder of a release that was installed. Raises ReleaseError where it is not there."""
        folder = self.store.release_folder(held.manifest_sha256)
        if folder is None:
            raise ReleaseError(f"release {held.release}: its folder is gone; it is fetched again when it is offered again")
        return folder

    def _day(self) -> int:
        return int(self._clock.now_s() // DAY_S)

    def _save(self, record: Record) -> bool:
        if record == self._record:
            return False
        self._record = self._file.save(record)
        return True


def outcome_of(ended: Ended) -> UpdateOutcome:
    """How a candidate ended, as it is published."""
    return UpdateOutcome(
        release=ended.held.release,
        counter=ended.held.counter,
        manifest_sha256=ended.held.manifest_sha256,
        outcome=ended.result,
        reason=ended.reason,
        at_s=ended.at_s,
    )


def record_state(record: Record, gateway: str, progress: Progress | None) -> UpdateState:
    """How the update stands, by the record and what a child said last. The release inside the package has no name here."""
    running, candidate = speaks(record), record.candidate
    return UpdateState(
        gateway=gateway,
        state=record.stage,
        release="" if running is None else running.release,
        counter=None if running is None else running.counter,
        manifest_sha256=None if running is None else running.manifest_sha256,
        candidate="" if candidate is None else candidate.held.release,
        candidate_counter=None if candidate is None else candidate.held.counter,
        source="" if candidate is None else candidate.source,
        done_bytes=0 if progress is None else progress.done_bytes,
        total_bytes=0 if progress is None else progress.total_bytes,
        reason=record.reason,
        changed_s=record.changed_s or None,
        looked=record.looked,
        looked_s=record.looked_s or None,
        outcomes=tuple(outcome_of(ended) for ended in record.ended),
    )


def read_record(state_dir: Path) -> Record:
    """What is known, read beside a keeper that may be at work. Raises StorageError, RecordLostError."""
    folder = state_dir / FOLDER
    return (RecordFile(folder).load() if folder.is_dir() else None) or Record()
