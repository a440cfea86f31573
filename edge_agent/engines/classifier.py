"""The fault classifier of a release: a fully INT8 .tflite run by tflite-runtime or ai-edge-litert, whichever is installed.

Rules: one owner thread and one thread of computation; the runtime is imported when a model is loaded, not before; the shapes,
types and quantisation of the model are checked against the contract when it is loaded, so a wrong model is refused by name
and never half works. The two runtimes round the last bit of a layer differently: most int8 outputs are equal or one step
apart, few more; signatures made by one can be compared with those made by the other (cosine above 0.98).

The model's contract: one int8 input of shape (1, WINDOW_READINGS); two int8 outputs in any order, (1, len(CLASSES)) the
probabilities and (1, SIGNATURE_BYTES) the signature. Scales and zero points are the model's own and are read from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import SIGNATURE_BYTES, WINDOW_READINGS, Classified, signer
from edge_agent.errors import EngineError

RUNTIMES: tuple[str, ...] = ("tflite_runtime", "ai_edge_litert")
"""Packages that bring an `interpreter.Interpreter`, in the order in which they are tried."""
MODEL_BYTES_MAX = 16 << 20
PROBABILITY_SUM_TOLERANCE = 0.1
"""How far int8 probabilities may sum from 1 before they are called no probabilities."""

InterpreterFactory = Callable[..., Any]
"""Builds an interpreter from `model_content` and `num_threads`; the runtimes are untyped."""


class _Tensor(Struct, frozen=True):
    """Where one input or output is, and how its int8 codes mean numbers: `(code - zero_point) * scale`."""

    index: int
    scale: float
    zero_point: int


class TfliteClassifier:
    """Implements `detect.contract.Classifier`. Built by `load`."""

    def __init__(self, interpreter: Any, runtime: str, digest: str, window: _Tensor, kinds: _Tensor, signature: _Tensor) -> None:
        self._interpreter = interpreter
        self._window = window
        self._kinds = kinds
        self._signature = signature
        self.runtime = runtime
        """Name of the package that runs the model."""
        self.digest = digest
        """SHA-256 of the model, lower-case hex: signatures of different digests are not comparable."""

    @classmethod
    def load(
        cls,
        model: bytes | Path,
        sha256: str | None = None,
        *,
        runtimes: Sequence[str] = RUNTIMES,
        factory: InterpreterFactory | None = None,
    ) -> TfliteClassifier:
        """Load a .tflite from its bytes or its path, and check it against the contract by running it once.

        Neither runtime verifies a model: a truncated one can end the process. So pass `sha256` (hex), the digest that the
        release's manifest names, unless the bytes have been checked already. `runtimes` are tried in order; `factory`
        replaces them, for an interpreter that neither package brings. Raises EngineError that says whether the file, the
        model or the runtime is at fault.
        """
        content = _read(model) if isinstance(model, Path) else bytes(model)
        digest = hashlib.sha256(content).hexdigest()
        if sha256 is not None and digest != sha256.lower():
            raise EngineError(f"classifier {_named(model)}: damaged, its SHA-256 is {digest}; install the release anew")
        if content[4:8] != b"TFL3":
            raise EngineError(f"classifier {_named(model)}: not a TensorFlow Lite model; install the release anew")
        interpreter, runtime = (factory(model_content=content, num_threads=1), "given") if factory else _build(content, runtimes)
        window, kinds, signature = _contract(interpreter, _named(model))
        loaded = cls(interpreter, runtime, digest, window, kinds, signature)
        loaded._try_once(_named(model))
        return loaded

    def classify(self, windows: NDArray[np.float32]) -> Classified:
        """See `detect.contract.Classifier`. Values outside the range of the model's input count as its ends, NaN as 0."""
        if windows.ndim != 2 or windows.shape[1] != WINDOW_READINGS:
            raise EngineError(f"classifier: windows have shape {windows.shape}, expected (n, {WINDOW_READINGS})")
        codes = _quantise(windows, self._window)
        kinds = np.empty((len(codes), len(CLASSES)), dtype=np.int8)
        signatures = np.empty((len(codes), SIGNATURE_BYTES), dtype=np.int8)
        try:
            # One by one: resizing the input to a batch would allocate again whenever the number of candidates changes.
            for row, code in enumerate(codes):
                self._interpreter.set_tensor(self._window.index, code[None, :])
                self._interpreter.invoke()
                kinds[row] = self._interpreter.get_tensor(self._kinds.index)[0]
                signatures[row] = self._interpreter.get_tensor(self._signature.index)[0]
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"classifier: {self.runtime} failed: {error}; anomalies keep their statistical kind") from error
        return Classified(self._probabilities(kinds), self._signatures(signatures), signer(self.digest))

    def _probabilities(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        """Rows that sum to 1 exactly, which int8 steps do not. What a model says is less than impossible counts as that."""
        steps = np.maximum(codes.astype(np.float32) - self._kinds.zero_point, 0.0)
        return np.asarray(steps / np.maximum(steps.sum(axis=1, keepdims=True), 1.0), dtype=np.float32)

    def _signatures(self, codes: NDArray[np.int8]) -> NDArray[np.int8]:
        """Codes about zero, so that the cosine of two signatures is the cosine of the embeddings; the scale cancels."""
        return np.clip(codes.astype(np.int16) - self._signature.zero_point, -127, 127).astype(np.int8)

    def _try_once(self, name: str) -> None:
        """Run a window through, so that a model that cannot run is refused here and not at the first anomaly."""
        answer = self.classify(np.zeros((1, WINDOW_READINGS), dtype=np.float32))
        steps = self._interpreter.get_tensor(self._kinds.index)[0].astype(np.float32) - self._kinds.zero_point
        total = float(steps.sum()) * self._kinds.scale
        if abs(total - 1.0) > PROBABILITY_SUM_TOLERANCE or not answer.probabilities.any():
            raise EngineError(f"classifier {name}: its probabilities sum to {total:.2f}, expected 1; it is no softmax output")


def _named(model: bytes | Path) -> str:
    return str(model) if isinstance(model, Path) else "model"


def _read(path: Path) -> bytes:
    """The file's bytes, if they can be a classifier's."""
    try:
        size = path.stat().st_size
        if size > MODEL_BYTES_MAX:
            raise EngineError(f"classifier {path}: {size} bytes, more than {MODEL_BYTES_MAX}; install the release anew")
        return path.read_bytes()
    except OSError as error:
        raise EngineError(f"classifier {path}: not readable: {error.strerror or error}; install the release anew") from error


def _build(content: bytes, runtimes: Sequence[str]) -> tuple[Any, str]:
    """An interpreter of the first runtime that can be imported *and* build one.

    tflite-runtime beside numpy 2 imports well and fails only when an interpreter is built, so building is part of the try.
    """
    problems: list[str] = []
    for runtime in runtimes:
        try:
            factory = import_module(f"{runtime}.interpreter").Interpreter
            return factory(model_content=content, num_threads=1), runtime
        except (ImportError, AttributeError, RuntimeError, ValueError) as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            problems.append(f"{runtime}: {first_line}")
    raise EngineError(
        "classifier: no runtime can load the model: "
        + "; ".join(problems)
        + "; install tflite-runtime with numpy<2 (Python 3.11) or ai-edge-litert (Python 3.12 and later)"
    )


def _contract(interpreter: Any, name: str) -> tuple[_Tensor, _Tensor, _Tensor]:
    """Allocate the tensors and find the window, the kinds and the signature among them; refuse anything else."""
    try:
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"classifier {name}: tensors cannot be allocated: {error}; install the release anew") from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    found = {"input": sorted(_shape(each) for each in inputs), "output": sorted(_shape(each) for each in outputs)}
    expected = {"input": [(1, WINDOW_READINGS)], "output": sorted([(1, len(CLASSES)), (1, SIGNATURE_BYTES)])}
    for end in ("input", "output"):
        if found[end] != expected[end]:
            raise EngineError(f"classifier {name}: {end} shapes are {found[end]}, expected {expected[end]}; wrong model")
    by_width = {_shape(each)[1]: _tensor(each, name) for each in outputs}
    return _tensor(inputs[0], name), by_width[len(CLASSES)], by_width[SIGNATURE_BYTES]


def _shape(details: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(each) for each in details["shape"])


def _tensor(details: dict[str, Any], name: str) -> _Tensor:
    """What is needed of one tensor's details; refuses anything that is not int8 with one scale."""
    scale, zero_point = details["quantization"]
    if details["dtype"] is not np.int8 or not float(scale) > 0.0:
        raise EngineError(f"classifier {name}: tensor {details['name']} is not quantised to int8; wrong model")
    return _Tensor(int(details["index"]), float(scale), int(zero_point))


def _quantise(values: NDArray[np.float32], tensor: _Tensor) -> NDArray[np.int8]:
    low, high = ((code - tensor.zero_point) * tensor.scale for code in (-128, 127))
    codes = np.rint(np.clip(np.nan_to_num(values, nan=0.0), low, high) / tensor.scale) + tensor.zero_point
    return np.asarray(codes, dtype=np.int8)
