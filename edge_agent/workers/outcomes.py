"""What ended is handed on: to the outbox, from where it reaches the broker, and to the source that it came from.

Rules: what was handed on is written into the record after it was, so that it may be handed on twice and is never forgotten.
Where the disk refuses, that waits, and holds nothing up. One owner.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.errors import StorageError
from edge_agent.messages import UpdateOutcome
from edge_agent.update import Source
from edge_agent.update.machine import Event, Reported, Told
from edge_agent.update.record import Ended
from edge_agent.workers.keeper import Keeper, outcome_of

RETRY_S = 5.0
"""Pause after the disk refused an outcome."""

_log = logging.getLogger(__name__)


class Teller(Protocol):
    """The running agent, which delivers what it is told."""

    def tell(self, outcomes: Sequence[UpdateOutcome]) -> None:
        """Hand over what ended, to be delivered; durable when it returns. Raises StorageError."""


class Outcomes:
    """Outcomes of the releases in one record."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        sources: Sequence[Source],
        teller: Teller | None,
        apply: Callable[[Event], bool],
        clock: Clock,
    ) -> None:
        """`teller` is None beside no running agent. `apply` lets the record take an event, and raises StorageError."""
        self._keeper = keeper
        self._sources = sources
        self._teller = teller
        self._apply = apply
        self._clock = clock
        self._handed_on: list[UpdateOutcome] = []
        """What stands in the outbox, and the record does not say so yet."""
        self._not_before_s = clock.monotonic_s()

    def step(self) -> None:
        """Hand on what is not handed on yet; again later where the disk refuses."""
        now_s = self._clock.monotonic_s()
        if now_s < self._not_before_s:
            return
        try:
            self._hand_on()
        except StorageError as error:
            _log.warning("how an update ended could not be handed on: %s; trying again in %g s", error, RETRY_S)
            self._not_before_s = now_s + RETRY_S

    def _hand_on(self) -> None:
        ended = self._keeper.record.ended
        untold = [outcome_of(each) for each in ended if not each.told]
        if untold and self._teller is not None:
            if new := [each for each in untold if each not in self._handed_on]:
                self._teller.tell(new)
                self._handed_on += new
            self._apply(Told())
            self._handed_on.clear()
        for each in ended:
            if each.source and not each.reported and self._reports(each):
                self._apply(Reported(each.source, each.ticket))

    def _reports(self, ended: Ended) -> bool:
        """Whether its source knows how it ended, or is configured no more."""
        source = next((source for source in self._sources if source.name == ended.source), None)
        return source is None or source.ended(ended)
