"""Which release is wanted in the running agent, who has taken it, and how it fares: the one place where owner and workers meet.

The owner wants a release; the workers look between two incidents and between two batches, exchange what they own, and tell what
came of it. Nobody waits for anybody: a wish that was not carried out yet is simply replaced by the next.

Rules: all of it may be called from any thread; values that go out are frozen. What a worker tells carries the number of the wish
that it is about, so that a late word about a release that is not wanted any more is dropped.
"""

from __future__ import annotations

import threading
from typing import Literal, TypeAlias

from msgspec import Struct

from edge_agent.engines.loading import OpenRelease
from edge_agent.pipeline import TEMPLATE_ONLY, SpeakingRelease
from edge_agent.values import Summary

Taker: TypeAlias = Literal["explain", "screen"]
"""The workers that own engines of a release."""
Taken: TypeAlias = Literal["waiting", "taken", "problem"]

TAKERS: tuple[Taker, ...] = ("explain", "screen")


class Wanted(Struct, frozen=True):
    """A wish: the release that is to speak, None for templates alone. Numbers grow; a number is never used twice."""

    number: int
    opened: OpenRelease | None

    @property
    def speaking(self) -> SpeakingRelease:
        """What decides its sentences."""
        return TEMPLATE_ONLY if self.opened is None else self.opened.speaking


class Running(Struct, frozen=True, kw_only=True):
    """How the wish `number` stands."""

    number: int
    release: str
    """Id of the release that is wanted."""
    explain: Taken
    screen: Taken
    problem: str
    """What is wrong with its engines, in words; empty while nothing is known."""
    sentences: int
    """Summaries for which its writer was asked."""
    by_writer: int
    """Those of them in which at least one sentence is the writer's."""
    refused: int
    """Those of them in which the verifier refused at least one sentence of the writer."""
    writer_failures: int
    """How often its writer failed while it ran."""

    @property
    def taken(self) -> bool:
        """Whether every worker has taken it whole."""
        return self.explain == self.screen == "taken"


class ReleaseSlot:
    """Holds the wish and what was told about it. Its owner is whoever calls `want`; workers call the rest."""

    def __init__(self, opened: OpenRelease | None = None) -> None:
        self._lock = threading.Lock()
        self._wanted = Wanted(1, opened)
        self._told: dict[Taker, str | None] = dict.fromkeys(TAKERS)
        self._counts = {"sentences": 0, "by_writer": 0, "refused": 0, "writer_failures": 0}
        self._speaks = self._wanted

    def want(self, opened: OpenRelease | None) -> int:
        """Want a release from now on, also the one that is there already; the number of the wish. Counts begin anew."""
        with self._lock:
            self._wanted = Wanted(self._wanted.number + 1, opened)
            self._told = dict.fromkeys(TAKERS)
            self._counts = dict.fromkeys(self._counts, 0)
            return self._wanted.number

    def wanted(self) -> Wanted:
        """The wish that holds now."""
        return self._wanted

    def speaks(self) -> Wanted:
        """What the explain worker speaks as now: the wish, or the one before while it is not taken."""
        return self._speaks

    def took(self, taker: Taker, wanted: Wanted, problem: str = "") -> None:
        """A worker has exchanged its engines for those of `wanted`; `problem` says in words what it must do without.

        Told again with a problem when an engine that could be opened had to be given up.
        """
        with self._lock:
            if taker == "explain":
                self._speaks = wanted
            if wanted.number == self._wanted.number:
                self._told[taker] = problem

    def wrote(self, number: int, summary: Summary) -> None:
        """The writer of the wish `number` was asked, and this came of it."""
        with self._lock:
            if number != self._wanted.number:
                return
            self._counts["sentences"] += 1
            self._counts["by_writer"] += summary.route in ("writer", "mixed")
            self._counts["refused"] += any(reason.startswith("refused-") for reason in summary.reasons)

    def writer_failed(self, number: int) -> None:
        """The writer of the wish `number` failed while it ran."""
        with self._lock:
            if number == self._wanted.number:
                self._counts["writer_failures"] += 1

    def state(self) -> Running:
        """How the wish that holds now stands."""
        with self._lock:
            return Running(
                number=self._wanted.number,
                release=self._wanted.speaking.id,
                explain=_taken(self._told["explain"]),
                screen=_taken(self._told["screen"]),
                problem="; ".join(told for told in self._told.values() if told),
                **self._counts,
            )


def _taken(told: str | None) -> Taken:
    if told is None:
        return "waiting"
    return "problem" if told else "taken"
