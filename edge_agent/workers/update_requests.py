"""The requests about updates: `update-status`, `update-check`, `update-cancel`, `update-rollback`.

Rules: a check is a hint, nothing more: it makes the device look where it is configured to look, and what it finds there is
verified as ever. Each command has a topic of its own, so that a broker can let some people look and others roll back.
"""

from __future__ import annotations

import queue
from concurrent.futures import CancelledError, Future
from typing import Protocol

from edge_agent.errors import RequestError
from edge_agent.messages import RequestBody, UpdateState, update_document
from edge_agent.update.orders import Cancel, Check, Order, RollBack

ORDER_TIMEOUT_S = 10.0


class Updates(Protocol):
    """Who updates; `edge_agent.workers.update.UpdateWorker` is one."""

    def state(self) -> UpdateState:
        """How the update stands. Any thread."""

    def ask(self, order: Order) -> Future[str]:
        """Ask for something to be done; what came of it, in words. Raises `queue.Full`."""


class UpdateDesk(Protocol):
    """What these commands need of the rest of the agent."""

    updates: Updates | None


def answer_update_status(desk: UpdateDesk, body: RequestBody) -> object:
    """The document on `update`."""
    return update_document(_updates(desk).state())


def answer_update_check(desk: UpdateDesk, body: RequestBody) -> object:
    """Look at the sources now. `again`: what failed here before may be tried once more."""
    again = body.members.get("again", False)
    if not isinstance(again, bool):
        raise RequestError("bad-request", "again: expected true or false")
    return _done(desk, Check(again=again))


def answer_update_cancel(desk: UpdateDesk, body: RequestBody) -> object:
    """Give up the release that is on its way in, or on trial."""
    return _done(desk, Cancel())


def answer_update_rollback(desk: UpdateDesk, body: RequestBody) -> object:
    """Go back to the release before the one that runs."""
    return _done(desk, RollBack())


def _updates(desk: UpdateDesk) -> Updates:
    if desk.updates is None:
        raise RequestError("updates-off", "another process keeps the releases of this device, or its disk refuses; see health")
    return desk.updates


def _done(desk: UpdateDesk, order: Order) -> object:
    updates = _updates(desk)
    try:
        said = updates.ask(order).result(ORDER_TIMEOUT_S)
    except (queue.Full, TimeoutError, CancelledError):
        raise RequestError("busy", "the order could not be carried out in time; ask again") from None
    return {"done": said, "update": update_document(updates.state())}
