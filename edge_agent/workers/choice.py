"""Which release speaks: the one that the record names, or the best that can still be opened.

Rules: in the order candidate in its trial, active, previous, the release inside the package, templates. What cannot be opened
is taken off the record, which is saved first, with the reason in words; damaged files are removed, so that they are fetched anew
when the same release is offered again. Where this device alone stands in the way, its key above all, nothing is taken off:
another one speaks for now, and a trial waits. What opening a release does that nobody thought of is a fault of that release, and
never keeps the agent from starting. The last resort needs no file at all.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from edge_agent.engines.loading import OpenRelease
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.metrics import Metrics
from edge_agent.update.machine import MAX_TRIES, Begins, Failed, RollBack, Rotten, Spared, speaks
from edge_agent.update.record import Held, Record
from edge_agent.update.store import Store
from edge_agent.workers.keeper import FOLDER, Keeper, read_record

CONDITION = "release"

Opens = Callable[[Path], OpenRelease]
"""The release in a folder, every component compared with its manifest. Raises ReleaseError."""

_log = logging.getLogger(__name__)


def open_speaking(keeper: Keeper, opens: Opens, factory: Path, metrics: Metrics) -> OpenRelease | None:
    """The release that is to speak now, open; None for templates alone.

    Raises StorageError where the record cannot be saved, and where this device, not the release, keeps a trial from beginning.
    """
    for _ in range(2 * MAX_TRIES):  # each round takes one release off the record, which names three at most
        held = speaks(keeper.record)
        if held is None:
            break
        try:
            opened = _opened(opens, keeper.folder_of(held))
        except ReleaseError as error:
            trying, trouble = keeper.record.stage == "trial", error.__cause__
            if trying and isinstance(trouble, StorageError):
                raise StorageError(f"release {held.release} cannot be tried yet: {trouble}") from error
            if trying or not isinstance(trouble, StorageError | MemoryError):
                _cannot_be_opened(keeper, held, error)
            else:
                return _open_without_record(keeper.record, keeper.store, opens, factory, metrics)
        else:
            metrics.conditions.clear(CONDITION)
            return opened
    return open_factory(opens, factory, metrics)


def begin(keeper: Keeper, opens: Opens, factory: Path, metrics: Metrics) -> tuple[OpenRelease | None, bool]:
    """What speaks when the agent starts, and whether that begins a try of a release on trial, which is counted first.

    Where the disk refuses to count, nothing is tried: what was active speaks, and the trial is begun when the disk lets it.
    """
    tries = False
    try:
        tries = keeper.record.stage == "trial" and keeper.apply(Begins(keeper.boot)) and keeper.record.stage == "trial"
        return open_speaking(keeper, opens, factory, metrics), tries and keeper.record.stage == "trial"
    except StorageError as error:
        _log.error("%s; the release on trial, if there is one, is not begun", error)
        metrics.conditions.set(CONDITION, str(error))
    if tries:
        with contextlib.suppress(StorageError):  # what was counted without need is one try of several
            keeper.apply(Spared())
    return _open_without_record(keeper.record, keeper.store, opens, factory, metrics), False


def leave_crashing(keeper: Keeper, crashed: str) -> bool:
    """Leave the active release, with which the agent crashed again and again, for the one before it; whether that was done.

    What is on trial has its own tries, and the release inside the package none before it.
    """
    active = keeper.record.active
    if active is None or keeper.record.stage == "trial":
        return False
    try:
        left = keeper.apply(RollBack(f"{crashed} with it"))
    except StorageError as error:
        _log.error("release %s is not left: %s", active.release, error)
        return False
    if left:
        _log.error("%s; release %s is left for the one before it", crashed, active.release)
    return left


def open_beside(state_dir: Path, opens: Opens, factory: Path, metrics: Metrics) -> OpenRelease | None:
    """What speaks where another process keeps the record, or the disk refuses it: what is active by it, where it can be read."""
    try:
        record = read_record(state_dir)
    except StorageError:  # whoever could not open the keeper has told it
        return open_factory(opens, factory, metrics)
    return _open_without_record(record, Store(state_dir / FOLDER), opens, factory, metrics)


def _open_without_record(record: Record, store: Store, opens: Opens, factory: Path, metrics: Metrics) -> OpenRelease | None:
    """The active release, the previous one or the factory's, whichever can be opened; the record stays as it is."""
    for held in (record.active, record.previous):
        if held is None:
            continue
        try:
            folder = store.release_folder(held.manifest_sha256)
            if folder is not None:
                return _opened(opens, folder)
        except (ReleaseError, StorageError) as error:
            _log.error("release %s cannot be used now: %s", held.release, error)
            metrics.conditions.set(CONDITION, f"{held.release} cannot be used now: {error}; it is tried again at the next start")
    return _opened_factory(opens, factory, metrics)


def open_factory(opens: Opens, factory: Path, metrics: Metrics) -> OpenRelease | None:
    """The release inside the package; None, and a condition, where not even that can be used."""
    opened = _opened_factory(opens, factory, metrics)
    if opened is not None:
        metrics.conditions.clear(CONDITION)
    return opened


def _opened_factory(opens: Opens, factory: Path, metrics: Metrics) -> OpenRelease | None:
    """The same, with whatever condition there was left standing."""
    try:
        return _opened(opens, factory)
    except ReleaseError as error:
        metrics.conditions.set(CONDITION, f"{error}; sentences are the template's")
        _log.error("the release cannot be used, sentences are the template's: %s", error)
        return None


def _opened(opens: Opens, folder: Path) -> OpenRelease:
    """The release in a folder. Raises ReleaseError, whatever happens."""
    try:
        return opens(folder)
    except ReleaseError:
        raise
    except Exception as error:  # an agent that cannot start because of a release would never take another
        _log.exception("%s: opening it failed unexpectedly", folder)
        raise ReleaseError(f"{folder}: opening it failed unexpectedly: {type(error).__name__}: {error}") from error


def _cannot_be_opened(keeper: Keeper, held: Held, error: ReleaseError) -> None:
    _log.error("release %s cannot be used: %s", held.release, error)
    damaged = keeper.store.verify(held.manifest_sha256)
    if keeper.record.stage == "trial":
        keeper.apply(Failed(f"it cannot be opened: {error}"))
    else:
        keeper.apply(Rotten(f"it cannot be opened any more: {error}"))
    if damaged:
        keeper.store.discard(damaged)
