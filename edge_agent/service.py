"""The agent as a service: from READY to the last word, with the watchdog between, until a signal ends it.

Rules: signals arrive through a socket that the main thread waits on, so that no handler does work between two lines of
another part; a second signal ends the process at once, which the journal survives. `WATCHDOG=1` is sent only while every
worker is fresh, so that the watchdog proves progress, not life. Crashes in a row cost the release or the engines, no more.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Protocol

from edge_agent.clock import SystemClock
from edge_agent.config.settings import Settings
from edge_agent.engines.loading import FACTORY
from edge_agent.supervisor import Agent
from edge_agent.systemd import Notifier, notifier_from, watchdog_interval_s
from edge_agent.workers.crashes import Crashes

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
WATCH_S = 1.0
"""How often the workers' heartbeats are looked at."""

_log = logging.getLogger(__name__)


class StopSignals:
    """Waits for SIGTERM and SIGINT. Masking them would not do: native libraries start threads of their own."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, _noted)

    def wait(self, timeout_s: float) -> bool:
        """True once a signal came; waits for one no longer than `timeout_s`."""
        return bool(select.select([self._reader], [], [], timeout_s)[0])

    def exit_at_once_on_the_next(self) -> None:
        """From now on a signal ends the process without another word."""
        for number in STOP_SIGNALS:
            signal.signal(number, _leave)


def run(settings: Settings, config_path: Path, environ: Mapping[str, str], release_dir: Path = FACTORY) -> int:
    """Run the agent until a signal ends it; returns the exit code. Raises StorageError when it cannot start.

    The code is 1, so that the service manager starts it again, when a worker did not end or only a new start can help.
    """
    notifier, clock, signals = notifier_from(environ), SystemClock(), StopSignals()
    crashes = Crashes(Path(settings.state_dir))
    agent = Agent(settings, config_path, environ, clock, release_dir, crashed=crashes.too_many(clock.now_s()))
    crashes.watch()
    agent.start()
    notifier.ready()
    _log.info("ready: gateway %s, state in %s", settings.gateway.id, settings.state_dir)
    watch(agent, notifier, watchdog_interval_s(environ, os.getpid()), signals.wait)
    notifier.stopping()
    signals.exit_at_once_on_the_next()
    _log.info("stopping")
    if not agent.stop():
        # A thread that does not end would also hold up the interpreter's own end.
        logging.shutdown()
        os._exit(1)
    crashes.end_row()
    _log.info("stopped")
    return 1 if agent.broken() else 0


class Watched(Protocol):
    """What `watch` looks at; `Agent` is one."""

    def stale(self) -> list[str]:
        """Names of the workers that make no progress."""

    def broken(self) -> str:
        """Why only a new start can help; empty while none is needed."""

    def status_line(self) -> str:
        """One line for the service manager."""


def watch(agent: Watched, notifier: Notifier, watchdog_s: float | None, stop: Callable[[float], bool]) -> None:
    """Look at the heartbeats and feed the watchdog until `stop`, which waits for so many seconds, says so, or all is broken."""
    period_s = WATCH_S if watchdog_s is None else min(WATCH_S, watchdog_s / 3)
    told = ""
    reported: list[str] = []
    while not stop(period_s):
        if agent.broken():
            _log.error("stopping to be started again: %s", agent.broken())
            return
        stale = agent.stale()
        if not stale:
            notifier.watchdog()
        elif stale != reported:
            _log.error("no progress in: %s; the watchdog is no longer fed", ", ".join(stale))
        reported = stale
        line = agent.status_line()
        if line != told:
            notifier.status(line)
            told = line


def _noted(number: int, frame: FrameType | None) -> None:
    """The byte in the socket is the note."""


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
