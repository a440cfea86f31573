"""Time by two clocks, and states that are read whole or not at all."""

from __future__ import annotations

import pytest
from msgspec import Struct

from edge_agent.escalate.state import CLOCK_SET_S, DAY_S, SAVE_EVERY_S, Moment, Timer, elapsed_s, read, started

NOW_S = 1_900_000_000.0
NOW = Moment(NOW_S, 500.0, "boot-1")


class Small(Struct, forbid_unknown_fields=True):
    """A state like those that are kept."""

    number: int


@pytest.mark.parametrize("wall_s", [NOW_S + 100, 0.0, NOW_S - 1e9, NOW_S + 1e9])
def test_within_one_boot_only_the_monotonic_clock_counts(wall_s: float) -> None:
    assert elapsed_s(NOW, Moment(wall_s, 560.0, "boot-1")) == 60.0


@pytest.mark.parametrize(
    ("earlier_s", "later_s", "expected_s"),
    [
        (NOW_S, NOW_S + 90, 90.0),
        (NOW_S, NOW_S - 90, 0.0),  # set back
        (NOW_S, NOW_S + 30 * DAY_S, DAY_S),  # off for a month, or set ahead
        (NOW_S, 60.0, 0.0),  # starts at 1970
        (60.0, 120.0, 0.0),  # two starts at 1970
        (60.0, NOW_S, 0.0),  # the clock is set: no day as a gift
        (CLOCK_SET_S, CLOCK_SET_S + 5, 5.0),
    ],
)
def test_from_one_boot_to_another_the_wall_clock_counts_as_far_as_it_can_be_believed(
    earlier_s: float, later_s: float, expected_s: float
) -> None:
    assert elapsed_s(Moment(earlier_s, 500.0, "boot-1"), Moment(later_s, 3.0, "boot-2")) == expected_s


def test_a_monotonic_clock_that_went_back_is_that_of_another_boot() -> None:
    assert elapsed_s(NOW, Moment(NOW_S + 7, 1.0, "boot-1")) == 7.0


def test_a_timer_goes_on_from_where_it_was_seen() -> None:
    timer = started(NOW).at(Moment(0.0, 510.0, "boot-1")).at(Moment(NOW_S, 2.0, "boot-2"))
    assert timer.elapsed_s == 10.0
    assert timer.at(Moment(NOW_S, 12.0, "boot-2")).elapsed_s == 20.0


def test_a_timer_is_kept_again_now_and_then_so_that_a_reboot_without_a_clock_loses_little() -> None:
    assert not started(NOW).due_for_saving(Moment(NOW_S, 500.0 + SAVE_EVERY_S - 1, "boot-1"))
    assert started(NOW).due_for_saving(Moment(NOW_S, 500.0 + SAVE_EVERY_S, "boot-1"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"number":1',
        b'{"number":"1"}',
        b'{"number":1,"more":2}',
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"a\xff":1}',
        b"[" * 9_999,
    ],
)
def test_what_is_not_whole_is_nothing(data: bytes) -> None:
    assert read(data, Small) is None


def test_what_is_whole_is_read() -> None:
    assert read(b'{"number":1}', Small) == Small(1)
    assert read(b'{"elapsed_s":-1,"seen":{"wall_s":0,"monotonic_s":0,"boot":""}}', Timer) is None
