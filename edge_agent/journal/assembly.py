"""Puts together what the writer thread owns, from a freshly opened file.

Rules: everything is read before the thread starts; from then on the thread is the only owner.
"""

from __future__ import annotations

import sqlite3

from edge_agent.clock import Clock
from edge_agent.config.settings import JournalSettings
from edge_agent.journal.ageing import Ageing
from edge_agent.journal.drops import Tombstone
from edge_agent.journal.ledger import Ledger
from edge_agent.journal.limits import limits_of
from edge_agent.journal.meters import Meters
from edge_agent.journal.operations import Operations
from edge_agent.journal.room import Room, keep_reserve
from edge_agent.journal.schema import reserve_bytes
from edge_agent.journal.store import Store
from edge_agent.journal.upkeep import Upkeep
from edge_agent.journal.wear import Wear


def make_store(
    path: str, db: sqlite3.Connection, settings: JournalSettings, clock: Clock, tombstone: Tombstone | None, *, created: bool
) -> Store:
    """The store of a freshly opened file, with what it knows about its content. Raises `DAMAGE_ERRORS`.

    A file that was `created` gets its reserve at once, below the floor too: it is the least that it needs.
    """
    ledger = Ledger()
    newest_s = ledger.load(db)
    upkeep = Upkeep(Ageing(clock, settings.max_message_age_s / 4), Wear(clock, settings.max_write_bytes_per_day))
    meters = Meters(db)
    upkeep.load(meters, newest_s)
    room = Room(path, db, settings.max_bytes, settings.min_free_bytes)
    if created:
        keep_reserve(path, reserve_bytes(settings.max_bytes))
    operations = Operations(db, ledger, limits_of(settings), clock, upkeep, tombstone)
    return Store(path, db, ledger, operations, room, upkeep)
