"""Clears the store of what no release needs any more, when something else is needed than before.

Rules: at every stage, because a release may wait for the room. What the disk does not let go is tried again later, and holds
nothing up. One owner.
"""

from __future__ import annotations

import logging

from edge_agent.clock import Clock
from edge_agent.errors import StorageError
from edge_agent.update.machine import needed
from edge_agent.workers.keeper import Keeper

RETRY_S = 60.0

_log = logging.getLogger(__name__)


class Collector:
    """Of one keeper's store."""

    def __init__(self, keeper: Keeper, clock: Clock) -> None:
        self._keeper = keeper
        self._clock = clock
        self._collected: frozenset[str] | None = None
        """What was needed when the store was cleared last."""
        self._not_before_s = clock.monotonic_s()

    def step(self) -> None:
        """Clear the store, if that is due."""
        now_s, wanted = self._clock.monotonic_s(), needed(self._keeper.record)
        if wanted == self._collected or now_s < self._not_before_s:
            return
        self._not_before_s = now_s + RETRY_S
        try:
            freed = self._keeper.store.collect(wanted)
        except StorageError as error:
            _log.warning("%s; releases that are not needed any more still take room", error)
            return
        self._collected, self._not_before_s = wanted, now_s
        if freed:
            _log.info("%d bytes of releases that are not needed any more were freed", freed)
