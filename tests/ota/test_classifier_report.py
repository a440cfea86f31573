"""The report on a classifier: its numbers are right for answers that are known."""

from __future__ import annotations

import numpy as np
import pytest
from edge_ota.train.classifier_data import DataSet, make_data
from edge_ota.train.classifier_report import as_table, evaluate
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import SIGNATURE_BYTES, Classified


class Told:
    """A classifier that answers each window with what it was told, in order, and with that row's signature."""

    def __init__(self, answers: NDArray[np.int64], confidence: float) -> None:
        self.answers = answers
        self.confidence = confidence

    def classify(self, windows: NDArray[np.float32]) -> Classified:
        rest = (1.0 - self.confidence) / (len(CLASSES) - 1)
        probabilities = np.full((len(windows), len(CLASSES)), rest, dtype=np.float32)
        probabilities[np.arange(len(windows)), self.answers] = self.confidence
        signatures = np.zeros((len(windows), SIGNATURE_BYTES), dtype=np.int8)
        signatures[np.arange(len(windows)), self.answers] = 100
        return Classified(probabilities, signatures)


@pytest.fixture(scope="module")
def held_out() -> DataSet:
    return make_data(21, 20 * len(CLASSES))


def test_a_classifier_that_is_always_right(held_out: DataSet) -> None:
    report = evaluate(Told(held_out.labels, 0.999), held_out)
    assert report.accuracy == 1.0
    assert report.confusion == tuple(tuple(20 if i == j else 0 for j in range(7)) for i in range(7))
    assert report.calibration_error == pytest.approx(0.001, abs=1e-6)
    assert set(report.by_background.values()) == {1.0}
    assert report.twin_quantiles["0.01"] == pytest.approx(1.0)
    assert report.floors["1.0%"] == (0.0, 1.0)


def test_a_classifier_that_always_says_normal(held_out: DataSet) -> None:
    report = evaluate(Told(np.zeros(len(held_out.labels), dtype=np.int64), 0.9), held_out)
    assert report.accuracy == pytest.approx(1 / len(CLASSES))
    assert [row[0] for row in report.confusion] == [20] * len(CLASSES)
    assert report.calibration_error == pytest.approx(0.9 - 1 / len(CLASSES), abs=1e-6)
    assert report.floors["5.0%"][0] == pytest.approx(1.0), "all signatures are alike, so no floor tells kinds apart"
    for shares in report.by_age.values():
        assert all(np.isnan(share) or share == 0.0 for share in shares[1:])


def test_likeness_is_measured_between_kinds_however_many_events_there_are() -> None:
    many = make_data(22, 400 * len(CLASSES))
    report = evaluate(Told(many.labels, 0.9), many)
    assert report.floors["0.1%"] == (0.0, 1.0)
    assert report.at_agents_floor == (0.0, 1.0, 1.0)


def test_the_table_says_all_of_it(held_out: DataSet) -> None:
    table = as_table(evaluate(Told(held_out.labels, 0.999), held_out))
    assert "140 held-out cases, 100.0% right" in table
    for name in (*CLASSES, *held_out.backgrounds):
        assert name in table
    assert "likeness floor" in table
    assert "the agent's floor" in table
