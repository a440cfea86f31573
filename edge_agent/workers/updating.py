"""Puts the update of releases together: record, sources, the running agent, and the worker between them.

Rules: made once, when the agent starts; what is to speak stands in the slot when this returns, whatever went wrong. Updates that
cannot be kept here (another process does, or the disk refuses) cost updates, never the agent, and are taken up when they can be.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.config.settings import Settings
from edge_agent.engines.loading import OpenRelease, open_release
from edge_agent.errors import StorageError
from edge_agent.journal import Journal
from edge_agent.messages import Topics, UpdateState
from edge_agent.metrics import Metrics
from edge_agent.update import Source
from edge_agent.update.sources import Needs, open_sources
from edge_agent.workers.active import ReleaseSlot, Wish
from edge_agent.workers.choice import Opens, begin, leave_crashing, open_beside
from edge_agent.workers.keeper import FOLDER, Keeper
from edge_agent.workers.late import CONDITION, LateUpdate
from edge_agent.workers.live import LiveAgent
from edge_agent.workers.speaking import wish_for
from edge_agent.workers.update import UpdateWorker

_log = logging.getLogger(__name__)


class Surroundings(Struct, frozen=True, kw_only=True):
    """What the update needs of the agent."""

    settings: Settings
    factory: Path
    """The folder of the release inside the package."""
    slot: ReleaseSlot
    stale: Callable[[], Sequence[str]]
    """Names the workers that make no progress."""
    journal: Journal
    topics: Topics
    deliver: threading.Event
    metrics: Metrics
    clock: Clock
    crashed: str = ""
    """Tells of crashes in a row: what is active gives way to the release before it, and where that is none, no engine is used."""

    def wish(self, opened: OpenRelease | None) -> Wish:
        """That a release speaks; None: templates alone."""
        return wish_for(opened, settings=self.settings.writer, journal=self.journal, state_dir=Path(self.settings.state_dir))

    def state(self, why: str) -> UpdateState:
        """How the update stands where it cannot be kept."""
        return UpdateState(gateway=self.settings.gateway.id, release=self.slot.state().release, reason=why)


def make_update(around: Surroundings) -> UpdateWorker | LateUpdate:
    """Let speak what the record of releases says; the worker that keeps it, or one that will as soon as it can be kept here."""
    try:
        return _keeping(around)
    except StorageError as error:
        settings, slot, metrics = around.settings, around.slot, around.metrics
        slot.want(around.wish(open_beside(Path(settings.state_dir), opens_for(settings), around.factory, metrics)))
        if around.crashed:
            _do_without_engines(slot, metrics, around.crashed)
        return LateUpdate(partial(_keeping, around), around.state, str(error), metrics, around.clock)


def _keeping(around: Surroundings) -> UpdateWorker:
    """The worker that keeps the record, which says what speaks from now on. Raises StorageError where it cannot be kept here."""
    keeper = Keeper.open(Path(around.settings.state_dir), around.clock)
    with ExitStack() as held:
        held.callback(keeper.close)
        worker = _worker(around, keeper)
        held.pop_all()
    return worker


def _worker(around: Surroundings, keeper: Keeper) -> UpdateWorker:
    settings, metrics, opens = around.settings, around.metrics, opens_for(around.settings)
    metrics.conditions.clear(CONDITION)
    if keeper.lost:
        metrics.conditions.set(CONDITION, keeper.lost)
    left = bool(around.crashed) and leave_crashing(keeper, around.crashed)
    opened, began_trial = begin(keeper, opens, around.factory, metrics)
    around.slot.want(around.wish(opened))
    if around.crashed and not left:
        _do_without_engines(around.slot, metrics, around.crashed)
    live = LiveAgent(
        keeper=keeper,
        slot=around.slot,
        opens=opens,
        factory=around.factory,
        wish=around.wish,
        stale=around.stale,
        journal=around.journal,
        topics=around.topics,
        deliver=around.deliver,
        metrics=metrics,
    )
    return UpdateWorker(
        keeper=keeper,
        settings=settings.update,
        sources=sources_for(settings, keeper, around.clock),
        live=live,
        gateway=settings.gateway.id,
        device=settings.writer.device,
        metrics=metrics,
        clock=around.clock,
        began_trial=began_trial,
    )


def _do_without_engines(slot: ReleaseSlot, metrics: Metrics, crashed: str) -> None:
    why = f"{crashed}; no engine is used until the next start, sentences are the template's"
    slot.want(Wish())
    metrics.conditions.set("crashes", why)
    _log.error("%s", why)


def opens_for(settings: Settings) -> Opens:
    """What opens the release in a folder, as this gateway does."""
    return partial(
        open_release,
        device=settings.writer.device,
        key_file=settings.update.key_file,
        decrypt_folder=settings.update.decrypt_folder,
        store=Path(settings.state_dir) / FOLDER,
    )


def sources_for(settings: Settings, keeper: Keeper, clock: Clock) -> tuple[Source, ...]:
    """The sources that are configured, for the device whose releases `keeper` keeps."""
    return open_sources(
        Needs(
            settings=settings.update,
            gateway=settings.gateway.id,
            folder=keeper.folder,
            record=lambda: keeper.record,
            clock=clock,
            rng=random.Random(secrets.randbits(64)),
        )
    )
