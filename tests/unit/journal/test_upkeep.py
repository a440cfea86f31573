"""`edge_agent.journal.upkeep`: both counts are saved together and found again."""

from __future__ import annotations

import sqlite3

from edge_agent.journal.ageing import SAVE_S
from edge_agent.journal.meters import Meters
from edge_agent.journal.schema import migrate
from tests.journals import TwoClocks, upkeep


def test_saved_and_loaded() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    clock = TwoClocks()
    first = upkeep(clock)
    first.load(Meters(db), 5.0)
    assert (first.ageing.lived_s, first.due) == (5.0, False)
    clock.pass_s(SAVE_S)
    assert first.due
    first.save(Meters(db))
    assert not first.due
    second = upkeep(TwoClocks(clock.wall_s))
    second.load(Meters(db), 0.0)
    assert second.ageing.lived_s == 5.0 + SAVE_S
