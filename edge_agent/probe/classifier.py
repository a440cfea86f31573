"""The classifier of a release, tried with windows whose shapes nobody could mistake for each other.

Rules: pure but for the classifier that is given. How often it is right is the builder's affair; here it must answer in shape,
finite, in time, the same each time, know each class, upwards and downwards, in one of the windows at least that show nothing
else, and not sign windows of different classes alike: a past incident would be called similar, with its cause, that has nothing
to do with it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import SIGNATURE_BYTES, WINDOW_READINGS, Classified, Classifier
from edge_agent.engines.memory import SIMILARITY_FLOOR

MAX_WINDOW_S = 0.01
"""Of a processor, for one window: readings wait while windows are classified, and where everything on a site moves at once there
is one window for each of the 2,000 readings of a batch, in a step that may take 40 s on a processor that is shared."""
MAX_ALIKE = 0.1
"""Of the pairs of windows of different classes, the share that may be as similar as a past incident has to be to be told."""
_ROUNDS = 3
_SUM_TOLERANCE = 0.01
_ONSET = 40
_HEIGHTS = (20.0, 60.0)


def wrong_classifier(classifier: Classifier, cpu_s: Callable[[], float]) -> str:
    """Why the classifier is unfit, in words; empty where it is not. `cpu_s` tells how much of a processor was used so far.

    Raises EngineError where it fails.
    """
    names, windows = trial_windows()
    classifier.classify(extreme_windows())  # only that it can: nobody knows what these are
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
    if len({row.tobytes() for row in first.signatures}) == 1:
        return "its classifier gives every window the same signature"
    if why := _taken_for_alike(names, first.signatures):
        return why
    if why := _misnamed(names, first.probabilities):
        return why
    if window_s > MAX_WINDOW_S:
        return f"its classifier takes {window_s:.2f} s for one window, at most {MAX_WINDOW_S:g} s are allowed"
    return ""


def extreme_windows() -> NDArray[np.float32]:
    """Windows at the ends of the scale, where streams that never moved before leap to: shape (n, WINDOW_READINGS)."""
    after, time = np.arange(WINDOW_READINGS) >= _ONSET, np.arange(WINDOW_READINGS)
    shapes = (time * 0 + 1, after, time == WINDOW_READINGS - 1, np.where(time % 2, 1, -1), np.linspace(-1, 1, WINDOW_READINGS))
    up = np.stack([np.asarray(shape, dtype=np.float32) for shape in shapes])
    return np.concatenate([up, -up, np.zeros((1, WINDOW_READINGS), dtype=np.float32)])


def trial_windows() -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """For each window its class, and the windows: shape (n, WINDOW_READINGS), on the scale of `detect.window`.

    What happens in them is twenty and sixty times as large as what is usual there.
    """
    time = np.arange(WINDOW_READINGS)
    after, burst, ramp = time >= _ONSET, (time >= _ONSET) & (time < _ONSET + 3), np.clip((time - 16) / 48, 0, 1)
    found: list[tuple[str, NDArray[np.float64]]] = []
    for number, height in enumerate(_HEIGHTS):
        usual = _usual(number)
        found += [("normal", usual), ("stuck", np.where(after, usual[_ONSET], usual))]
        found += [("spike", usual + height * burst), ("dip", usual - height * burst)]
        found += [("shift", usual + height * after), ("shift", usual - height * after)]
        found += [("drift", usual + height * ramp), ("drift", usual - height * ramp)]
        found += [("noise", usual * np.where(after, height, 1.0))]
    windows = np.arcsinh(np.stack([window for _, window in found])) / np.arcsinh(1000.0)
    return tuple(name for name, _ in found), windows.astype(np.float32)


def _usual(number: int) -> NDArray[np.float64]:
    """Looks like noise of spread 1, is always the same: a sequence of low discrepancy (Roberts 2018), by Box and Muller."""
    steps = np.arange(1, WINDOW_READINGS + 1) + number * WINDOW_READINGS
    first, second = (steps * 0.7548776662) % 1.0, (steps * 0.5698402910) % 1.0
    noise = np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)
    return np.asarray((noise - noise.mean()) / noise.std(), dtype=np.float64)


def _misnamed(names: tuple[str, ...], probabilities: NDArray[np.float32]) -> str:
    """Each shape, up and down, must be known at one of its heights at least: outputs in another order know none of some."""
    answers = [CLASSES[place] for place in probabilities.argmax(axis=1).tolist()]
    shapes = len(names) // len(_HEIGHTS)
    for place, name in sorted(enumerate(names[:shapes]), key=lambda shape: CLASSES.index(shape[1])):
        called = set(answers[place::shapes])
        if name not in called:
            downwards = " downwards" if name in names[:place] else ""
            return f"its classifier takes each window that shows {name}{downwards} for {' or '.join(sorted(called))}"
    return ""


def _taken_for_alike(names: tuple[str, ...], signatures: NDArray[np.int8]) -> str:
    """Embeddings that lie in one direction say of everything that it is like everything else."""
    vectors = signatures.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    if not lengths.all():
        return "its classifier gives a window no signature at all"
    similar = (vectors @ vectors.T) / np.outer(lengths, lengths) >= SIMILARITY_FLOOR
    different = np.array(names)[:, None] != np.array(names)[None, :]
    share = float(similar[different].mean())
    if share <= MAX_ALIKE:
        return ""
    pairs = "pairs of windows that show different things"
    return f"its classifier signs {share:.0%} of the {pairs} alike, at most {MAX_ALIKE:.0%} may be"


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
