"""Classifiers that are unfit, each in its own way, and the factory's, which is fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import SIGNATURE_BYTES, WINDOW_READINGS, Classified
from edge_agent.engines.loading import open_release
from edge_agent.errors import EngineError
from edge_agent.probe.classifier import MAX_WINDOW_S, trial_windows, wrong_classifier

Array = NDArray[np.float32]
_SWAP = {"shift": "drift", "drift": "shift"}
SWAPPED = [CLASSES.index(_SWAP.get(one, one)) for one in CLASSES]


class Sound:
    """Knows the windows by heart. `spoil` changes an answer before it is given."""

    def __init__(self, spoil: Callable[[Array, NDArray[np.int8]], Any] = lambda p, s: (p, s)) -> None:
        self._spoil = spoil

    def classify(self, windows: Array) -> Classified:
        names, known = trial_windows()
        places = [int(np.abs(known - window).sum(axis=1).argmin()) for window in windows]
        probabilities = np.full((len(windows), len(CLASSES)), 0.05, dtype=np.float32)
        probabilities[range(len(windows)), [CLASSES.index(names[place]) for place in places]] = 0.7
        signatures = np.eye(SIGNATURE_BYTES, dtype=np.int8)[places] * 100
        return Classified(*self._spoil(probabilities, signatures))


def still() -> float:
    return 0.0


def test_the_factory_classifier_is_fit() -> None:
    assert wrong_classifier(open_release().open_classifier(), still) == ""


def test_a_classifier_that_tells_windows_apart_is_fit() -> None:
    assert wrong_classifier(Sound(), still) == ""


def test_the_windows_are_on_the_scale_and_differ() -> None:
    names, windows = trial_windows()
    assert windows.shape == (len(names), WINDOW_READINGS)
    assert all(names.count(one) >= 2 for one in CLASSES)
    assert np.abs(windows).max() <= 1
    assert len({row.tobytes() for row in windows}) == len(windows)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda p, s: (p[:, :-1], s), "in the shapes"),
        (lambda p, s: (p, s[:, :-1]), "in the shapes"),
        (lambda p, s: (p * np.nan, s), "no number"),
        (lambda p, s: (p * 2, s), "no probabilities"),
        (lambda p, s: (p - 1 / len(CLASSES) * 2, s), "no probabilities"),
        (lambda p, s: (p, np.zeros_like(s)), "the same signature"),
        (lambda p, s: (p, s // 4 + np.int8(100)), "100% of the pairs of windows that show different things alike"),
        (lambda p, s: (p, s * (s.argmax(axis=1) > 0)[:, None]), "no signature at all"),
        (lambda p, s: (np.full_like(p, 1 / len(CLASSES)), s), "each window that shows spike for normal"),
        (lambda p, s: (p[:, [0, 2, 1, 3, 4, 5, 6]], s), "each window that shows spike for dip"),
        (lambda p, s: (np.where(np.isin(s.argmax(axis=1), [7, 16])[:, None], p[:, SWAPPED], p), s), "drift downwards for shift"),
        (lambda p, s: (np.roll(p, 1, axis=1), s), "each window that shows normal for spike"),
    ],
)
def test_what_is_wrong_with_an_answer_is_told(spoil: Callable[[Array, NDArray[np.int8]], Any], expected: str) -> None:
    assert expected in wrong_classifier(Sound(spoil), still)


def test_a_classifier_that_remembers_is_told() -> None:
    calls = itertools.count()
    assert "differently" in wrong_classifier(Sound(lambda p, s: (p, s + np.int8(next(calls)))), still)


def test_a_classifier_whose_answer_depends_on_its_place_is_told() -> None:
    def by_place(p: Array, s: NDArray[np.int8]) -> tuple[Array, NDArray[np.int8]]:
        return p, (s + np.arange(len(s))[:, None]).astype(np.int8)

    assert "differently" in wrong_classifier(Sound(by_place), still)


def test_a_classifier_that_keeps_readings_waiting_is_told() -> None:
    ticks = itertools.count()
    taken_s = 2 * MAX_WINDOW_S * 3 * len(trial_windows()[0])
    assert "for one window" in wrong_classifier(Sound(), lambda: next(ticks) * taken_s)


def test_a_classifier_that_fails_at_the_ends_of_the_scale_is_told() -> None:
    class Failing(Sound):
        def classify(self, windows: Array) -> Classified:
            if windows.max() > np.abs(trial_windows()[1]).max():
                raise EngineError("gather index out of bounds")
            return super().classify(windows)

    with pytest.raises(EngineError, match="out of bounds"):
        wrong_classifier(Failing(), still)
