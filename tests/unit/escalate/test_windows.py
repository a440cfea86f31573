"""Windows: times of day by a zone's wall clock, over midnight, over changes of the clock, and without a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edge_agent.escalate.state import DAY_S
from edge_agent.escalate.windows import open_now, opens_in_s, parse

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = parse(["22:00-06:00"])


def utc_s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def berlin_s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def test_without_windows_it_is_always_open() -> None:
    assert open_now((), UTC, 0.0, 0.0)
    assert opens_in_s((), UTC, 0.0, 0.0) == 0.0


@pytest.mark.parametrize(
    ("window", "time", "is_open"),
    [
        ("09:00-17:00", "09:00:00", True),
        ("09:00-17:00", "08:59:59", False),
        ("09:00-17:00", "16:59:59", True),
        ("09:00-17:00", "17:00:00", False),
        ("22:00-06:00", "23:30:00", True),
        ("22:00-06:00", "00:00:00", True),
        ("22:00-06:00", "05:59:59", True),
        ("22:00-06:00", "06:00:00", False),
        ("12:00-12:00", "03:00:00", True),
        ("00:00-24:00", "23:59:59", True),
        ("24:00-01:00", "00:30:00", True),
        ("20:00-24:00", "23:59:59", True),
        ("20:00-24:00", "00:00:00", False),
        ("20:00-00:00", "23:59:59", True),
        ("20:00-00:00", "00:00:00", False),
    ],
)
def test_the_first_minute_belongs_to_it_and_the_last_does_not(window: str, time: str, is_open: bool) -> None:
    now_s = utc_s(f"2026-11-22T{time}")
    assert open_now(parse([window]), UTC, now_s, 0.0) is is_open
    assert (opens_in_s(parse([window]), UTC, now_s, 0.0) == 0.0) is is_open


@pytest.mark.parametrize("text", ["25:00-26:00", "24:01-01:00", "9:00-10:00", "09:60-10:00", "09:00", "", "09:00-17:00 "])
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ValueError, match=r"no window|after 24:00"):
        parse([text])


def test_the_zone_decides() -> None:
    assert open_now(NIGHT, BERLIN, utc_s("2026-11-22T21:00:00"), 0.0)  # 22:00 in Berlin
    assert not open_now(NIGHT, UTC, utc_s("2026-11-22T21:00:00"), 0.0)


def test_the_nearest_of_several_counts() -> None:
    windows = parse(["03:00-04:00", "12:00-13:00"])
    assert opens_in_s(windows, UTC, utc_s("2026-11-22T11:59:30.5"), 0.0) == 29.5
    assert opens_in_s(windows, UTC, utc_s("2026-11-22T13:00:00"), 0.0) == 14 * 3_600.0


def test_in_spring_a_window_opens_with_the_hour_after_the_one_that_is_skipped() -> None:
    """2026-03-29 in Berlin: 02:00 is followed by 03:00."""
    now_s = berlin_s("2026-03-29T01:30:00")
    assert opens_in_s(parse(["02:30-04:00"]), BERLIN, now_s, 0.0) == 1_800.0
    assert open_now(parse(["02:30-04:00"]), BERLIN, now_s + 1_800.0, 0.0)


def test_in_spring_a_window_inside_the_skipped_hour_waits_for_the_next_day() -> None:
    now_s = berlin_s("2026-03-29T01:30:00")
    waits_s = opens_in_s(parse(["02:15-02:45"]), BERLIN, now_s, 0.0)
    opened = datetime.fromtimestamp(now_s + waits_s, BERLIN)
    assert opened == datetime(2026, 3, 30, 2, 15, tzinfo=BERLIN)


def test_in_autumn_a_window_in_the_repeated_hour_is_open_twice() -> None:
    """2026-10-25 in Berlin: 03:00 is followed by 02:00."""
    first_s = datetime(2026, 10, 25, 2, 20, tzinfo=BERLIN, fold=0).timestamp()
    assert open_now(parse(["02:00-02:30"]), BERLIN, first_s, 0.0)
    assert opens_in_s(parse(["02:00-02:30"]), BERLIN, first_s + 20 * 60, 0.0) == 20 * 60.0
    assert open_now(parse(["02:00-02:30"]), BERLIN, first_s + 3_600.0, 0.0)


def test_when_it_says_it_opens_it_is_open_and_not_a_minute_before() -> None:
    for zone in (UTC, BERLIN, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu")):
        start = datetime(2026, 3, 27, 0, 0, 17, tzinfo=UTC)
        for hours in range(0, 24 * 14, 5):
            now_s = (start + timedelta(hours=hours)).timestamp()
            waits_s = opens_in_s(parse(["02:05-02:50"]), zone, now_s, 0.0)
            assert open_now(parse(["02:05-02:50"]), zone, now_s + waits_s, 0.0)
            assert waits_s == 0.0 or not open_now(parse(["02:05-02:50"]), zone, now_s + waits_s - 30.0, 0.0)


@pytest.mark.parametrize("now_s", [0.0, 1_000_000.0, -5.0, 1e300, float("nan"), float("inf")])
def test_without_a_clock_it_is_closed_for_a_day_of_running_and_then_open(now_s: float) -> None:
    assert not open_now(NIGHT, BERLIN, now_s, DAY_S - 60.0)
    assert opens_in_s(NIGHT, BERLIN, now_s, DAY_S - 60.0) == 60.0
    assert open_now(NIGHT, BERLIN, now_s, DAY_S)
    assert opens_in_s(NIGHT, BERLIN, now_s, DAY_S) == 0.0
