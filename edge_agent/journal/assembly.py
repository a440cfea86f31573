"""Opens the file and puts together what the writer thread owns.

Rules: call with the lock held; everything is read before the thread starts, and from then on the thread is the only owner.
On a disk that is full to the last block the reserve is given back, so that even then the journal can be opened and read. A
file that is larger than its limit, which was lowered, is made smaller: what may go goes, by the same policy as ever and
counted, and the rest is copied into a smaller file.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import Final

from msgspec.structs import replace

from edge_agent.clock import Clock
from edge_agent.config.settings import JournalSettings
from edge_agent.errors import StorageError
from edge_agent.journal.ageing import Ageing
from edge_agent.journal.compaction import compact, forget
from edge_agent.journal.drops import Tombstone
from edge_agent.journal.ledger import Ledger
from edge_agent.journal.limits import limits_of
from edge_agent.journal.meters import Meters
from edge_agent.journal.opening import open_database
from edge_agent.journal.operations import Operations
from edge_agent.journal.records import OpeningReport
from edge_agent.journal.room import Room, keep_reserve, release_reserve
from edge_agent.journal.schema import file_pages, reserve_bytes
from edge_agent.journal.store import Store
from edge_agent.journal.trouble import DAMAGE_ERRORS, disk_is_full, storage_error
from edge_agent.journal.upkeep import Upkeep
from edge_agent.journal.wear import Wear

_FILL: Final = 32
"""A file that was made smaller keeps this part of its limit free."""

_log = logging.getLogger(__name__)


def open_store(path: str, settings: JournalSettings, clock: Clock, tombstone: Tombstone | None) -> tuple[Store, OpeningReport]:
    """The store of a file that is whole, of the newest version and no larger than it may be, and what was found.

    Raises StorageError.
    """
    forget(path)
    db, report = _open(path, settings, clock)
    store = _store(path, db, settings, clock, tombstone, created=report.created)
    limit = file_pages(db, settings.max_bytes)
    if _pages(db) <= limit:
        return store, report
    worth = store.fit(limit - limit // _FILL)
    store.close()
    smaller_bytes = compact(path, settings.max_bytes) if worth else 0
    _log.warning("%s: larger than journal.max_bytes; made smaller by %d bytes", path, smaller_bytes)
    db, _ = _open(path, settings, clock)
    return _store(path, db, settings, clock, tombstone, created=False), replace(report, smaller_bytes=smaller_bytes)


def make_store(
    path: str, db: sqlite3.Connection, settings: JournalSettings, clock: Clock, tombstone: Tombstone | None, *, created: bool
) -> Store:
    """The store of a freshly opened file, with what it knows about its content. Raises `DAMAGE_ERRORS`.

    A file that was `created` gets its reserve at once, below the floor too: it is the least that it needs.
    """
    ledger = Ledger()
    newest_s = ledger.load(db)
    upkeep = Upkeep(Ageing(clock, settings.max_message_age_s / 4), Wear(clock, settings.max_write_bytes_per_day))
    upkeep.load(Meters(db), newest_s)
    room = Room(path, db, settings.max_bytes, settings.min_free_bytes)
    if created:
        keep_reserve(path, reserve_bytes(settings.max_bytes))
    operations = Operations(db, ledger, limits_of(settings), clock, upkeep, tombstone)
    return Store(path, db, ledger, operations, room, upkeep)


def _open(path: str, settings: JournalSettings, clock: Clock) -> tuple[sqlite3.Connection, OpeningReport]:
    try:
        return open_database(path, settings.max_bytes, clock)
    except StorageError:
        if not (disk_is_full(path) and release_reserve(path)):
            raise
    _log.error("%s: no space left on its file system; opened with the reserve", path)
    return open_database(path, settings.max_bytes, clock)


def _store(
    path: str, db: sqlite3.Connection, settings: JournalSettings, clock: Clock, tombstone: Tombstone | None, *, created: bool
) -> Store:
    try:
        return make_store(path, db, settings, clock, tombstone, created=created)
    except DAMAGE_ERRORS as error:
        db.close()
        raise storage_error(error, path, "opening") from error


def _pages(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA page_count").fetchone()[0])
