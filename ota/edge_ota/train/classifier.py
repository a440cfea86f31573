"""The recipe of the fault classifier: seeds in, one INT8 .tflite out, with a report of what it can do.

    edge-ota train classifier --out edge_agent/factory/classifier.tflite
    edge-ota train classifier --evaluate edge_agent/factory/classifier.tflite

Rules: the defaults are those of the shipped model; the cases of the report come from a seed that training never uses.
Training needs TensorFlow (`edge-ota[train]`), evaluation only a TFLite runtime. The file is written whole or not at all, and
only when the model is small enough and answers through the engine that devices use.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.atomic import write_atomic
from edge_agent.detect import CLASSES
from edge_agent.engines.classifier import InterpreterFactory, TfliteClassifier
from edge_agent.errors import EdgeAgentError
from edge_ota.train.classifier_data import DataSet, make_data
from edge_ota.train.classifier_report import as_table, evaluate

MODEL_BYTES_MAX = 60_000
HELD_OUT_SEED_OFFSET = 1_000_003
"""Added to the training seed for the report's cases."""
TIMED_WINDOWS = 2_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; 0 when the model was written or evaluated, 1 when it was not, 2 for wrong usage (by argparse)."""
    options = _parser().parse_args(argv)
    held_out = make_data(options.seed + HELD_OUT_SEED_OFFSET, options.held_out)
    try:
        if options.evaluate:
            _print_report(TfliteClassifier.load(options.evaluate), held_out)
            return 0
        content, factory = _train(options, print)
        trained = TfliteClassifier.load(content, factory=factory)
        print(f"model: {len(content)} bytes, sha256 {trained.digest}")
        if len(content) > MODEL_BYTES_MAX:
            print(f"error: the model has {len(content)} bytes, more than {MODEL_BYTES_MAX}; not written", file=sys.stderr)
            return 1
        write_atomic(options.out, content, mode=0o644)
        _print_report(trained, held_out)
    except ModuleNotFoundError as error:
        print(f"error: training needs {error.name}: install edge-ota[train]", file=sys.stderr)
        return 1
    except EdgeAgentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-ota train classifier", description="Train the INT8 fault classifier.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="train, and write the .tflite here")
    what.add_argument("--evaluate", type=Path, metavar="MODEL", help="train nothing, report on this .tflite")
    parser.add_argument("--seed", type=int, default=1, help="of cases, weights and order (default %(default)s)")
    parser.add_argument("--cases", type=_at_least(512), default=56_000, help="to train on, each recorded twice (%(default)s)")
    parser.add_argument("--epochs", type=_at_least(1), default=30, help="passes over the cases (%(default)s)")
    parser.add_argument("--held-out", type=_at_least(70), default=14_000, help="cases of the report (%(default)s)")
    return parser


def _at_least(low: int) -> Callable[[str], int]:
    """An argparse type: an integer with a lower bound."""

    def whole(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{value} is too few, at least {low}")
        return value

    return whole


def _train(options: argparse.Namespace, progress: Callable[[str], None]) -> tuple[bytes, InterpreterFactory]:
    """Train and convert; also answers TensorFlow's own interpreter. Raises ModuleNotFoundError without TensorFlow."""
    # Read by TensorFlow when it is imported: its log of devices it did not find is no part of the report.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from edge_ota.train import classifier_model as model

    training = model.Training(seed=options.seed, epochs=options.epochs)
    model.make_deterministic(training.seed)
    data = make_data(options.seed, options.cases)
    progress(f"{options.cases} cases of {len(CLASSES)} kinds, each recorded twice")
    network = model.build_network()
    model.train(network, data, training, progress)
    return model.to_int8(network, data.windows[: training.representative]), model.interpreter


def _print_report(classifier: TfliteClassifier, held_out: DataSet) -> None:
    print(as_table(evaluate(classifier, held_out)))
    windows = held_out.windows[:TIMED_WINDOWS]
    started_s = time.perf_counter()
    classifier.classify(windows)
    spent_us = (time.perf_counter() - started_s) / len(windows) * 1e6
    print(f"{spent_us:.0f} us a window ({classifier.runtime}, one thread, {len(windows)} windows)")


if __name__ == "__main__":
    sys.exit(main())
