"""What detection asks of a classifier: the shapes, and the Protocol that an engine keeps.

Rules: no I/O; the window and the embedding are part of every release's contract, so that changing either needs a new classifier.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

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
