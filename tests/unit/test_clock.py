"""The system clock against the machine's own clocks."""

from __future__ import annotations

import time

from edge_agent.clock import Clock, SystemClock


def test_now_is_the_wall_clock_in_seconds() -> None:
    clock: Clock = SystemClock()
    before = time.time()
    now = clock.now_s()
    assert before <= now <= time.time()


def test_monotonic_never_goes_back_and_is_not_the_wall_clock() -> None:
    clock: Clock = SystemClock()
    readings = [clock.monotonic_s() for _ in range(1000)]
    assert readings == sorted(readings)
    assert time.clock_gettime(time.CLOCK_MONOTONIC) >= readings[-1]
