"""Open anomalies over their life: told at the opening, at the looks, at the end; one call of the classifier a round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_agent.config.settings import DetectSettings
from edge_agent.detect import CLASSES
from edge_agent.detect.cases import LOOKS
from edge_agent.detect.contract import SIGNATURE_BYTES, WINDOW_READINGS, Classified
from edge_agent.detect.episodes import ADOPT_AFTER
from tests.series import feed, final, walk, white

FAULT = 200


class Counting:
    """A classifier that knows nothing and counts how many windows it is given at a time."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def classify(self, windows: NDArray[np.float32]) -> Classified:
        self.asked.append(len(windows))
        even = np.full((len(windows), len(CLASSES)), 1 / len(CLASSES), dtype=np.float32)
        return Classified(even, np.zeros((len(windows), SIGNATURE_BYTES), dtype=np.int8))


def test_a_storm_is_put_to_the_classifier_in_one_call_a_round() -> None:
    classifier = Counting()
    series = {f"s{i}": white(i, FAULT + 40) for i in range(50)}
    for values in series.values():
        values[FAULT:] += 30.0
    feed(series, classifier=classifier)
    assert classifier.asked == [50, 50, 50]


def test_an_open_anomaly_is_told_again_only_when_it_is_looked_at() -> None:
    series = white(1, FAULT + ADOPT_AFTER + 20)
    series[FAULT:] += 30.0
    told = feed({"a": series})[1]
    assert len(told) <= 2 + len(LOOKS)
    assert [anomaly.ending for anomaly in told] == ["ongoing"] * (len(told) - 1) + ["adopted"]
    assert len({anomaly.key for anomaly in told}) == 1


def test_after_an_adoption_the_new_behaviour_is_usual() -> None:
    series = white(2, 2000)
    series[FAULT:] = 100.0 + 5.0 * series[FAULT:]
    assert len(final(feed({"a": series})[1])) <= 2


def test_a_jump_of_a_walk_is_a_shift_that_was_adopted_not_a_spike_that_returned() -> None:
    series = walk(3, FAULT + ADOPT_AFTER + 20)
    series[FAULT:] += 40.0
    anomaly = final(feed({"a": series})[1])[0]
    assert (anomaly.kind, anomaly.ending, anomaly.direction) == ("shift", "adopted", "up")


def test_the_window_before_enough_readings_is_filled_with_the_usual() -> None:
    seen: list[NDArray[np.float32]] = []

    class Keeping(Counting):
        def classify(self, windows: NDArray[np.float32]) -> Classified:
            seen.append(windows)
            return super().classify(windows)

    series = white(4, 30)
    series[25:] += 60.0
    feed({"a": series}, settings=DetectSettings(warmup_readings=20), classifier=Keeping())
    assert seen[0].shape == (1, WINDOW_READINGS)
    assert (seen[0][0, :20] == 0.0).all()
