"""Times in payloads: units, texts, zones, and when they are believed."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.config.settings import JsonRoute
from edge_agent.decode.family import Ledger
from edge_agent.decode.times import CLOCK_FLOOR_S, TimeReader

NOW_S = 1_790_000_000.0  # 2026-09-21T14:13:20Z


def read(value: Any, arrived_s: float = NOW_S, *, unit: str = "auto", zone: str = "UTC") -> tuple[float, dict[str, int]]:
    notes = Ledger()
    time_s = TimeReader(JsonRoute(topic="t"), notes, unit=unit, zone=zone).read(value, arrived_s)
    return time_s, notes.take()


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (NOW_S - 5, "auto"),
        (1_789_999_995, "auto"),
        (1_789_999_995_000, "auto"),
        (1_789_999_995_000.0, "auto"),
        (1_789_999_995_000_000, "auto"),
        (1_789_999_995_000_000_000, "auto"),
        (1_789_999_995, "s"),
        (1_789_999_995_000, "ms"),
        (1_789_999_995_000_000.0, "us"),
        (1_789_999_995_000_000_000, "ns"),
        ("1789999995", "auto"),
        ("1789999995000", "ms"),
        ("2026-09-21T14:13:15Z", "auto"),
        ("2026-09-21t14:13:15.000000000z", "auto"),
        (" 2026-09-21 14:13:15 ", "auto"),
        ("20260921T141315Z", "auto"),
        ("2026-09-21T16:13:15+02:00", "auto"),
    ],
)
def test_five_seconds_ago_in_every_form(value: object, unit: str) -> None:
    time_s, notes = read(value, unit=unit)
    assert time_s == pytest.approx(NOW_S - 5, abs=1e-5)
    assert notes == {}


def test_a_text_without_a_zone_is_of_the_configured_one() -> None:
    assert read("2026-09-21T16:13:15", zone="Europe/Berlin")[0] == NOW_S - 5
    assert read("2026-09-21T14:13:15", zone="No/Where")[0] == NOW_S - 5


@pytest.mark.parametrize(
    "value", [True, [], {}, "", "soon", "nan", "inf", "1e400", "9" * 41, "2026-13-01", "0x10", "-5", -1e12, -(10**300)]
)
def test_what_is_no_time(value: object) -> None:
    assert read(value) == (NOW_S, {"bad-time": 1})


@pytest.mark.parametrize(
    "value", [0, 12.5, 10**300, NOW_S - 604_801, NOW_S + 86_401, "1999-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
def test_what_is_too_far_from_the_arrival(value: object) -> None:
    assert read(value) == (NOW_S, {"time-out-of-window": 1})


def test_the_window_is_a_week_back_and_a_day_ahead_unless_configured() -> None:
    assert read(NOW_S - 604_800)[0] == NOW_S - 604_800
    assert read(NOW_S + 86_400)[0] == NOW_S + 86_400
    notes = Ledger()
    wide = TimeReader(JsonRoute(topic="t", time_max_age_s=1e9, time_max_ahead_s=1.0), notes)
    assert wide.read(NOW_S - 9e8, NOW_S) == NOW_S - 9e8
    assert wide.read(NOW_S + 2, NOW_S) == NOW_S
    assert notes.take() == {"time-out-of-window": 1}


def test_a_configured_unit_is_not_guessed_around() -> None:
    assert read(NOW_S - 5, unit="ms") == (NOW_S, {"time-out-of-window": 1})


def test_while_the_gateways_clock_is_unset_nothing_can_be_judged_by_it() -> None:
    assert read(NOW_S, arrived_s=12.0) == (12.0, {"clock-unset": 1})
    assert read(12.0, arrived_s=12.0) == (12.0, {"clock-unset": 1})
    assert read(CLOCK_FLOOR_S, arrived_s=CLOCK_FLOOR_S) == (CLOCK_FLOOR_S, {})
