"""What a text says of an incident, apart from any wording: the values that a reader makes and a judge weighs.

Rules: frozen; a thing that is not said is None, empty or False; numbers are kept as they were printed.
"""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from edge_agent.values import KINDS, Kind

State = Literal["ongoing", "returned", "adopted"]
"""How an anomaly is said to stand."""
ANY: frozenset[Kind] = frozenset(KINDS)


class UnreadableError(ValueError):
    """The text, from some place on, is no statement that is known."""


class Number(Struct, frozen=True):
    """A number as it stands in a text, with its unit."""

    digits: Decimal
    unit: str


class Moment(Struct, frozen=True, kw_only=True):
    """A time as it stands in a text; zone and date are those last told."""

    hour: int
    minute: int
    second: int
    zone: str
    day: date
    around: bool


class Claim(Struct, frozen=True, kw_only=True):
    """What a text says of one stream, or of several at once. What it does not say is None, empty or False."""

    names: tuple[str, ...]
    kinds: frozenset[Kind] = ANY
    """The kinds of anomaly of which the words can be true."""
    up: bool | None = None
    moved_together: bool = False
    reached: Number | None = None
    usual: Number | None = None
    spread: Number | None = None
    spread_usual: Number | None = None
    lead: str = ""
    lead_reached: Number | None = None
    time: Moment | None = None
    state: State | None = None
    lasted_s: tuple[float, float] | None = None
    """The least and the most seconds that the printed duration can stand for."""
    relation: Literal["", "same-time", "then"] = ""


class Past(Struct, frozen=True):
    """What a text says of a similar past incident."""

    day: date
    asset: str
    cause: str


class Told(Struct, frozen=True, kw_only=True):
    """A whole text. `counted` is the number of further anomalies, or of all where `counted_asset` is told instead of any."""

    claims: tuple[Claim, ...]
    counted: int | None = None
    counted_asset: str = ""
    past: Past | None = None


def plain(text: str) -> str:
    """A name, unit or cause as a person reads it: visible characters, single blanks, double quotes as single ones."""
    seen = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(seen.replace('"', "'").split())


def half_a_digit(value: float, digits: int) -> float:
    """Half of one unit in the last of so many significant digits of a value."""
    return 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1) if value else 0.0
