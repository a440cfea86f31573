"""What the journal keeps about itself as meters: how long messages have waited, and what was written in the last day.

Rules: saved with a transaction that writes anyway, seldom enough to cost next to nothing, and when the journal is closed.
"""

from __future__ import annotations

from msgspec import Struct

from edge_agent.journal import ageing, wear
from edge_agent.journal.ageing import Ageing
from edge_agent.journal.meters import Meters
from edge_agent.journal.wear import Wear


class Upkeep(Struct, frozen=True):
    """The two counts of one journal. One owner, the writer thread."""

    ageing: Ageing
    wear: Wear

    @property
    def due(self) -> bool:
        """Whether either is to be saved."""
        return self.ageing.due or self.wear.due

    def load(self, meters: Meters, newest_s: float) -> None:
        """Go on from what was saved; `newest_s` is the newest message's count."""
        self.ageing.load(meters.body(ageing.METER), newest_s)
        self.wear.load(meters.body(wear.METER))

    def save(self, meters: Meters) -> None:
        """Store both."""
        meters.put_body(ageing.METER, self.ageing.body())
        meters.put_body(wear.METER, self.wear.body())
