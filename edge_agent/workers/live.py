"""The running agent, as updates see it: whom to let speak, who makes no progress, and where outcomes are left.

Rules: what speaks follows from the record alone; a release becomes a wish, and the workers take it when they come to it. Nothing
here decides. Used by the update worker's thread, and by the supervisor before that runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.engines.loading import OpenRelease
from edge_agent.journal import Journal
from edge_agent.messages import Topics, UpdateOutcome, outcome_message
from edge_agent.metrics import Metrics
from edge_agent.workers.active import ReleaseSlot, Running, Wish
from edge_agent.workers.choice import Opens, open_speaking
from edge_agent.workers.keeper import Keeper


class LiveAgent:
    """Implements `workers.trial.Live`."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        slot: ReleaseSlot,
        opens: Opens,
        factory: Path,
        wish: Callable[[OpenRelease | None], Wish],
        stale: Callable[[], Sequence[str]],
        journal: Journal,
        topics: Topics,
        deliver: threading.Event,
        metrics: Metrics,
    ) -> None:
        """`factory` is the folder of the release inside the package; `stale` names the workers that make no progress."""
        self._keeper = keeper
        self._slot = slot
        self._opens = opens
        self._factory = factory
        self._wish = wish
        self._stale = stale
        self._journal = journal
        self._topics = topics
        self._deliver = deliver
        self._metrics = metrics

    def speak(self) -> int:
        """Let speak what the record says, or the best that can be opened; the number of the wish. Raises StorageError."""
        return self._slot.want(self._wish(open_speaking(self._keeper, self._opens, self._factory, self._metrics)))

    def running(self) -> Running:
        """How the newest wish does."""
        return self._slot.state()

    def stale(self) -> Sequence[str]:
        """Names of the workers that make no progress."""
        return self._stale()

    def tell(self, outcomes: Sequence[UpdateOutcome]) -> None:
        """Leave what ended in the outbox; durable when this returns. Raises StorageError."""
        self._journal.record((), [outcome_message(self._topics, outcome) for outcome in outcomes])
        self._deliver.set()
