"""The writer thread: gathers operations of all callers and commits them together.

Rules: one thread, one queue; an operation that is critical takes everything that waits along at once, others wait for
company for a bounded time (group commit: one sync of the disk for many callers). While a commit runs the next group
gathers by itself. Waiting uses the real monotonic clock, because it bounds a real disk. When nobody asks for anything, the
thread does its upkeep now and then (`tick`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, TypeAlias

from edge_agent.errors import StorageError
from edge_agent.journal.records import Urgency
from edge_agent.journal.store import Operation

LINGER_S: Final[dict[Urgency, float]] = {"critical": 0.0, "soon": 0.010, "relaxed": 0.250}
MAX_GROUP: Final = 512
"""Operations of one transaction, so that its log stays small and its callers do not wait for all the world."""

TICK_S: Final = 60.0
"""How often there is upkeep where it does not say otherwise."""

Transact: TypeAlias = Callable[[Sequence[Operation]], list[object]]

_log = logging.getLogger(__name__)


class Committer:
    """Runs operations on a thread of its own, grouped. `transact` gives each operation's result or its StorageError; `tick`
    says in how many seconds it wants to be called again."""

    def __init__(self, transact: Transact, name: str, tick: Callable[[], float] = lambda: TICK_S) -> None:
        self._transact = transact
        self._tick = tick
        self._tick_s = time.monotonic() + TICK_S
        self._wake = threading.Condition()
        self._waiting: deque[tuple[Operation, Future[object]]] = deque()
        self._due_s = float("inf")
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, operation: Operation, urgency: Urgency) -> Future[object]:
        """Queue an operation; the future answers after COMMIT with its result or StorageError."""
        future: Future[object] = Future()
        with self._wake:
            if self._stopping:
                raise StorageError("the journal is closed; nothing was stored")
            self._waiting.append((operation, future))
            due_s = time.monotonic() + LINGER_S[urgency]
            if due_s < self._due_s:
                self._due_s = due_s
                self._wake.notify()
        return future

    def stop(self, timeout_s: float) -> bool:
        """Commit what waits and end the thread; False if the disk holds it up for longer than `timeout_s`."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (group := self._gather()) is not None:
            if not group:
                self._upkeep()
                continue
            try:
                results = self._transact([operation for operation, _ in group])
            except Exception as error:  # noqa: BLE001 - the thread's outermost guard: callers must get an answer, later ones too
                results = [StorageError(f"the journal's writer failed: {error!r}; nothing was stored; please report it")] * len(
                    group
                )
            for (_, future), result in zip(group, results, strict=True):
                if isinstance(result, StorageError):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _upkeep(self) -> None:
        delay_s = TICK_S
        try:
            delay_s = self._tick()
        except Exception:  # noqa: BLE001 - the thread's outermost guard: callers are still to be served
            _log.exception("the journal's upkeep failed; please report it")
        self._tick_s = time.monotonic() + delay_s

    def _gather(self) -> list[tuple[Operation, Future[object]]] | None:
        """Wait until a group is due and take it; an empty one when upkeep is, None when the thread shall end."""
        with self._wake:
            while not self._stopping and (rest_s := min(self._due_s, self._tick_s) - time.monotonic()) > 0:
                self._wake.wait(rest_s)
            if self._stopping and not self._waiting:
                return None
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]
            # What is left over was due with the rest.
            self._due_s = time.monotonic() if self._waiting else float("inf")
            return group
