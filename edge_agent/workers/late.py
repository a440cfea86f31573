"""Updates that could not be kept when the agent started: another process keeps the releases of this device, or its disk refuses.

Rules: it is tried again and again, and from then on this is the update worker like any other. Until then nothing is taken and no
order is carried out; what speaks was chosen by whoever made this. Whether it is kept, and why not, is said in health.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from edge_agent.clock import Clock
from edge_agent.errors import RequestError, StorageError
from edge_agent.messages import UpdateState
from edge_agent.metrics import Metrics
from edge_agent.update.orders import Order
from edge_agent.workers.update import UpdateWorker

CONDITION = "updates"
RETRY_S = 60.0

_log = logging.getLogger(__name__)


class LateUpdate:
    """Implements `loop.Worker` and `update_requests.Updates`."""

    name = UpdateWorker.name
    max_step_s = UpdateWorker.max_step_s

    def __init__(
        self, opens: Callable[[], UpdateWorker], state: Callable[[str], UpdateState], why: str, metrics: Metrics, clock: Clock
    ) -> None:
        """`opens` makes the worker and clears the condition, or raises StorageError, as it did with `why`; `state` tells how
        the update stands meanwhile."""
        self._opens = opens
        self._state = state
        self._metrics = metrics
        self._clock = clock
        self._worker: UpdateWorker | None = None
        self._why = ""
        self._not_before_s = 0.0
        self._pause = threading.Event()
        self._stands(why)

    @property
    def gave_up(self) -> str:
        """See `UpdateWorker.gave_up`."""
        return "" if self._worker is None else self._worker.gave_up

    def ask(self, order: Order) -> Future[str]:
        """See `UpdateWorker.ask`. Raises RequestError while the releases cannot be kept."""
        if self._worker is None:
            raise RequestError("updates-off", f"{self._why}; it is tried again every {RETRY_S:g} s")
        return self._worker.ask(order)

    def state(self) -> UpdateState:
        """How the update stands; any thread."""
        return self._state(self._why) if self._worker is None else self._worker.state()

    def step(self, timeout_s: float) -> bool:
        """Try to keep the releases; then what the worker does. Raises StorageError then."""
        if self._worker is not None:
            return self._worker.step(timeout_s)
        if self._clock.monotonic_s() < self._not_before_s:
            self._pause.wait(timeout_s)
            return False
        try:
            self._worker = self._opens()
        except StorageError as error:
            self._stands(str(error))
            return False
        _log.info("the releases of this device are kept here from now on")
        return True

    def finish(self) -> None:
        """See `UpdateWorker.finish`."""
        if self._worker is not None:
            self._worker.finish()

    def _stands(self, why: str) -> None:
        if why != self._why:
            _log.error("no updates for now: %s", why)
        self._why = why
        self._not_before_s = self._clock.monotonic_s() + RETRY_S
        self._metrics.conditions.set(CONDITION, f"{why}; releases are neither taken nor exchanged until that is over")
