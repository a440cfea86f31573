"""The spine: readings to incidents (`screen`), incident to summary (`explain`), and the Protocols that both need.

Rules: no I/O, no threads, no native library is imported here; engines come in through the Protocols below, time comes in
as an argument. `Screener` holds state and has one owner, the screen worker; `explain` is a function of its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.values import Draft, Evidence, PastIncident, Prompt

WINDOW_READINGS = 64
"""Length of the window that the classifier sees: the last readings of a stream, normalised by its usual level and spread."""
SIGNATURE_BYTES = 32
"""Length of the classifier's int8 embedding."""


class Classified(Struct, frozen=True):
    """The classifier's answer for n windows."""

    probabilities: NDArray[np.float32]
    """Shape (n, len(CLASSES)), rows sum to 1. The order of classes is `edge_agent.detect.CLASSES`."""
    signatures: NDArray[np.int8]
    """Shape (n, SIGNATURE_BYTES)."""


class Classifier(Protocol):
    """Names the kind of a candidate from its window. One owner: the screen worker."""

    def classify(self, windows: NDArray[np.float32]) -> Classified:
        """Classify windows of shape (n, WINDOW_READINGS). Raises EngineError."""


class Writer(Protocol):
    """Phrases chunks. One owner: the explain worker."""

    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        """One draft a prompt, in order, greedy and deterministic. Raises EngineError."""


class Memory(Protocol):
    """Past incidents by the likeness of their waveforms. One owner: the explain worker."""

    def add(self, past: PastIncident) -> None:
        """Remember a closed incident; adding the same number again replaces it."""

    def nearest(self, signature: bytes, before_s: float) -> Evidence | None:
        """The most similar incident opened before `before_s` whose similarity reaches the floor, or None."""
