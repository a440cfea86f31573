"""Times as documents write and read them."""

from __future__ import annotations

import math

import pytest

from edge_agent.messages.times import format_time, parse_time


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1_795_341_600.0, "2026-11-22T10:00:00Z"),
        (1_795_341_600.5, "2026-11-22T10:00:00.5Z"),
        (1_795_341_600.000001, "2026-11-22T10:00:00.000001Z"),
        (1_795_341_600.9999999, "2026-11-22T10:00:01Z"),
        (-0.25, "1969-12-31T23:59:59.75Z"),
        (1_795_341_610.0, "2026-11-22T10:00:10Z"),
    ],
)
def test_times_are_utc_with_a_z_and_no_trailing_zeros(time_s: float, text: str) -> None:
    assert format_time(time_s) == text
    assert abs(parse_time(text) - time_s) <= 1e-6


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (1e30, "9999-12-31T23:59:59.999999Z"),
        (-1e30, "0001-01-01T00:00:00Z"),
        (math.inf, "1970-01-01T00:00:00Z"),
        (math.nan, "1970-01-01T00:00:00Z"),
    ],
)
def test_a_time_that_no_calendar_has_is_written_all_the_same(time_s: float, text: str) -> None:
    assert format_time(time_s) == text


@pytest.mark.parametrize(
    "given",
    [
        "2026-11-22T10:00:00Z",
        "2026-11-22T11:00:00+01:00",
        "2026-11-22 10:00:00",
        "20261122T100000Z",
        1_795_341_600,
        1_795_341_600.0,
    ],
)
def test_other_ways_to_write_the_same_time_are_read(given: object) -> None:
    assert parse_time(given) == 1_795_341_600.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("yesterday", "is no ISO 8601 time"),
        ("2026-02-30T00:00:00Z", "is no ISO 8601 time"),
        ("2026-11-22T10:00:00." + "0" * 30 + "Z", "is no ISO 8601 time"),
        ("0001-01-01T00:00:00+23:59", "is no ISO 8601 time"),
        ("", "is no ISO 8601 time"),
        (True, "is no time"),
        (None, "is no time"),
        ([], "is no time"),
        (1_795_341_600_000, "divide by 1000"),
        (1e300, "outside of the years 1 to 9999"),
        (10**400, "outside of the years 1 to 9999"),
        (math.inf, "outside of the years 1 to 9999"),
        (math.nan, "outside of the years 1 to 9999"),
    ],
)
def test_what_is_no_time_is_refused_with_what_was_expected(given: object, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_time(given)
