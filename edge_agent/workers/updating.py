"""Puts the update of releases together: record, sources, the running agent, and the worker between them.

Rules: made once, when the agent starts; what is to speak stands in the slot when this returns, whatever went wrong. Updates that
cannot be kept here (another process does, or the disk refuses) cost updates, never the agent.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.config.settings import Settings
from edge_agent.engines.loading import open_release
from edge_agent.errors import StorageError
from edge_agent.journal import Journal
from edge_agent.messages import Topics
from edge_agent.metrics import Metrics
from edge_agent.update import Source
from edge_agent.update.sources import Needs, open_sources
from edge_agent.workers.active import ReleaseSlot, Wish
from edge_agent.workers.choice import begin, leave_crashing, open_beside
from edge_agent.workers.keeper import FOLDER, Keeper
from edge_agent.workers.live import LiveAgent
from edge_agent.workers.speaking import wish_for
from edge_agent.workers.update import UpdateWorker

CONDITION = "updates"

_log = logging.getLogger(__name__)


def make_update(
    settings: Settings,
    *,
    factory: Path,
    slot: ReleaseSlot,
    stale: Callable[[], Sequence[str]],
    journal: Journal,
    topics: Topics,
    deliver: threading.Event,
    metrics: Metrics,
    clock: Clock,
    crashed: str = "",
) -> UpdateWorker | None:
    """Let speak what the record of releases says; the worker that keeps it, or None where it cannot be kept here.

    `factory` is the folder of the release inside the package; `stale` names the workers that make no progress. `crashed` tells of
    crashes in a row: what is active gives way to the release before it, and where that is none, no engine is used.
    """
    state_dir = Path(settings.state_dir)
    update = settings.update
    opens = partial(
        open_release,
        device=settings.writer.device,
        key_file=update.key_file,
        decrypt_folder=update.decrypt_folder,
        store=state_dir / FOLDER,
    )
    wish = partial(wish_for, settings=settings.writer, journal=journal, state_dir=state_dir)
    try:
        keeper = Keeper.open(state_dir, clock)
    except StorageError as error:
        metrics.conditions.set(CONDITION, f"{error}; releases are neither taken nor exchanged until the next start")
        _log.error("no updates until the next start: %s", error)
        slot.want(wish(open_beside(state_dir, opens, factory, metrics)))
        if crashed:
            _do_without_engines(slot, metrics, crashed)
        return None
    if keeper.lost:
        metrics.conditions.set(CONDITION, keeper.lost)
    left = bool(crashed) and leave_crashing(keeper, crashed)
    opened, began_trial = begin(keeper, opens, factory, metrics)
    slot.want(wish(opened))
    if crashed and not left:
        _do_without_engines(slot, metrics, crashed)
    live = LiveAgent(
        keeper=keeper,
        slot=slot,
        opens=opens,
        factory=factory,
        wish=wish,
        stale=stale,
        journal=journal,
        topics=topics,
        deliver=deliver,
        metrics=metrics,
    )
    return UpdateWorker(
        keeper=keeper,
        settings=update,
        sources=sources_for(settings, keeper, clock),
        live=live,
        gateway=settings.gateway.id,
        device=settings.writer.device,
        metrics=metrics,
        clock=clock,
        began_trial=began_trial,
    )


def _do_without_engines(slot: ReleaseSlot, metrics: Metrics, crashed: str) -> None:
    why = f"{crashed}; no engine is used until the next start, sentences are the template's"
    slot.want(Wish())
    metrics.conditions.set("crashes", why)
    _log.error("%s", why)


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
