"""Which release speaks: the one that the record names, or the best that can still be opened.

Rules: in the order candidate in its trial, active, previous, the release inside the package, templates. What cannot be opened
is taken off the record, which is saved first, with the reason in words; damaged files are removed, so that they are fetched anew
when the same release is offered again. The last resort needs no file at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from edge_agent.engines.loading import OpenRelease
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.metrics import Metrics
from edge_agent.update.machine import MAX_TRIES, Begins, Failed, Held, Rotten, speaks
from edge_agent.workers.keeper import Keeper

CONDITION = "release"

Opens = Callable[[Path], OpenRelease]
"""The release in a folder, every component compared with its manifest. Raises ReleaseError."""

_log = logging.getLogger(__name__)


def open_speaking(keeper: Keeper, opens: Opens, factory: Path, metrics: Metrics) -> OpenRelease | None:
    """The release that is to speak now, open; None for templates alone. Raises StorageError where the record cannot be saved."""
    for _ in range(2 * MAX_TRIES):  # each round takes one release off the record, which names three at most
        held = speaks(keeper.record)
        if held is None:
            break
        try:
            opened = opens(keeper.folder_of(held))
        except ReleaseError as error:
            _cannot_be_opened(keeper, held, error)
        else:
            metrics.conditions.clear(CONDITION)
            return opened
    return open_factory(opens, factory, metrics)


def begin(keeper: Keeper, opens: Opens, factory: Path, metrics: Metrics) -> tuple[OpenRelease | None, bool]:
    """What speaks when the agent starts, and whether that begins a try of a release on trial, which is counted first.

    Where the disk refuses to count, nothing is tried: what was active speaks, and the trial is begun when the disk lets it.
    """
    try:
        tries = keeper.record.stage == "trial" and keeper.apply(Begins()) and keeper.record.stage == "trial"
        return open_speaking(keeper, opens, factory, metrics), tries and keeper.record.stage == "trial"
    except StorageError as error:
        _log.error("%s; the release on trial, if there is one, is not begun", error)
        metrics.conditions.set(CONDITION, str(error))
        held = keeper.record.active
    if held is not None:
        try:
            return opens(keeper.folder_of(held)), False
        except (ReleaseError, StorageError) as error:
            _log.error("release %s cannot be used: %s", held.release, error)
    return open_factory(opens, factory, metrics), False


def open_factory(opens: Opens, factory: Path, metrics: Metrics) -> OpenRelease | None:
    """The release inside the package; None, and a condition, where not even that can be used."""
    try:
        opened = opens(factory)
    except ReleaseError as error:
        metrics.conditions.set(CONDITION, f"{error}; sentences are the template's")
        _log.error("the release cannot be used, sentences are the template's: %s", error)
        return None
    metrics.conditions.clear(CONDITION)
    return opened


def _cannot_be_opened(keeper: Keeper, held: Held, error: ReleaseError) -> None:
    _log.error("release %s cannot be used: %s", held.release, error)
    damaged = keeper.store.verify(held.manifest_sha256)
    if keeper.record.stage == "trial":
        keeper.apply(Failed(f"it cannot be opened: {error}"))
    else:
        keeper.apply(Rotten(f"it cannot be opened any more: {error}"))
    if damaged:
        keeper.store.discard(damaged)
