"""The loop: guards, pauses, heartbeats, stops. No test here waits for time to pass except to end a real thread."""

from __future__ import annotations

import itertools
import logging
import threading

import pytest

from edge_agent.errors import StorageError
from edge_agent.metrics import Counter
from edge_agent.workers.loop import MAX_PAUSE_S, MIN_PAUSE_S, STEP_TIMEOUT_S, Loop


class _Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def now_s(self) -> float:
        return self.s

    def monotonic_s(self) -> float:
        return self.s


class _Worker:
    name = "tested"
    max_step_s = 2.0

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.steps = 0
        self.finished = 0
        self.stepped = threading.Event()

    def step(self, timeout_s: float) -> bool:
        assert timeout_s == STEP_TIMEOUT_S
        self.steps += 1
        self.stepped.set()
        if self.failures:
            raise self.failures.pop(0)
        return True

    def finish(self) -> None:
        self.finished += 1
        if self.failures:
            raise self.failures.pop(0)


def _loop(worker: _Worker, clock: _Clock | None = None) -> tuple[Loop, Counter, threading.Event]:
    errors, stop = Counter(), threading.Event()
    return Loop(worker, clock=clock or _Clock(), errors=errors, stop=stop), errors, stop


def test_failures_are_counted_and_the_pause_doubles_to_its_bound_then_resets() -> None:
    worker = _Worker()
    worker.failures = [StorageError("disk full") for _ in range(10)]
    loop, errors, _ = _loop(worker)
    pauses = []
    for _ in range(10):
        loop.step()
        pauses.append(loop.pause_s)
    assert pauses[0] == MIN_PAUSE_S
    assert all(later == min(MAX_PAUSE_S, 2 * earlier) for earlier, later in itertools.pairwise(pauses))
    assert pauses[-1] == MAX_PAUSE_S
    assert errors.by_label() == {"tested": 10}
    loop.step()
    assert loop.pause_s == 0.0


def test_a_defect_is_reported_with_its_trace_and_an_expected_error_without(caplog: pytest.LogCaptureFixture) -> None:
    worker = _Worker()
    worker.failures = [StorageError("disk full"), ZeroDivisionError("defect")]
    loop, _, _ = _loop(worker)
    with caplog.at_level(logging.WARNING):
        loop.step()
        loop.step()
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]
    assert "disk full" in caplog.messages[0]


def test_fresh_until_a_step_takes_longer_than_it_may() -> None:
    clock = _Clock()
    loop, _, _ = _loop(_Worker(), clock)
    loop.step()
    clock.s += 2.0
    assert loop.fresh()
    clock.s += STEP_TIMEOUT_S + MAX_PAUSE_S + 0.1
    assert not loop.fresh()
    loop.step()
    assert loop.fresh()


def test_a_thread_steps_until_stopped_then_finishes_once() -> None:
    worker = _Worker()
    loop, errors, stop = _loop(worker)
    loop.start()
    assert worker.stepped.wait(40.0)
    stop.set()
    assert loop.join(40.0)
    assert worker.finished == 1
    assert errors.total() == 0


def test_a_finish_that_fails_still_ends_the_thread() -> None:
    worker = _Worker()
    loop, errors, stop = _loop(worker)
    stop.set()
    worker.failures = [ZeroDivisionError("defect")]
    loop.start()
    assert loop.join(40.0)
    assert errors.get("tested") == 1
