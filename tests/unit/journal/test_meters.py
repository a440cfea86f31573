"""`edge_agent.journal.meters`: small states by name, each whole or not at all."""

from __future__ import annotations

import sqlite3

from edge_agent.journal.meters import Meters
from edge_agent.journal.rows import meter_row
from edge_agent.journal.schema import migrate


def test_put_replaces_by_name_and_what_is_unchanged_writes_nothing() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    meters = Meters(db)
    meters.put([meter_row("budget", b"1"), meter_row("breaker", b"x")])
    meters.put([meter_row("budget", b"2")])
    assert (meters.body("budget"), meters.body("breaker"), meters.body("none")) == (b"2", b"x", None)
    changes = db.total_changes
    meters.put_body("budget", b"2")
    assert db.total_changes == changes


def test_a_damaged_one_is_none_and_can_be_put_again() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    meters = Meters(db)
    meters.put_body("budget", b"1")
    db.execute("UPDATE meters SET body = x'32'")
    assert meters.body("budget") is None
    meters.put_body("budget", b"2")
    assert meters.body("budget") == b"2"
