"""Times in payloads: reading them, and deciding whether to believe them.

Rules: a time may be a number (seconds, or milliseconds, microseconds, nanoseconds, told apart by size where the unit is
`auto`) or an ISO 8601 text. It is believed when it lies in a window around the time of arrival; otherwise the time of
arrival is used and the reason is noted:

* `bad-time`: not readable as a time;
* `time-out-of-window`: readable, but too old or too far ahead (a device that starts in 1970 or 2000 without a clock);
* `clock-unset`: the gateway's own clock stands before CLOCK_FLOOR_S, so no time of another can be judged by it. Then all
  readings carry the time of arrival: it is wrong, but it is one time line, on which streams with and without times of
  their own can be compared.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.config.settings import TimedRoute
from edge_agent.decode.family import Ledger

CLOCK_FLOOR_S = 1_672_531_200.0
"""2023-01-01T00:00:00Z: no gateway can truly have run this software before it was written."""

SCALE_S: dict[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_MAX_TEXT_CHARS = 40
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{0,12})?")


class TimeReader:
    """Reads and judges the times of one route."""

    __slots__ = ("_age_s", "_ahead_s", "_ledger", "_scale_s", "_seconds", "_zone")

    def __init__(self, route: TimedRoute, ledger: Ledger, *, unit: str = "auto", zone: str = "UTC") -> None:
        self._age_s = -route.time_max_age_s
        self._ahead_s = route.time_max_ahead_s
        self._ledger = ledger
        self._scale_s = SCALE_S.get(unit)
        self._seconds = unit in ("auto", "s")
        self._zone = _zone(zone)

    def read(self, value: Any, arrived_s: float) -> float:
        """The time, in seconds, of something that arrived at `arrived_s` and says `value`, from JSON, about its time."""
        kind = type(value)
        if (  # the usual case first: it is on the path of every message
            kind is float and self._seconds and arrived_s >= CLOCK_FLOOR_S and self._age_s <= value - arrived_s <= self._ahead_s
        ):
            return value  # type: ignore[no-any-return]  # `kind` says it is a float
        time_s: float | None = None
        if kind is float or kind is int:
            time_s = self._scaled(value)
        elif kind is str:
            time_s = self._text(value)
        if time_s is None:
            self._ledger.note("bad-time")
            return arrived_s
        return self.judge(time_s, arrived_s)

    def judge(self, time_s: float, arrived_s: float) -> float:
        """`time_s` if it can be believed, else `arrived_s`, noted."""
        if arrived_s < CLOCK_FLOOR_S:
            self._ledger.note("clock-unset")
            return arrived_s
        if self._age_s <= time_s - arrived_s <= self._ahead_s:
            return time_s
        self._ledger.note("time-out-of-window")
        return arrived_s

    def _scaled(self, value: int | float) -> float | None:
        scale_s = self._scale_s
        if scale_s is None:
            if value < 1e11:  # seconds until the year 5138; as milliseconds 1973, and so on a thousandfold each
                return float(value) if value > -1e11 else None
            scale_s = 1e-3 if value < 1e14 else 1e-6 if value < 1e17 else 1e-9
        try:
            return value * scale_s
        except OverflowError:
            return None

    def _text(self, text: str) -> float | None:
        text = text.strip()
        if len(text) > _MAX_TEXT_CHARS:
            return None
        if _NUMBER.fullmatch(text):
            return self._scaled(float(text))
        try:
            moment = datetime.fromisoformat(text.upper())
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._zone)
            return moment.timestamp()
        except (ValueError, OverflowError):
            return None


def _zone(name: str) -> tzinfo:
    """The zone by its IANA name; UTC where the system does not know it, which `check` has said before."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
