"""Which message a broker will never take: the one whose publishing makes it end the connection, or that it refuses for ever.

A broker of MQTT 3.1.1 can only close the connection on a message that it forbids or finds too large, and some of MQTT 5 do
the same. Sent again first thing on every new connection, such a message would hold up all others for ever.

Rules: pure; time comes in as monotonic seconds. A bad network never condemns a message. So a suspicion alone only makes
us careful: messages go one by one, on a connection that has held for `QUIET_S`. A message is condemned when `ALONE`
connections in a row were ended by the broker within `WITHIN_S` of sending it, while nothing else was under way, not even
what the link publishes by itself. A connection that ends while nothing is under way clears the suspicion, because it shows
that they end without our doing.
"""

from __future__ import annotations

from collections.abc import Collection

from edge_agent.mqtt import Fate

SUSPECT_AFTER = 2
"""Connections in a row that the broker ended with the same oldest message unconfirmed, before we are careful."""
ALONE = 3
QUIET_S = 2.0
"""Longer than a broker takes to end a connection for what was sent at its beginning, by us or by someone with our name."""
WITHIN_S = 5.0
"""A message that is taken is confirmed within a round trip, which over a satellite or GPRS is a second or two."""
UNCLEAR_REFUSALS = 5
"""How often a message may be refused without a reason."""
MAX_COUNTED = 1_000
"""Messages whose refusals are counted at a time; what is dropped from the outbox meanwhile is never settled."""


class Suspicion:
    """What ended connections say about messages, by number in the outbox."""

    def __init__(self) -> None:
        self._oldest = 0
        self._closings = 0
        self._until = 0
        """While above 0 we are careful, up to the message of this number."""
        self._alone = 0
        self._strikes = 0
        self._refusals: dict[int, int] = {}

    @property
    def careful(self) -> bool:
        """Whether messages go one by one, on a connection that has held for a while."""
        return self._until > 0

    def ended(self, under_way: Collection[int], fate: Fate, *, sent_s: float, ended_s: float) -> int | None:
        """A connection ended with these messages under way, all of that fate, the last of them sent at `sent_s`.

        A number: that message is condemned.
        """
        if not under_way:
            self._clear()
        elif self.careful:
            if len(under_way) == 1 and fate == "closed-upon" and ended_s - sent_s <= WITHIN_S:
                return self._struck(min(under_way))
        elif fate in ("closed", "closed-upon"):
            oldest = min(under_way)
            self._closings = self._closings + 1 if oldest == self._oldest else 1
            self._oldest = oldest
            if self._closings >= SUSPECT_AFTER:
                self._until = max(under_way)
        return None

    def refused(self, number: int) -> bool:
        """The broker refused a message without saying why; True if it is condemned."""
        if len(self._refusals) >= MAX_COUNTED:
            self._refusals.clear()
        refusals = self._refusals.get(number, 0) + 1
        self._refusals[number] = refusals
        return refusals >= UNCLEAR_REFUSALS

    def settled(self, number: int) -> None:
        """A message is out of the way: confirmed or given up."""
        self._refusals.pop(number, None)
        if number >= self._until if self.careful else number == self._oldest:
            self._clear()

    def _struck(self, number: int) -> int | None:
        self._strikes = self._strikes + 1 if number == self._alone else 1
        self._alone = number
        return number if self._strikes >= ALONE else None

    def _clear(self) -> None:
        self._oldest = self._closings = self._until = self._alone = self._strikes = 0
