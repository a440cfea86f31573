"""What `Retry-After` may say: seconds or a date, and anything else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.escalate.retry_after import MAX_RETRY_AFTER_S, retry_after_s

NOW_S = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("86401", MAX_RETRY_AFTER_S),
        ("9" * 300, MAX_RETRY_AFTER_S),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 09:50:37 +0100", 60.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Tue, 06 Nov 2040 08:49:37 GMT", MAX_RETRY_AFTER_S),
        ("", None),
        ("-5", None),
        ("5, 10", None),
        ("soon", None),
        ("1e9", None),
        ("NaN", None),
        ("inf", None),
        ("٣", None),
        ("9" * 301, None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT" + " " * 100 + "x", None),
    ],
)
def test_every_form(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}, NOW_S) == seconds


def test_nothing_said() -> None:
    assert retry_after_s({}, NOW_S) is None


def test_a_date_counts_from_the_servers_own_clock() -> None:
    headers = {"retry-after": "Sun, 06 Nov 1994 08:50:37 GMT", "date": "Sun, 06 Nov 1994 08:50:07 GMT"}
    for now_s in (0.0, NOW_S, 4e9):
        assert retry_after_s(headers, now_s) == 30.0
    assert retry_after_s({**headers, "date": "now"}, NOW_S) == 60.0


def test_milliseconds_go_before_seconds() -> None:
    assert retry_after_s({"retry-after": "2", "retry-after-ms": "1250"}, NOW_S) == 1.25
    assert retry_after_s({"retry-after": "2", "retry-after-ms": "-1"}, NOW_S) == 2.0


@given(st.text() | st.from_regex(r"\w{3}, \d{1,9} \w{3} \d{1,9} \d+:\d+:\d+ \S*", fullmatch=True), st.text(max_size=40))
@settings(max_examples=200)
def test_no_text_raises_or_leaves_the_bounds(text: str, date: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        found = retry_after_s({name: text, "date": date}, NOW_S)
        assert found is None or 0 <= found <= MAX_RETRY_AFTER_S
