"""How long a server asks to be left alone: the header `Retry-After` in both its forms, and `retry-after-ms`.

Rules: pure; what cannot be read counts as nothing said; nothing keeps the agent away for longer than a day. A date is
measured against the answer's own `Date`, so that a device whose clock is wrong still waits as long as was asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 86_400.0
_NUMBER = re.compile(r"[0-9]{1,300}(?:\.[0-9]{1,20})?")


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds until the server wants to be asked again, within 0 and a day; None where it says nothing that can be read.

    `headers` by names in small letters; `now_s` counts where the answer has no `Date`. RFC 9110, sections 10.2.3 and 5.6.7:
    seconds, or a date in any of three forms. `retry-after-ms` is what some model servers add because a second is coarse.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return min(float(milliseconds) / 1_000, MAX_RETRY_AFTER_S)
    asked = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(asked):
        return min(float(asked), MAX_RETRY_AFTER_S)
    until_s = _date_s(asked)
    if until_s is None:
        return None
    said_s = _date_s(headers.get("date", ""))
    return min(max(until_s - (now_s if said_s is None else said_s), 0.0), MAX_RETRY_AFTER_S)


def _date_s(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date: `Sun, 06 Nov 1994 08:49:37 GMT`, and the forms of RFC 850 and of asctime."""
    if not text or len(text) > 64:
        return None
    try:
        date = parsedate_to_datetime(text)
        # Only asctime's form names no zone, and it is in UTC.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):  # what it raises for what is no date, by its version
        return None
