"""The one loop that every worker runs in: step, heartbeat, guard, stop.

A worker is an object with a public `step()` that does one bounded piece of work; tests call it with no thread. The loop
gives it a thread of its own, notes when each step began, and is the outermost guard: a step that fails is counted and
reported, and the next one comes after a pause that doubles up to `MAX_PAUSE_S`.

Rules: no step waits longer than the timeout it is given; a step that works may take up to the worker's `max_step_s`,
after which `fresh` says no and the supervisor stops feeding the watchdog; a failing step is still a fresh one, because a
restart cures a hang, not a full disk or a broken network.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError
from edge_agent.metrics import Counter

STEP_TIMEOUT_S = 0.25
"""How long a step may wait for work: bounds how late a stop is noticed."""
MIN_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0

_log = logging.getLogger(__name__)


class Worker(Protocol):
    """One thread's work."""

    name: str
    max_step_s: float
    """Longest that one step may take before the worker counts as hung."""

    def step(self, timeout_s: float) -> bool:
        """Do one bounded piece of work, waiting for it no longer than `timeout_s`. True when there was any."""

    def finish(self) -> None:
        """Called once on the worker's own thread after its last step: finish what was accepted, let go of resources."""


class Loop:
    """Runs one worker on one thread until `stop` is set. `errors` counts failed steps under the worker's name."""

    def __init__(self, worker: Worker, *, clock: Clock, errors: Counter, stop: threading.Event) -> None:
        self.worker = worker
        self._clock = clock
        self._errors = errors
        self._stop = stop
        self.pause_s = 0.0
        self._beat_s = clock.monotonic_s()
        self._thread = threading.Thread(target=self.run, name=worker.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._beat_s = self._clock.monotonic_s()
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; False when it still runs after `timeout_s`."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def age_s(self) -> float:
        """Seconds since the last step began."""
        return self._clock.monotonic_s() - self._beat_s

    def fresh(self) -> bool:
        """Whether the worker makes progress: its last step began no longer ago than a step may take."""
        return self.age_s() <= self.worker.max_step_s + STEP_TIMEOUT_S + MAX_PAUSE_S

    def run(self) -> None:
        """The thread's body: step until stopped, then finish."""
        while not self._stop.is_set():
            self.step()
            if self.pause_s:
                self._stop.wait(self.pause_s)
        self._guarded_finish()

    def step(self) -> None:
        """One guarded step; sets how long to pause before the next."""
        self._beat_s = self._clock.monotonic_s()
        try:
            self.worker.step(STEP_TIMEOUT_S)
        except EdgeAgentError as error:
            self._failed()
            _log.warning("%s: %s; trying again in %.1f s", self.worker.name, error, self.pause_s)
        except Exception:  # noqa: BLE001 - the thread's outermost guard: a defect in one step is reported and must not end it
            self._failed()
            _log.exception("%s: a step failed unexpectedly; trying again in %.1f s", self.worker.name, self.pause_s)
        else:
            self.pause_s = 0.0

    def _failed(self) -> None:
        self._errors.add(self.worker.name)
        self.pause_s = min(MAX_PAUSE_S, max(MIN_PAUSE_S, 2 * self.pause_s))

    def _guarded_finish(self) -> None:
        try:
            self.worker.finish()
        except Exception:  # noqa: BLE001 - the outermost guard again: the other workers must still get to finish
            self._errors.add(self.worker.name)
            _log.exception("%s: could not finish cleanly", self.worker.name)
