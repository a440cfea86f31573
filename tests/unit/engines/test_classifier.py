"""The classifier engine with the model that ships and the runtime that is installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import edge_agent
from edge_agent.detect import CLASSES
from edge_agent.detect.contract import SIGNATURE_BYTES, WINDOW_READINGS, Classifier
from edge_agent.detect.window import normalise_window
from edge_agent.engines import classifier as classifier_module
from edge_agent.engines.classifier import TfliteClassifier
from edge_agent.errors import EngineError

MODEL = Path(edge_agent.__file__).parent / "factory" / "classifier.tflite"
ONSET = 40
NOISE = np.random.default_rng(8).standard_normal(WINDOW_READINGS)


@pytest.fixture(scope="module")
def classifier() -> TfliteClassifier:
    return TfliteClassifier.load(MODEL)


def windows(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).uniform(-1.0, 1.0, (count, WINDOW_READINGS)).astype(np.float32)


def fault(kind: str, sign: float = 1.0) -> NDArray[np.float64]:
    """A window of unit noise about 0 with one clean fault of textbook size from reading `ONSET` on."""
    values = NOISE.copy()
    match kind:
        case "spike" | "dip":
            values[ONSET : ONSET + 2] += 25.0 if kind == "spike" else -25.0
        case "shift":
            values[ONSET:] += sign * 12.0
        case "drift":
            values[16:] += sign * np.linspace(0.0, 16.0, WINDOW_READINGS - 16)
        case "stuck":
            values[ONSET:] = values[ONSET - 1]
        case "noise":
            values[ONSET:] *= 8.0
    return values


def probabilities(
    classifier: Classifier, values: NDArray[np.float64], level: float = 0.0, spread: float = 1.0
) -> dict[str, float]:
    window = normalise_window(values[None, :], np.array([level]), np.array([spread]))
    return dict(zip(CLASSES, classifier.classify(window).probabilities[0].tolist(), strict=True))


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_textbook_faults_are_named_right(classifier: TfliteClassifier, kind: str, sign: float) -> None:
    told = probabilities(classifier, fault(kind, sign))
    assert max(told, key=lambda name: told[name]) == kind
    assert told[kind] > 0.8


@pytest.mark.parametrize(("unit", "offset"), [(1e-6, 0.0), (0.02, -40.0), (5e4, 1e6)])
def test_unit_and_offset_of_the_stream_do_not_matter(classifier: TfliteClassifier, unit: float, offset: float) -> None:
    for kind in CLASSES:
        here = probabilities(classifier, fault(kind) * unit + offset, offset, unit)
        assert here == pytest.approx(probabilities(classifier, fault(kind)), abs=0.05)


def test_like_waveforms_have_like_signatures_and_others_have_not(classifier: TfliteClassifier) -> None:
    def signature(values: NDArray[np.float64]) -> NDArray[np.float64]:
        window = normalise_window(values[None, :], np.zeros(1), np.ones(1))
        vector = classifier.classify(window).signatures[0].astype(np.float64)
        return np.asarray(vector / np.linalg.norm(vector))

    other_noise = np.random.default_rng(99).standard_normal(WINDOW_READINGS) - NOISE
    for kind in ("spike", "dip", "shift", "drift"):
        again = float(signature(fault(kind)) @ signature(fault(kind) + other_noise))
        others = [float(signature(fault(kind)) @ signature(fault(other))) for other in CLASSES if other != kind]
        assert again > 0.8
        assert again > max(others) + 0.1


def test_the_answer_has_the_promised_shape(classifier: TfliteClassifier) -> None:
    same: Classifier = classifier
    answer = same.classify(windows(17))
    assert answer.probabilities.shape == (17, len(CLASSES))
    assert answer.probabilities.dtype == np.float32
    assert answer.probabilities.min() >= 0.0
    assert answer.probabilities.sum(axis=1) == pytest.approx(np.ones(17), abs=1e-6)
    assert answer.signatures.shape == (17, SIGNATURE_BYTES)
    assert answer.signatures.dtype == np.int8
    assert len(answer.signatures[0].tobytes()) == SIGNATURE_BYTES
    assert answer.signatures.any(axis=1).all()


def test_no_windows_no_answers(classifier: TfliteClassifier) -> None:
    answer = classifier.classify(np.empty((0, WINDOW_READINGS), dtype=np.float32))
    assert answer.probabilities.shape == (0, len(CLASSES))
    assert answer.signatures.shape == (0, SIGNATURE_BYTES)


def test_a_window_is_answered_alike_alone_in_company_and_again(classifier: TfliteClassifier) -> None:
    many = windows(20)
    together = classifier.classify(many)
    for row in reversed(range(20)):
        alone = classifier.classify(many[row : row + 1])
        assert np.array_equal(alone.probabilities[0], together.probabilities[row])
        assert np.array_equal(alone.signatures[0], together.signatures[row])


def test_values_out_of_range_and_nan_do_no_harm(classifier: TfliteClassifier) -> None:
    wild = windows(1)
    wild[0, ::7] = np.nan
    wild[0, 1::7] = np.inf
    wild[0, 2::7] = -1e30
    tame = np.nan_to_num(wild, nan=0.0, posinf=50.0, neginf=-50.0)
    assert np.array_equal(classifier.classify(wild).probabilities, classifier.classify(tame).probabilities)


@pytest.mark.parametrize("shape", [(WINDOW_READINGS,), (2, WINDOW_READINGS - 1), (1, WINDOW_READINGS, 1)])
def test_windows_of_another_shape_are_refused(classifier: TfliteClassifier, shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match="windows have shape"):
        classifier.classify(np.zeros(shape, dtype=np.float32))


def test_the_model_that_ships_is_small_and_known_by_its_digest() -> None:
    content = MODEL.read_bytes()
    assert len(content) < 60_000
    digest = hashlib.sha256(content).hexdigest()
    assert TfliteClassifier.load(content).digest == digest
    assert TfliteClassifier.load(MODEL, digest.upper()).digest == digest


def test_a_damaged_model_is_refused_before_a_runtime_sees_it(tmp_path: Path) -> None:
    content = MODEL.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    path = tmp_path / "classifier.tflite"
    for bad in (content[:5000], content[:-1], content + b"\0", content[:900] + b"\xff" + content[901:]):
        path.write_bytes(bad)
        with pytest.raises(EngineError, match=r"classifier\.tflite: damaged"):
            TfliteClassifier.load(path, digest)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a TensorFlow Lite model"), (b"PK\x03\x04" * 10, "not a TensorFlow Lite model")],
)
def test_what_is_no_model_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        TfliteClassifier.load(content)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"absent\.tflite: not readable: No such file"):
        TfliteClassifier.load(tmp_path / "absent.tflite")
    with pytest.raises(EngineError, match="not readable"):
        TfliteClassifier.load(tmp_path)


def test_a_file_far_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "classifier.tflite"
    with path.open("wb") as file:
        file.truncate(classifier_module.MODEL_BYTES_MAX + 1)
    with pytest.raises(EngineError, match="more than"):
        TfliteClassifier.load(path)


def test_the_next_runtime_is_tried_when_one_is_not_installed() -> None:
    loaded = TfliteClassifier.load(MODEL, runtimes=("runtime_that_is_not_there", *classifier_module.RUNTIMES))
    assert loaded.runtime in classifier_module.RUNTIMES


def test_a_runtime_that_imports_but_cannot_build_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "runtime_for_old_numpy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text(
        "class Interpreter:\n"
        "    def __init__(self, model_content, num_threads):\n"
        "        raise ImportError('numpy.core.multiarray failed to import')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = TfliteClassifier.load(MODEL, runtimes=("runtime_for_old_numpy", *classifier_module.RUNTIMES))
    assert loaded.runtime in classifier_module.RUNTIMES
    with pytest.raises(EngineError, match=r"runtime_for_old_numpy: numpy\.core.multiarray failed") as refused:
        TfliteClassifier.load(MODEL, runtimes=("runtime_for_old_numpy", "runtime_that_is_not_there"))
    assert "runtime_that_is_not_there: No module named" in str(refused.value)
    assert "install tflite-runtime with numpy<2" in str(refused.value)


class Impostor:
    """An interpreter whose model has the tensors it is told to have."""

    def __init__(
        self, inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]], dtype: Any, scale: float, code: int
    ) -> None:
        self.inputs = [self.details(index, shape, dtype, scale) for index, shape in enumerate(inputs)]
        self.outputs = [self.details(10 + index, shape, dtype, scale) for index, shape in enumerate(outputs)]
        self.code = code

    @staticmethod
    def details(index: int, shape: tuple[int, ...], dtype: Any, scale: float) -> dict[str, Any]:
        return {"index": index, "name": f"t{index}", "shape": np.array(shape), "dtype": dtype, "quantization": (scale, 0)}

    def allocate_tensors(self) -> None: ...

    def get_input_details(self) -> list[dict[str, Any]]:
        return self.inputs

    def get_output_details(self) -> list[dict[str, Any]]:
        return self.outputs

    def set_tensor(self, index: int, value: NDArray[np.int8]) -> None: ...

    def invoke(self) -> None: ...

    def get_tensor(self, index: int) -> NDArray[np.int8]:
        return np.full(tuple(self.outputs[index - 10]["shape"]), self.code, dtype=np.int8)


RIGHT_IN: list[tuple[int, ...]] = [(1, WINDOW_READINGS)]
RIGHT_OUT: list[tuple[int, ...]] = [(1, len(CLASSES)), (1, SIGNATURE_BYTES)]


@pytest.mark.parametrize(
    ("inputs", "outputs", "dtype", "scale", "code", "message"),
    [
        ([(1, 63)], RIGHT_OUT, np.int8, 1 / 256, 36, r"input shapes are \[\(1, 63\)\], expected \[\(1, 64\)\]"),
        ([*RIGHT_IN, (1, 1)], RIGHT_OUT, np.int8, 1 / 256, 36, "input shapes"),
        (RIGHT_IN, [(1, 6), (1, SIGNATURE_BYTES)], np.int8, 1 / 256, 36, "output shapes"),
        (RIGHT_IN, RIGHT_OUT[:1], np.int8, 1 / 256, 36, "output shapes"),
        (RIGHT_IN, [(1, len(CLASSES))] * 2, np.int8, 1 / 256, 36, "output shapes"),
        (RIGHT_IN, RIGHT_OUT, np.float32, 1 / 256, 36, "not quantised to int8"),
        (RIGHT_IN, RIGHT_OUT, np.int8, 0.0, 36, "not quantised to int8"),
        (RIGHT_IN, RIGHT_OUT, np.int8, 1 / 256, 90, "its probabilities sum to 2.46"),
        (RIGHT_IN, RIGHT_OUT, np.int8, 1 / 256, 0, "its probabilities sum to 0.00"),
    ],
)
def test_a_model_against_the_contract_is_refused_by_name(
    inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]], dtype: Any, scale: float, code: int, message: str
) -> None:
    impostor = Impostor(inputs, outputs, dtype, scale, code)
    with pytest.raises(EngineError, match=message):
        TfliteClassifier.load(MODEL, factory=lambda **_: impostor)


def test_outputs_may_come_in_any_order() -> None:
    swapped = TfliteClassifier.load(MODEL, factory=lambda **_: Impostor(RIGHT_IN, RIGHT_OUT[::-1], np.int8, 1 / 256, 36))
    answer = swapped.classify(windows(1))
    assert answer.probabilities.shape == (1, len(CLASSES))
    assert answer.signatures.shape == (1, SIGNATURE_BYTES)


def test_what_is_less_than_impossible_is_no_probability() -> None:
    impostor = Impostor(RIGHT_IN, RIGHT_OUT, np.int8, 1 / 256, 36)
    loaded = TfliteClassifier.load(MODEL, factory=lambda **_: impostor)

    def torn(index: int) -> NDArray[np.int8]:
        return np.resize(np.array([-90, 120], dtype=np.int8), (1, RIGHT_OUT[index - 10][1]))

    impostor.get_tensor = torn  # type: ignore[method-assign]  # as of a model without a softmax
    answer = loaded.classify(windows(1)).probabilities
    assert answer.min() >= 0.0
    assert answer.sum() == pytest.approx(1.0)


def test_a_runtime_that_fails_while_running_is_an_engine_error() -> None:
    impostor = Impostor(RIGHT_IN, RIGHT_OUT, np.int8, 1 / 256, 36)
    loaded = TfliteClassifier.load(MODEL, factory=lambda **_: impostor)

    def fail() -> None:
        raise RuntimeError("node number 3 failed to invoke")

    impostor.invoke = fail  # type: ignore[method-assign]  # what a runtime does when a kernel fails
    with pytest.raises(EngineError, match="node number 3"):
        loaded.classify(windows(1))


def test_a_runtime_is_imported_when_a_model_is_loaded_and_starts_no_thread() -> None:
    code = (
        "import os, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from edge_agent.engines import classifier\n"
        "print(any(name in sys.modules for name in classifier.RUNTIMES))\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        f"loaded = classifier.TfliteClassifier.load(Path({str(MODEL)!r}))\n"
        "loaded.classify(np.zeros((50, 64), np.float32))\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "0"]
