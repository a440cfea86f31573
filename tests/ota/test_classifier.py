"""The classifier's recipe: its command line and evaluation without TensorFlow; training itself is slow and needs it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from edge_ota.train import classifier as recipe

import edge_agent
from edge_agent.engines.classifier import TfliteClassifier

MODEL = Path(edge_agent.__file__).parent / "factory" / "classifier.tflite"
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="training needs TensorFlow: pip install 'edge-ota[train]'"
)


def test_the_shipped_model_is_evaluated_on_cases_it_has_not_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--evaluate", str(MODEL), "--held-out", "1400"]) == 0
    told = capsys.readouterr().out
    right = float(told.split("held-out cases, ")[1].split("%")[0])
    assert right > 94.0
    assert "us a window" in told


def test_a_model_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert recipe.main(["--evaluate", str(tmp_path / "absent.tflite"), "--held-out", "70"]) == 1
    assert "absent.tflite: not readable" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--out", "x", "--evaluate", "y"],
        ["--out", "x", "--cases", "10"],
        ["--out", "x", "--epochs", "0"],
        ["--out", "x", "--seed", "a"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        recipe.main(arguments)
    assert ended.value.code == 2


def test_without_tensorflow_training_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.delitem(sys.modules, "edge_ota.train.classifier_model", raising=False)
    assert recipe.main(["--out", str(tmp_path / "m.tflite"), "--held-out", "70"]) == 1
    assert "edge-ota[train]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs_tensorflow
@pytest.mark.timeout(1200)
def test_a_short_training_makes_a_model_that_the_engine_takes_and_the_same_seed_makes_it_again(tmp_path: Path) -> None:
    arguments = ["--cases", "3500", "--epochs", "4", "--held-out", "700"]
    for name in ("a", "b"):
        assert recipe.main(["--out", str(tmp_path / name), *arguments]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert TfliteClassifier.load(tmp_path / "a").digest
