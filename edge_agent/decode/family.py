"""What every decoder shares: the Protocol they all keep, their bounds, and the ledger of what they set aside and remember.

Rules: a decoder belongs to one route and one topic, is made by `(route, topic, ledger)`, and has one owner, the screen
worker. A payload of which nothing is usable raises DecodeError; of one that is usable in part, the readings are returned
and each part set aside is noted in the ledger under its reason. A decoder may remember names of streams that it has made;
all decoders of a router together have a bounded room for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_agent.errors import DecodeError
from edge_agent.values import Reading

MAX_READINGS = 4_096
"""The most readings one payload may give."""
MAX_NAME_SOURCE_CHARS = 256
"""The longest text from a payload (a field, a resolved SenML name) that a stream may be named by. Longer ones are refused:
names are made again and again from parts, so their length multiplies with the number of values."""
MAX_REMEMBERED = 131_072
"""Names that all decoders of a router remember together, more than there may be streams; a few hundred bytes each."""
MAX_PAYLOAD_BYTES = 1 << 20
"""The longest payload that is looked at, whatever the configured limit of the MQTT connection."""


class Decoder(Protocol):
    """Reads payloads of one topic."""

    def decode(self, payload: bytes, arrived_s: float) -> list[Reading]:
        """The readings of a payload, at least one and at most MAX_READINGS, every value finite. Raises DecodeError."""


class Ledger:
    """What the decoders of one router keep together.

    Counts, by reason, of what was set aside within messages that were otherwise read, and how many names are remembered.
    """

    __slots__ = ("_counts", "_max_remembered", "_remembered")

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self._counts: dict[str, int] = {}
        self._remembered = 0
        self._max_remembered = max_remembered

    def note(self, reason: str) -> None:
        """Count one thing set aside. Reasons are few and fixed: they become labels of a counter."""
        self._counts[reason] = self._counts.get(reason, 0) + 1

    def take(self) -> dict[str, int]:
        """The counts since the last call."""
        counts, self._counts = self._counts, {}
        return counts

    @property
    def is_full(self) -> bool:
        """Whether there is no room to remember more."""
        return self._remembered >= self._max_remembered

    def may_remember(self, name: str) -> bool:
        """Whether there is room to remember something under this name; if so, the room is taken."""
        if self.is_full or len(name) > MAX_NAME_SOURCE_CHARS:
            return False
        self._remembered += 1
        return True

    def forget(self) -> None:
        """All that was remembered is gone; called by the one who threw the decoders away."""
        self._remembered = 0


def settle(readings: list[Reading], problems: Sequence[DecodeError], ledger: Ledger) -> list[Reading]:
    """The readings of a payload of several parts; the parts set aside are noted. Raises DecodeError when nothing is left."""
    if not readings:
        raise problems[0] if problems else DecodeError("no-value", "there is no number in it")
    for problem in problems:
        ledger.note(problem.reason)
    return readings


def finite(value: int | float) -> float:
    """A JSON number as a float. Raises DecodeError for an integer that no float can hold."""
    try:
        return float(value)
    except OverflowError:
        raise DecodeError("out-of-range", "an integer is larger than a floating-point number can hold") from None
