"""What a classifier must give: shapes that every release's classifier is trained for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import FIRST_SIGNER, SIGNATURE_BYTES, WINDOW_READINGS, Classified, Classifier, signer
from edge_agent.values import KINDS


class Undecided:
    """The least that keeps the Protocol."""

    def classify(self, windows: NDArray[np.float32]) -> Classified:
        even = np.full((len(windows), len(CLASSES)), 1 / len(CLASSES), dtype=np.float32)
        return Classified(even, np.zeros((len(windows), SIGNATURE_BYTES), dtype=np.int8))


def test_a_classifier_needs_no_base_class() -> None:
    classifier: Classifier = Undecided()
    answer = classifier.classify(np.zeros((3, WINDOW_READINGS), dtype=np.float32))
    assert answer.probabilities.shape == (3, len(CLASSES))
    assert answer.signatures.shape == (3, SIGNATURE_BYTES)


def test_every_kind_with_a_window_has_a_class_and_a_signature_fits_the_journal() -> None:
    assert set(CLASSES) == {"normal", *KINDS} - {"silence"}
    assert (WINDOW_READINGS, SIGNATURE_BYTES) == (64, 32)


def test_a_signature_without_a_name_is_of_the_first_classifier() -> None:
    assert signer("") == FIRST_SIGNER == signer(FIRST_SIGNER) == signer(FIRST_SIGNER + "0" * 48)
    assert signer("a" * 64) == "a" * 16 != signer("")
