"""The way of a release from a source to running: fetched, verified, tried, kept or rolled back. No source is built in.

Rules: the machine that decides (`machine`) is pure; what fetches, stores and probes stands around it. A source only hands
over bytes: nothing it says is believed before it is verified.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from msgspec import Struct


class Offer(Struct, frozen=True, kw_only=True):
    """A release that a source has."""

    release: str
    counter: int
    """Grows with every release of its fleet group; a smaller one than the running release's is not taken."""
    size_bytes: int


class Source(Protocol):
    """Where releases come from: a repository, an inbox folder, a USB stick. One file a source."""

    def newest(self) -> Offer | None:
        """The newest release there is for this device; None for none. Raises LinkError when the source cannot be reached."""

    def fetch(self, offer: Offer, folder: Path) -> None:
        """Put the release's files into `folder`, going on where an earlier attempt ended. Raises LinkError, StorageError."""
