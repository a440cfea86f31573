"""Times in documents: ISO 8601 in UTC, with a `Z` and up to microseconds.

Rules: a time that was written is read back within a microsecond, and writing what was read gives the same text. A time
that no calendar has (before the year 1, after 9999) is written as the nearest one that it has: publishing never fails.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_MAX_CHARACTERS = 40


def format_time(time_s: float) -> str:
    """Write seconds since 1970-01-01T00:00:00Z, rounded to microseconds, without trailing zeros: `2026-11-22T10:00:00.5Z`."""
    microseconds = round(min(max(time_s * 1e6, _FIRST_US), _LAST_US)) if math.isfinite(time_s) else 0
    moment = _EPOCH + min(max(microseconds, _FIRST_US), _LAST_US) * _MICROSECOND
    text = moment.replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if moment.microsecond else text) + "Z"


def parse_time(value: object) -> float:
    """Read a time as seconds since 1970-01-01T00:00:00Z: ISO 8601 text, in UTC where it names no zone, or that number itself.

    Raises ValueError, whose text says what was expected, for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        expected = 'text such as "2026-11-22T10:00:00Z" or seconds since 1970 as a number'
        raise ValueError(f"is no time; expected {expected}")  # noqa: TRY004 - callers tell all bad times alike
    if isinstance(value, str):
        return _parse_text(value)
    if not _FIRST_US / 1e6 <= value <= _LAST_US / 1e6:
        hint = "; it looks like milliseconds: divide by 1000" if abs(value) < 1e14 else ""
        raise ValueError(f"lies outside of the years 1 to 9999 as seconds since 1970{hint}")
    return float(value)


def _parse_text(text: str) -> float:
    refusal = f'{text[:_MAX_CHARACTERS]!r} is no ISO 8601 time; expected such as "2026-11-22T10:00:00Z"'
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(refusal)
    try:
        moment = datetime.fromisoformat(text.strip())
        utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(refusal) from None
    return ((utc - _EPOCH) // _MICROSECOND) / 1e6
