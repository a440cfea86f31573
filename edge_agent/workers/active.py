"""The slot of the release that speaks: what is wanted, what each worker has taken, and how it does since.

Rules: whoever chooses puts a wish into the slot (`want`); the explain and the screen worker look at the top of a step,
exchange their engines on their own threads, and say so (`took`). A wish has a number, so that a late word about an earlier one
counts for nothing. Everything handed out is frozen; any thread may ask.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.pipeline import TEMPLATE_ONLY, Classifier, SpeakingRelease, Writer
from edge_agent.values import Evidence, PastIncident

Taker: TypeAlias = Literal["explain", "screen"]
TAKERS: tuple[Taker, ...] = ("explain", "screen")


class ClosedMemory(Protocol):
    """The memory as the explain worker uses it; `edge_agent.engines.memory.IncidentMemory` is one."""

    def add(self, past: PastIncident) -> None:
        """Remember a closed incident. Raises EngineError."""

    def nearest(self, signature: bytes, before_s: float, asset: str = "") -> Evidence | None:
        """The most similar incident opened before `before_s`, or None. Raises EngineError."""

    def save(self) -> None:
        """Write the cache. Raises StorageError, EngineError."""


class Wish(Struct, frozen=True, kw_only=True):
    """A release that shall speak: what decides its sentences, and how its engines are opened.

    `open_writer` and `open_memory` are called on the explain worker's thread, `open_classifier` on the screen worker's; None for
    what is not wanted or cannot be had. Engines of equal keys are the same: they are kept, not opened again.
    """

    speaking: SpeakingRelease = TEMPLATE_ONLY
    certificate: str = ""
    """Why its certificate does not hold here; empty where it does."""
    open_writer: Callable[[], Writer] | None = None
    open_memory: Callable[[], ClosedMemory] | None = None
    open_classifier: Callable[[], Classifier] | None = None
    writer_key: str = ""
    """What the writer is made of, by digest; empty: never the same as another."""
    classifier_key: str = ""
    """The same of the classifier, and of the memory of what it saw."""


class Wanted(Struct, frozen=True):
    """The newest wish, by number."""

    number: int
    wish: Wish


class Running(Struct, frozen=True, kw_only=True):
    """How the wish of that number does."""

    number: int = 0
    release: str = TEMPLATE_ONLY.id
    certificate: str = ""
    """Why its certificate does not hold here; empty where it does."""
    taken_by: tuple[Taker, ...] = ()
    problem: str = ""
    """What could not be opened or was given up, in words; empty for nothing."""
    sentences: int = 0
    """Texts in which the writer was asked to phrase something."""
    refused: int = 0
    """Those of them in which the verifier refused a draft."""
    writer_failures: int = 0
    classifier_failures: int = 0

    @property
    def taken(self) -> bool:
        """Whether every worker has exchanged its engines."""
        return set(self.taken_by) == set(TAKERS)


class ReleaseSlot:
    """One slot, many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = Wanted(0, Wish())
        self._running = Running()

    def want(self, wish: Wish) -> int:
        """Wish for a release; the number of the wish."""
        with self._lock:
            number = self._wanted.number + 1
            self._wanted = Wanted(number, wish)
            self._running = Running(number=number, release=wish.speaking.id, certificate=wish.certificate)
            return number

    def wanted(self) -> Wanted:
        """The newest wish."""
        with self._lock:
            return self._wanted

    def took(self, who: Taker, number: int, problem: str = "") -> None:
        """`who` has exchanged its engines, as well as it could: `problem` says what it goes on without."""
        with self._lock:
            if number == self._running.number:
                taken_by = tuple(taker for taker in TAKERS if taker == who or taker in self._running.taken_by)
                told = "; ".join(each for each in (self._running.problem, problem) if each)
                self._running = replace(self._running, taken_by=taken_by, problem=told)

    def wrote(self, number: int, *, refused: bool) -> None:
        """A text was published for which the writer was asked."""
        with self._lock:
            if number == self._running.number:
                counted = replace(self._running, sentences=self._running.sentences + 1)
                self._running = replace(counted, refused=counted.refused + refused)

    def failed(self, number: int, problem: str = "") -> None:
        """The writer failed while running; with `problem` it was given up."""
        with self._lock:
            if number == self._running.number:
                failures = self._running.writer_failures + 1
                self._running = replace(self._running, writer_failures=failures, problem=problem or self._running.problem)

    def classifier_failed(self, number: int, times: int) -> None:
        """The classifier failed while running, so often."""
        with self._lock:
            if number == self._running.number:
                self._running = replace(self._running, classifier_failures=self._running.classifier_failures + times)

    def state(self) -> Running:
        """How the newest wish does."""
        with self._lock:
            return self._running
