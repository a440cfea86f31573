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
SIGNER_DIGITS = 16
"""So many hexadecimal digits of a classifier's SHA-256 tell it from every other."""
FIRST_SIGNER = "1a16deb13caa22f6"
"""Who made a signature that names nobody: signatures were stored without a name while this was the only classifier there was."""


class Classified(Struct, frozen=True):
    """The classifier's answer for n windows."""

    probabilities: NDArray[np.float32]
    """Shape (n, len(CLASSES)), rows sum to 1. The order of classes is `edge_agent.detect.CLASSES`."""
    signatures: NDArray[np.int8]
    """Shape (n, SIGNATURE_BYTES)."""
    signed_by: str = ""
    """Which classifier made the signatures (`signer`): embeddings of two classifiers are not comparable."""


class Classifier(Protocol):
    """Names the kind of a candidate from its window. One owner: the screen worker."""

    def classify(self, windows: NDArray[np.float32]) -> Classified:
        """Classify windows of shape (n, WINDOW_READINGS). Raises EngineError."""


def signer(named: str) -> str:
    """Who made a signature: `named` is a classifier's digest, what a signature names, or empty where it names nobody."""
    return named[:SIGNER_DIGITS] or FIRST_SIGNER
