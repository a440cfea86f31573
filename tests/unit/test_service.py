"""Signals, the watchdog, and what ends a watch."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.service import STOP_SIGNALS, StopSignals, watch
from edge_agent.systemd import Notifier


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield StopSignals()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_the_wait_and_nothing_else(signals: StopSignals, number: int) -> None:
    assert not signals.wait(0.0)
    os.kill(os.getpid(), number)
    assert signals.wait(40.0)


def test_a_signal_that_another_thread_gets_counts_too(signals: StopSignals) -> None:
    release = threading.Event()
    other = threading.Thread(target=release.wait)
    other.start()
    assert other.ident is not None
    signal.pthread_kill(other.ident, signal.SIGTERM)
    assert signals.wait(40.0)
    release.set()
    other.join()


class Watched:
    """Stale, broken and status as scripted, one entry a look."""

    def __init__(self, stale: list[list[str]], lines: list[str], broken_after: int = 99) -> None:
        self._stale, self._lines, self._looks_left = iter(stale), iter(lines), broken_after

    def stale(self) -> list[str]:
        return next(self._stale)

    def broken(self) -> str:
        return "" if self._looks_left > 0 else "the journal"

    def status_line(self) -> str:
        self._looks_left -= 1
        return next(self._lines)


def test_what_only_a_new_start_can_mend_ends_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    watch(Watched([[], []], ["a", "a"], broken_after=2), Notifier(""), None, lambda _: False)
    assert [record.getMessage() for record in caplog.records] == ["stopping to be started again: the journal"]


def test_the_watchdog_is_fed_only_while_no_worker_is_stale(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, looks, periods = str(tmp_path / "notify"), iter([False] * 4 + [True]), []

    def stop(period_s: float) -> bool:
        periods.append(period_s)
        return next(looks)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(0.2)
        watched = Watched([[], ["screen"], ["screen"], []], ["a", "a", "a", "b"])
        watch(watched, Notifier(path), 1.5, stop)
        told = []
        while True:
            try:
                told.append(manager.recv(4096).decode())
            except TimeoutError:
                break
    assert told == ["WATCHDOG=1", "STATUS=a", "WATCHDOG=1", "STATUS=b"]
    assert periods == [0.5] * 5
    assert [record.getMessage() for record in caplog.records] == ["no progress in: screen; the watchdog is no longer fed"]
