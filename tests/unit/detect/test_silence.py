"""Silence: on a steady clock, learnt from pauses, and never from a wall clock that was set."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.config.settings import DetectSettings
from edge_agent.detect.bank import DetectorBank
from edge_agent.detect.silence import SteadyClock
from edge_agent.values import Anomaly, Reading
from tests.series import final, white

START_S = 1_700_000_000.0


class Line:
    """A bank, ticked every second on a monotonic clock, and streams that send at their own times."""

    def __init__(self, settings: DetectSettings | None = None) -> None:
        self.bank = DetectorBank(settings or DetectSettings(), None)
        self.now_s = 0.0
        self.told: list[Anomaly] = []

    def run(self, seconds: float, *sending: tuple[str, float], burst: int = 1) -> None:
        """Let time pass while `sending` streams send a reading, or a burst of them, at their interval."""
        for _ in range(int(seconds)):
            self.now_s += 1.0
            self.told += self.bank.tick(START_S + self.now_s, self.now_s)
            for name, interval_s in sending:
                if self.now_s % interval_s < 1.0:
                    first = START_S + self.now_s - interval_s
                    batch = [
                        Reading(name, first + (i + 1) * interval_s / burst, float(v))
                        for i, v in enumerate(white(int(self.now_s), burst))
                    ]
                    self.told += self.bank.update(batch).anomalies

    def silences(self) -> list[Anomaly]:
        return [anomaly for anomaly in final(self.told) if anomaly.kind == "silence"]


def test_a_stream_that_stops_is_silent_after_six_intervals_and_until_it_comes_back() -> None:
    line = Line()
    line.run(200, ("a", 2.0), ("b", 2.0))
    line.run(11, ("b", 2.0))
    assert line.silences() == []
    line.run(3, ("b", 2.0))
    (silence,) = line.silences()
    assert (silence.stream, silence.end_s, silence.ending, silence.unit) == ("a", None, "ongoing", "s")
    assert silence.onset_s == pytest.approx(START_S + 202.0)
    assert silence.observed == pytest.approx(12.0, abs=1.1)
    assert silence.baseline == pytest.approx(2.0, abs=0.1)
    assert line.bank.silence_score("a") >= 0.5
    assert line.bank.silence_score("b") == 0.0
    line.run(30, ("a", 2.0), ("b", 2.0))
    (silence,) = line.silences()
    assert silence.ending == "returned"
    assert silence.end_s == pytest.approx(START_S + 216.0, abs=2.0)
    assert line.bank.silence_score("a") == 0.0


def test_a_device_that_delivers_a_minute_at_once_is_not_silent_in_between() -> None:
    line = Line()
    line.run(3600, ("a", 60.0), burst=60)
    assert line.silences() == []
    line.run(600)
    assert len(line.silences()) == 1


def test_random_pauses_are_usual_for_a_stream_that_has_them() -> None:
    line = Line()
    rng = np.random.default_rng(3)
    for value in white(3, 3000):
        line.run(float(np.ceil(rng.exponential(10.0))))
        line.bank.update([Reading("a", START_S + line.now_s, float(value))])
    assert len(line.silences()) <= 3


def test_an_open_anomaly_ends_unknown_when_its_stream_falls_silent() -> None:
    line = Line()
    line.run(200, ("a", 1.0))
    for _ in range(3):
        line.run(1)
        line.told += line.bank.update([Reading("a", START_S + line.now_s, 60.0)]).anomalies
    line.run(30)
    spike, silence = final(line.told)
    assert (spike.kind, spike.ending, spike.end_s) == ("spike", "unknown", START_S + 203.0)
    assert (silence.kind, silence.ending) == ("silence", "ongoing")
    assert silence.onset_s > spike.onset_s


def test_a_stream_is_not_called_silent_before_its_warm_up() -> None:
    line = Line()
    line.run(30, ("a", 1.0))
    line.run(600)
    assert line.silences() == []


@pytest.mark.parametrize("jump_s", [1.7e9, -1.7e9, 86_400.0, -3600.0])
def test_setting_the_wall_clock_silences_nothing(jump_s: float) -> None:
    bank = DetectorBank(DetectSettings(), None)
    told, wall_s = list[Anomaly](), 2e9
    for i in range(300):
        wall_s += 1.0 + (jump_s if i == 200 else 0.0)
        told += bank.tick(wall_s)
        told += bank.update([Reading(f"s{k}", wall_s, float(v)) for k, v in enumerate(white(i, 20))]).anomalies
    assert [anomaly for anomaly in told if anomaly.kind == "silence"] == []
    later = [anomaly for i in range(30) for anomaly in bank.tick(wall_s + 1.0 + i)]
    assert [anomaly.kind for anomaly in later] == ["silence"] * 20


def test_the_steady_clock_counts_only_what_has_surely_passed() -> None:
    clock = SteadyClock()
    assert [clock.advance(wall_s, None) for wall_s in (100.0, 101.0, 1.8e9, 1.8e9 + 1, 50.0, 51.0)] == [0, 1, 1, 2, 2, 3]


def test_a_monotonic_clock_decides_alone() -> None:
    clock = SteadyClock()
    assert [clock.advance(0.0, monotonic_s) for monotonic_s in (10.0, 11.0, 5000.0)] == [0.0, 1.0, 4990.0]
