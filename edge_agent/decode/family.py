"""What every decoder shares: the Protocol they all keep, their bounds, and the counts of what they set aside.

Rules: a decoder belongs to one route and one topic, is made by `(route, topic, notes)`, and has one owner, the screen
worker. A payload of which nothing is usable raises DecodeError; of one that is usable in part, the readings are returned
and each part set aside is counted in the notes under its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_agent.errors import DecodeError
from edge_agent.values import Reading

MAX_READINGS = 4_096
"""The most readings one payload may give."""
MAX_PAYLOAD_BYTES = 1 << 20
"""The longest payload that is looked at, whatever the configured limit of the MQTT connection."""


class Decoder(Protocol):
    """Reads payloads of one topic."""

    def decode(self, payload: bytes, arrived_s: float) -> list[Reading]:
        """The readings of a payload, at least one and at most MAX_READINGS, every value finite. Raises DecodeError."""


class Notes:
    """Counts, by reason, of what was set aside within messages that were otherwise read."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def note(self, reason: str) -> None:
        """Count one thing set aside. Reasons are few and fixed: they become labels of a counter."""
        self._counts[reason] = self._counts.get(reason, 0) + 1

    def take(self) -> dict[str, int]:
        """The counts since the last call."""
        counts, self._counts = self._counts, {}
        return counts


def settle(readings: list[Reading], problems: Sequence[DecodeError], notes: Notes) -> list[Reading]:
    """The readings of a payload of several parts; the parts set aside are noted. Raises DecodeError when nothing is left."""
    if not readings:
        raise problems[0] if problems else DecodeError("no-value", "there is no number in it")
    for problem in problems:
        notes.note(problem.reason)
    return readings


def finite(value: int | float) -> float:
    """A JSON number as a float. Raises DecodeError for an integer that no float can hold."""
    try:
        return float(value)
    except OverflowError:
        raise DecodeError("out-of-range", "an integer is larger than a floating-point number can hold") from None
