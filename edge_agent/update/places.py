"""The family of places that releases come from: a literal table from what a job names to what opens it.

Rules: all members keep one contract, whatever stands behind them; nothing that comes from a place is believed before it is
verified by who asked for it; what goes wrong on the way is a LinkError. One owner; everything blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from edge_agent.clock import Clock
from edge_agent.update import bundle
from edge_agent.update.exchange import Meter
from edge_agent.update.jobs import Bundle, Place, RemoteBundle, Repository
from edge_agent.update.repository import Folder, WebRepository


class Opened(Protocol):
    """An open place. Names are as in a repository: `metadata/...`, `targets/...`."""

    def file(self, name: str, timeout_s: float) -> Iterator[bytes] | None:
        """A small file, a part at a time, all of it within `timeout_s`; None where there is none.

        Raises LinkError, and so does the iterator.
        """

    def piece(self, name: str, offset: int, length: int, timeout_s: float, until: int = 0) -> bytes:
        """`length` bytes at most of a file, at `offset`; at least one. Fewer came where the way broke off: ask for the rest.

        `until`: as far as this file is read on, piece by piece, where all goes well: so much may be asked for at once.

        Raises LinkError; RepositoryRefusedError (`changed`) where the file is not any more what the pieces before were of.
        """

    def close(self) -> None:
        """Let go of everything."""


_Opener: TypeAlias = Callable[[Any, Clock, Meter, float], Opened]  # the place that its key names


@contextmanager
def opened(place: Place, clock: Clock, meter: Meter, timeout_s: float) -> Iterator[Opened]:
    """Open `place`, whose bytes `meter` counts. Raises LinkError, RepositoryRefusedError (`bundle`)."""
    found = OPENERS[type(place)](place, clock, meter, timeout_s)
    try:
        yield found
    finally:
        found.close()


def _repository(place: Repository, clock: Clock, meter: Meter, _: float) -> Opened:
    return Folder(place, meter) if place.url.startswith("file:") else WebRepository(place, clock, meter)


OPENERS: Mapping[type[Place], _Opener] = {Repository: _repository, Bundle: bundle.local, RemoteBundle: bundle.remote}
