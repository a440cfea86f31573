"""The family of sources: by name, what opens each, or that it is not set up. A literal table.

A source's module is imported when it is opened and not before: watching folders takes a library, and memory.

Rules: opening asks nobody, and starts no thread. The order is that in which sources are asked for leads.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

import edge_agent
from edge_agent.clock import Clock
from edge_agent.config.settings import UpdateSettings
from edge_agent.update import Source
from edge_agent.update.machine import speaks
from edge_agent.update.pace import Uniform
from edge_agent.update.record import Record

INBOX = "inbox"
"""The agent's own inbox, below the update's folder."""


FACTORY = "factory"
"""What the release inside the package is called where names are needed."""


class Needs(Struct, frozen=True, kw_only=True):
    """What sources need of the agent."""

    settings: UpdateSettings
    gateway: str
    folder: Path
    """The update's folder, below the state folder."""
    record: Callable[[], Record]
    """The record as it stands."""
    clock: Clock
    rng: Uniform


def _open_inbox(needs: Needs) -> Source | None:
    from edge_agent.update.inbox import Inbox

    configured = needs.settings.inbox
    folder = Path(configured) if configured else needs.folder / INBOX
    return Inbox(folder, needs.clock, needs.rng, owned=not configured)


def _open_hawkbit(needs: Needs) -> Source | None:
    from edge_agent.update.hawkbit import Hawkbit

    if not needs.settings.hawkbit.url:
        return None
    return Hawkbit(needs.settings.hawkbit, needs.gateway, needs.clock, needs.rng, lambda: attributes(needs.record()))


def _open_repository(needs: Needs) -> Source | None:
    from edge_agent.update.polled import PolledRepository

    if not needs.settings.repository.url:
        return None
    return PolledRepository(needs.settings.repository, needs.clock, needs.rng)


SOURCES: Mapping[str, Callable[[Needs], Source | None]] = {
    "inbox": _open_inbox,
    "hawkbit": _open_hawkbit,
    "repository": _open_repository,
}


def open_sources(needs: Needs) -> tuple[Source, ...]:
    """Every source that is set up; none without a `group` and a `root_file`."""
    if not needs.settings.group or not needs.settings.root_file:
        return ()
    return tuple(source for open_one in SOURCES.values() if (source := open_one(needs)) is not None)


def attributes(record: Record) -> Mapping[str, str]:
    """What a server that rolls releases out may know of this device."""
    running = speaks(record)
    return {
        "edge-agent.release": FACTORY if running is None else running.release,
        "edge-agent.counter": FACTORY if running is None else str(running.counter),
        "edge-agent.version": edge_agent.__version__,
        "edge-agent.hardware": platform.machine(),
    }
