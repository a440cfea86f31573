"""Counts, levels, latencies and conditions of a running agent: plain objects that are handed to their owners.

Rules: labels come from a small fixed set of reasons, never from sensor text; past `MAX_LABELS` new labels are counted
under `other`. A `Reservoir` is bounded: it keeps the newest samples only. A level and a condition have one owner each, who
sets and clears it. All may be written by one thread while another reads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from msgspec import Struct, field

MAX_LABELS = 64
RESERVOIR_SAMPLES = 4_096


class Counter:
    """Counts by label."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def add(self, label: str, count: int = 1) -> None:
        """Add `count` under `label`."""
        with self._lock:
            if label not in self._counts and len(self._counts) >= MAX_LABELS:
                label = "other"
            self._counts[label] = self._counts.get(label, 0) + count

    def get(self, label: str) -> int:
        """What was counted under `label`."""
        with self._lock:
            return self._counts.get(label, 0)

    def by_label(self) -> dict[str, int]:
        """A copy of all counts, sorted by label."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def total(self) -> int:
        """The sum over all labels."""
        with self._lock:
            return sum(self._counts.values())


class Levels:
    """What is a number now, by label, such as how many incidents are open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._levels: dict[str, int] = {}

    def set(self, label: str, level: int) -> None:
        """Replace the level of `label`."""
        with self._lock:
            self._levels[label] = level

    def get(self, label: str) -> int:
        """The level of `label`, 0 before it was set."""
        with self._lock:
            return self._levels.get(label, 0)


class Conditions:
    """What a person should know and perhaps put right, while it lasts: one text for people by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}

    def set(self, name: str, text: str) -> None:
        """Raise or reword the condition `name`."""
        with self._lock:
            self._texts[name] = text

    def clear(self, name: str) -> None:
        """The condition `name` is over, if it ever was."""
        with self._lock:
            self._texts.pop(name, None)

    def current(self) -> tuple[str, ...]:
        """All texts as `name: text`, sorted by name."""
        with self._lock:
            return tuple(f"{name}: {text}" for name, text in sorted(self._texts.items()))


class Quantiles(Struct, frozen=True, kw_only=True):
    """Latencies in seconds over the newest `count` samples (nearest rank)."""

    count: int
    p50_s: float
    p95_s: float
    p99_s: float


class Reservoir:
    """The newest samples of one latency, in seconds."""

    def __init__(self, max_samples: int = RESERVOIR_SAMPLES) -> None:
        self._lock = threading.Lock()
        self._samples: deque[float] = deque(maxlen=max_samples)

    def add(self, seconds: float) -> None:
        """Keep one sample; the oldest is forgotten when full."""
        with self._lock:
            self._samples.append(seconds)

    def extend(self, seconds: Iterable[float]) -> None:
        """Keep several samples."""
        with self._lock:
            self._samples.extend(seconds)

    def quantiles(self) -> Quantiles | None:
        """The latencies as quantiles, or None while there is no sample."""
        with self._lock:
            ordered = sorted(self._samples)
        if not ordered:
            return None
        last = len(ordered) - 1

        def rank(share: float) -> float:
            return ordered[min(last, round(share * last))]

        return Quantiles(count=len(ordered), p50_s=rank(0.50), p95_s=rank(0.95), p99_s=rank(0.99))


class Metrics(Struct, frozen=True, kw_only=True):
    """All that one running agent counts. The struct is frozen; what it holds is written by the owners named below."""

    flow: Counter = field(default_factory=Counter)
    """Screen and explain workers: readings, anomalies, incidents, summaries, published messages."""
    kinds: Counter = field(default_factory=Counter)
    """Screen worker: anomalies by kind, each when it ends."""
    rejections: Counter = field(default_factory=Counter)
    """Screen worker: messages and readings set aside, by reason."""
    routes: Counter = field(default_factory=Counter)
    """Explain worker: summaries by route."""
    fallbacks: Counter = field(default_factory=Counter)
    """Explain worker: why a sentence is not the writer's, by reason."""
    errors: Counter = field(default_factory=Counter)
    """Worker loops: steps that failed, by worker."""
    levels: Levels = field(default_factory=Levels)
    """Screen worker: streams, open incidents."""
    conditions: Conditions = field(default_factory=Conditions)
    """Whoever finds one: release, writer, memory, journal, workers."""
    anomaly_latency: Reservoir = field(default_factory=Reservoir)
    """Arrival of the oldest message of a batch to the batch's anomaly messages standing in the journal's outbox."""
    summary_latency: Reservoir = field(default_factory=Reservoir)
    """An incident's change to its summary standing in the journal's outbox."""
