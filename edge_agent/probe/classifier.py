"""The classifier of a release, tried with windows whose shapes nobody could mistake for each other.

Rules: pure but for the classifier that is given. It is not judged by how often it is right, which is the builder's affair, but
by whether it answers at all: in shape, finite, in time, the same each time, and not the same to everything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import SIGNATURE_BYTES, WINDOW_READINGS, Classified, Classifier

MAX_WINDOW_S = 0.1
"""Of a processor, for one window: readings wait while windows are classified."""
_ROUNDS = 3
_SUM_TOLERANCE = 0.01
_ONSET = 40


def wrong_classifier(classifier: Classifier, cpu_s: Callable[[], float]) -> str:
    """Why the classifier is unfit, in words; empty where it is not. `cpu_s` tells how much of a processor was used so far."""
    windows = trial_windows()
    before_s = cpu_s()
    answers = [classifier.classify(windows) for _ in range(_ROUNDS)]
    window_s = (cpu_s() - before_s) / (_ROUNDS * len(windows))
    first = answers[0]
    if why := _malformed(first, len(windows)):
        return why
    alone = [classifier.classify(windows[row : row + 1]) for row in reversed(range(len(windows)))][::-1]
    for row, one in enumerate(alone):
        if not _same(first, row, one, 0) or any(not _same(first, row, again, row) for again in answers[1:]):
            return "its classifier answers the same window differently from time to time"
    if len({row.tobytes() for row in first.probabilities}) == 1 or len({row.tobytes() for row in first.signatures}) == 1:
        return "its classifier answers the same to every window"
    if len(set(first.probabilities.argmax(axis=1).tolist())) == 1:
        return f"its classifier calls every window {CLASSES[int(first.probabilities[0].argmax())]}"
    if window_s > MAX_WINDOW_S:
        return f"its classifier takes {window_s:.2f} s for one window, at most {MAX_WINDOW_S:g} s are allowed"
    return ""


def trial_windows() -> NDArray[np.float32]:
    """Shape (n, WINDOW_READINGS), on the scale of `detect.window`: calm, spike, dip, steps, ramps, stuck, noise."""
    time = np.arange(WINDOW_READINGS, dtype=np.float32)
    calm = (0.05 * np.sin(time * 2.399)).astype(np.float32)  # the golden angle: looks like noise, is always the same
    after = (time >= _ONSET).astype(np.float32)
    spike = np.where(time == _ONSET, np.float32(0.7), np.float32(0))
    ramp = np.clip((time - 16) / 40, 0, 1).astype(np.float32) * np.float32(0.6)
    stuck = np.where(time >= _ONSET, calm[_ONSET], calm)
    noisy = calm * (1 + 9 * after)
    windows = [calm, calm + spike, calm - spike, calm + 0.5 * after, calm - 0.5 * after, calm + ramp, calm - ramp, stuck, noisy]
    return np.asarray(np.stack(windows), dtype=np.float32)


def _malformed(answer: Classified, rows: int) -> str:
    probabilities, signatures = answer.probabilities, answer.signatures
    if probabilities.shape != (rows, len(CLASSES)) or signatures.shape != (rows, SIGNATURE_BYTES):
        return f"its classifier answers in the shapes {probabilities.shape} and {signatures.shape}"
    if not np.isfinite(probabilities).all():
        return "its classifier answers with what is no number"
    if (probabilities < 0).any() or (np.abs(probabilities.sum(axis=1) - 1) > _SUM_TOLERANCE).any():
        return "its classifier answers with what are no probabilities"
    return ""


def _same(one: Classified, row: int, other: Classified, its_row: int) -> bool:
    return bool(
        np.array_equal(one.probabilities[row], other.probabilities[its_row])
        and np.array_equal(one.signatures[row], other.signatures[its_row])
    )
