"""The trial of a release in the running agent: what is watched while it soaks, and what is held against it.

Rules: pure; whoever watches hands in what was seen and the time. A release fails for what it is: engines that cannot be opened or
fail while they run, sentences that the verifier refuses far more often than a release may, memory beyond its own limit, a worker
that makes no progress. The time counts from when every worker has taken it: a busy device does not soak by waiting. It adds up
over runs that were stopped in order, so that a device which is switched off every night ends its trials too; but the last run is
never a short one, because what leaks or hangs does so later than at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from edge_agent.release.manifest import Limits
from edge_agent.workers.active import Running
from edge_agent.workers.outcomes import Teller

TAKE_S = 300.0
"""How long the workers may take to open a release; a large writer from slow storage takes the longest."""
MIN_JUDGED = 8
"""Texts from which a share is judged."""
MAX_REFUSED = 0.5
"""A release that was good enough to pass its probe is refused by the verifier now and then, not every other time."""
MAX_WRITER_FAILURES = 3
MAX_CLASSIFIER_FAILURES = 3
UNBROKEN_S = 600.0
"""The last run of a trial lasts as long at least, or the whole soak where that is less."""
SPARE_RSS_BYTES = 64 << 20
"""What the rest of the agent may grow by meanwhile: more streams, a longer queue."""


class Live(Teller, Protocol):
    """The running agent, in which a release is tried; `edge_agent.workers.live.LiveAgent` is one."""

    def speak(self) -> int:
        """Let speak what the record says; the number of the wish. Raises StorageError."""

    def running(self) -> Running:
        """How the newest wish does."""

    def stale(self) -> Sequence[str]:
        """Names of the workers that make no progress."""


class Watched(Struct, frozen=True, kw_only=True):
    """What was seen of a trial at one time."""

    running: Running
    rss_bytes: int
    stale: Sequence[str]
    """Names of the workers that make no progress."""


class Trial:
    """One trial, from the moment a release is wanted."""

    def __init__(
        self, *, number: int, began_s: float, rss_before_bytes: int, limits: Limits, soak_s: float, soaked_s: float = 0.0
    ) -> None:
        """`number` is the wish's; times are of a monotonic clock; `rss_before_bytes` is the agent's before the release.

        `soaked_s` is how long it soaked in earlier runs.
        """
        self.number = number
        self._began_s = began_s
        self._soaks_since_s: float | None = None
        self._seen_s = began_s
        self._before_s = soaked_s
        self._limits = limits
        self._max_rss_bytes = rss_before_bytes + limits.max_rss_bytes + SPARE_RSS_BYTES
        self._soak_s = soak_s

    @property
    def soaks(self) -> bool:
        """Whether every worker had taken the release when it was looked at last, and nothing was held against it."""
        return self._soaks_since_s is not None

    @property
    def soaked_s(self) -> float:
        """How long it soaked in this run, when it was looked at last."""
        return 0.0 if self._soaks_since_s is None else self._seen_s - self._soaks_since_s

    def fault(self, seen: Watched, now_s: float) -> str:
        """What is held against the release, in words; empty for nothing."""
        running = seen.running
        if running.number != self.number:
            return ""
        if running.problem:
            return running.problem
        for name in ("explain", "screen"):
            if name in seen.stale:
                return f"the worker {name} makes no progress since"
        if running.writer_failures >= MAX_WRITER_FAILURES:
            return f"the writer failed {running.writer_failures} times"
        if running.classifier_failures >= MAX_CLASSIFIER_FAILURES:
            return f"the classifier failed {running.classifier_failures} times"
        if running.sentences >= MIN_JUDGED and running.refused > MAX_REFUSED * running.sentences:
            return f"the verifier refused the writer in {running.refused} of {running.sentences} texts"
        if seen.rss_bytes > self._max_rss_bytes:
            return f"the agent takes {seen.rss_bytes >> 20} MiB of memory, {self._max_rss_bytes >> 20} are allowed with it"
        if not running.taken and now_s - self._began_s > TAKE_S:
            return f"its engines were not opened within {TAKE_S:g} s"
        return ""

    def soaked(self, seen: Watched, now_s: float) -> bool:
        """Whether it ran for as long as it had to. Call `fault` first."""
        if seen.running.number != self.number or not seen.running.taken:
            return False
        if self._soaks_since_s is None:
            self._soaks_since_s = now_s
        self._seen_s = now_s
        unbroken = self.soaked_s >= min(self._soak_s, UNBROKEN_S)
        return unbroken and self._before_s + self.soaked_s >= self._soak_s
