"""The shipped classifier under both runtimes: tflite-runtime (Python 3.11) and ai-edge-litert (Python 3.12 and later).

The two cannot share an environment, because one needs numpy < 2 and the other is tried with numpy 2; so the second lives in
`.venv-litert`, which `scripts/test` makes, and is asked through a child process.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from edge_ota.train.classifier_data import make_data
from numpy.typing import NDArray

import edge_agent
from edge_agent.detect import CLASSES
from edge_agent.detect.contract import WINDOW_READINGS, Classified
from edge_agent.engines.classifier import TfliteClassifier

ROOT = Path(edge_agent.__file__).parent.parent
MODEL = ROOT / "edge_agent" / "factory" / "classifier.tflite"
PYTHON = ROOT / ".venv-litert" / "bin" / "python"
HOW_TO_MAKE = "python3 -m venv .venv-litert && .venv-litert/bin/pip install -r tests/requirements-litert.txt"
CHILD = """
import sys
import numpy as np
from pathlib import Path
from edge_agent.engines.classifier import TfliteClassifier
loaded = TfliteClassifier.load(Path(sys.argv[1]))
answer = loaded.classify(np.load(sys.argv[2]))
np.savez(sys.argv[3], probabilities=answer.probabilities, signatures=answer.signatures)
print(loaded.runtime, np.__version__.partition(".")[0])
"""


def in_second_environment(folder: Path, windows: NDArray[np.float32]) -> tuple[Classified, list[str]]:
    if not PYTHON.exists():
        pytest.fail(f"the second environment is not there; make it with scripts/test, or with: {HOW_TO_MAKE}")
    np.save(folder / "windows.npy", windows)
    done = subprocess.run(
        [PYTHON, "-c", CHILD, MODEL, folder / "windows.npy", folder / "answer.npz"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "answer.npz") as arrays:
        return Classified(arrays["probabilities"], arrays["signatures"]), done.stdout.split()


def likeness(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    return np.asarray((x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1))


def test_both_runtimes_give_the_same_answers_but_for_rounding(tmp_path: Path) -> None:
    data = make_data(seed=77, cases=len(CLASSES) * 60)
    hard = np.random.default_rng(1).uniform(-1.0, 1.0, (40, WINDOW_READINGS)).astype(np.float32)
    windows = np.concatenate([data.windows, hard])
    here = TfliteClassifier.load(MODEL).classify(windows)
    there, (runtime, numpy_major) = in_second_environment(tmp_path, windows)
    assert (runtime, numpy_major) == ("ai_edge_litert", "2")
    # Each layer may round its last bit the other way, so a code behind six layers differs by one step and seldom by more.
    steps = np.abs(here.signatures.astype(np.int16) - there.signatures)
    assert (steps <= 1).mean() > 0.97
    assert likeness(here.signatures, there.signatures).min() > 0.97
    apart = np.abs(here.probabilities - there.probabilities).max(axis=1)
    assert (apart <= 1.0 / 256).mean() > 0.85
    # Where they name another kind, it was a toss-up for both.
    other = here.probabilities.argmax(axis=1) != there.probabilities.argmax(axis=1)
    assert other.mean() < 0.01
    assert np.all(here.probabilities[other].max(axis=1) < 0.7)


def test_the_textbook_label_is_the_same_under_both(tmp_path: Path) -> None:
    data = make_data(seed=78, cases=len(CLASSES) * 30)
    answer, _ = in_second_environment(tmp_path, data.windows)
    assert (answer.probabilities.argmax(axis=1) == data.labels).mean() > 0.9
