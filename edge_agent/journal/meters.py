"""Small named states that must survive, such as what is spent of a budget: one checked row each, replaced as a whole.

Rules: runs on the writer thread, inside a transaction. Names that begin with `log-` or `journal` are the journal's own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from edge_agent.journal.rows import MeterRow, Unusable, meter_row, open_meter

_PUT: Final = """
    INSERT INTO meters (name, crc, body) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET crc = excluded.crc, body = excluded.body
    WHERE body != excluded.body OR crc != excluded.crc"""


class Meters:
    """The statements about meters of one writing connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def body(self, name: str) -> bytes | None:
        """What is stored under a name; None for nothing or something damaged."""
        row = self._db.execute("SELECT crc, body, name FROM meters WHERE name = ?", (name,)).fetchone()
        body = open_meter(*row) if row is not None else None
        return None if isinstance(body, Unusable) else body

    def put(self, meters: Iterable[MeterRow]) -> None:
        """Store each under its name; one that did not change costs no write."""
        self._db.executemany(_PUT, [(meter.name, meter.crc, meter.body) for meter in meters])

    def put_body(self, name: str, body: bytes) -> None:
        """Store one of the journal's own."""
        self.put([meter_row(name, body)])
