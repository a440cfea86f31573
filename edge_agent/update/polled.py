"""A repository of releases that is looked at now and then: a web server's folder, or one of this machine.

Rules: a look follows after the usual pause, after a hint, or after a failure within a time that grows; see `pace`. Nobody has to
be told how a release of it ended.
"""

from __future__ import annotations

from edge_agent.clock import Clock
from edge_agent.config.settings import RepositorySettings
from edge_agent.update import Lead, Verdict
from edge_agent.update.jobs import Repository
from edge_agent.update.pace import Pace, Uniform
from edge_agent.update.record import Ended

NAME = "repository"
RETRY_MIN_S = 30.0


class PolledRepository:
    """See `update.Source`."""

    name = NAME
    trouble = ""
    """See `Source.trouble`: what stands in the way here passes."""

    def __init__(self, settings: RepositorySettings, clock: Clock, rng: Uniform) -> None:
        """`settings.url` is given."""
        self._place = Repository(url=settings.url, tls=settings.tls)
        self._pace = Pace(clock, rng, settings.poll_s, retry_min_s=RETRY_MIN_S, retry_max_s=settings.poll_s)
        self._out = False

    def lead(self) -> Lead | None:
        """See `Source.lead`."""
        if self._out or not self._pace.is_due():
            return None
        self._out = True
        self._pace.asks()
        return Lead(source=NAME, place=self._place, tell=self._told)

    def withdrawn(self, ticket: str) -> str:
        """See `Source.withdrawn`: what was published stays wanted until something newer is."""
        return ""

    def ended(self, ended: Ended) -> bool:
        """See `Source.ended`: a folder of files needs to know nothing."""
        return True

    def hint(self) -> None:
        """See `Source.hint`."""
        self._pace.hint()

    def close(self) -> None:
        """See `Source.close`: nothing is held."""

    def _told(self, verdict: Verdict, words: str = "") -> None:
        self._out = False
        if verdict is Verdict.failed:
            self._pace.failed()
        else:
            self._pace.answered()
