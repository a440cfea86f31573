"""Times of day at which questions may leave, for links that are paid by the hour or shared with others.

A window `22:00-06:00` holds from its first minute to the one before its last, over midnight where it ends before it begins;
equal ends mean the whole day. The times are those of a zone's wall clock: a window that begins in the hour which a clock
skips in spring opens with the hour after it, one inside that hour not at all that day, and one in the hour that it repeats in
autumn is open twice.

Rules: pure. While the clock has not been set (it shows a time before 2020) nobody knows the time of day: windows are then
closed for the first day of running and open from then on. No question would wait longer than a day for a window by a right
clock either, so a gateway that never gets the time is not locked out, and one that gets it a minute after its start, which
is the usual case, never uses a link at the wrong time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeAlias

from edge_agent.escalate.state import CLOCK_SET_S, DAY_S

Window: TypeAlias = tuple[int, int]
"""Minutes after midnight: the first that belongs to it, and the first that does not."""

_MINUTES = 24 * 60
_HORIZON_MINUTES = 3 * _MINUTES
"""Every window opens at least once in so long, also where a clock skips it on one day."""
_FORM = re.compile(r"([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])")


def parse(texts: Iterable[str]) -> tuple[Window, ...]:
    """Read `HH:MM-HH:MM`; 24:00 is the end of a day. Raises ValueError for what is none, which settings never are."""
    return tuple(map(_parse_one, texts))


def open_now(windows: Sequence[Window], zone: tzinfo, now_s: float, running_s: float) -> bool:
    """Whether a question may leave at `now_s`. No windows: always. `running_s` counts where the clock is not set."""
    if not windows:
        return True
    local = _local(now_s, zone)
    if local is None:
        return running_s >= DAY_S
    minute = local.hour * 60 + local.minute
    return any(_within(window, minute) for window in windows)


def opens_in_s(windows: Sequence[Window], zone: tzinfo, now_s: float, running_s: float) -> float:
    """How long until a question may leave; 0 when it may now."""
    if open_now(windows, zone, now_s, running_s):
        return 0.0
    local = _local(now_s, zone)
    if local is None:
        return max(DAY_S - running_s, 0.0)
    within_minute_s = local.second + local.microsecond / 1e6
    minute = local.hour * 60 + local.minute
    ahead = min((begin - minute) % _MINUTES or _MINUTES for begin, _ in windows)
    arrival = _local(now_s + ahead * 60 - within_minute_s, zone)
    if arrival is not None and arrival.utcoffset() == local.utcoffset():
        return ahead * 60 - within_minute_s
    # The clock is changed on the way: look at every minute.
    for ahead in range(1, _HORIZON_MINUTES):
        if open_now(windows, zone, now_s + ahead * 60 - within_minute_s, running_s):
            return ahead * 60 - within_minute_s
    return DAY_S


def _parse_one(text: str) -> Window:
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is no window; write HH:MM-HH:MM, such as 22:00-06:00")
    first, last = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    if first > _MINUTES or last > _MINUTES:
        raise ValueError(f"`{text}` has a time after 24:00")
    return first % _MINUTES, last


def _within(window: Window, minute: int) -> bool:
    begin, end = window
    if begin == end % _MINUTES:
        return True
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def _local(now_s: float, zone: tzinfo) -> datetime | None:
    """The zone's wall clock; None while the clock has not been set or shows what no calendar has."""
    if not now_s >= CLOCK_SET_S:
        return None
    try:
        return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=now_s)).astimezone(zone)
    except (OverflowError, ValueError):
        return None
