"""The way of a release from a source to running: fetched, verified, tried, kept or rolled back. No source is built in.

Rules: the machine that decides (`machine`) is pure; what fetches, stores and probes stands around it. A source only says when
and where to look: nothing that stands there is believed before it is verified, and a source is told how it ended.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from msgspec import Struct

from edge_agent.update.jobs import Place
from edge_agent.update.record import Ended


class Verdict(Enum):
    """What came of a lead."""

    nothing = "nothing"
    """There is no release for this device's group."""
    unwanted = "unwanted"
    """The release there is not taken: it failed here, is older, or is not for this version of the agent."""
    runs = "runs"
    """The release there is the one that runs."""
    failed = "failed"
    """Not reached, or not all of it came. It may be tried again; what came is kept."""
    refused = "refused"
    """What stands there is not believed, or cannot be used. Trying again alone will not help."""
    taken = "taken"
    """Everything came and is verified. How the release ends is told later, by `Source.ended`."""


class Tell(Protocol):
    """Tells a source what came of a lead."""

    def __call__(self, verdict: Verdict, words: str = "") -> None:
        """`words` say why, for people."""


def _nobody(verdict: Verdict, words: str = "") -> None:
    """Tells nobody."""


class Lead(Struct, frozen=True, kw_only=True):
    """A place that is to be looked at now."""

    source: str
    """The name of the source."""
    ticket: str = ""
    """What the source calls what it offers: a file, the number of a deployment."""
    place: Place
    tell: Tell = _nobody
    """To be called once with what came of it."""


class Source(Protocol):
    """Says when and where to look for releases. All of it is called by one thread, again and again; nothing blocks for long."""

    @property
    def name(self) -> str:
        """As it stands in the record."""

    @property
    def trouble(self) -> str:
        """Why nothing comes from here until a person changes something, in words; empty while none needs to. Any thread."""

    def lead(self) -> Lead | None:
        """Where to look now; None for nowhere yet. None too while a lead was given and not told about."""

    def withdrawn(self, ticket: str) -> str:
        """Why the candidate `ticket` is not wanted any more, in words; empty where it is.

        Asked at every stage and every step; `ticket` is empty while there is no candidate of this source.
        """

    def ended(self, ended: Ended) -> bool:
        """How a candidate of this source ended. Asked again until it is True: whoever has to know that knows it."""

    def hint(self) -> None:
        """Somebody says that there may be something new: look soon."""

    def close(self) -> None:
        """Let go of everything."""
