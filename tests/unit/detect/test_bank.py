"""The bank: faults of every class are found and named, usual streams are left alone, unusable readings are set aside."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_agent.config.settings import DetectSettings
from edge_agent.detect import CLASSES
from edge_agent.detect.bank import DetectorBank
from edge_agent.detect.contract import SIGNATURE_BYTES, WINDOW_READINGS, Classified
from edge_agent.detect.episodes import ADOPT_AFTER, CALM_READINGS
from edge_agent.errors import EngineError
from edge_agent.values import Anomaly, Reading
from tests.series import Series, autoregressive, feed, final, seasonal, walk, white

START_S = 1_700_000_000.0
FAULT = 600
SEEDS = (1, 2, 3)


def only(told: list[Anomaly]) -> Anomaly:
    anomalies = final(told)
    assert len(anomalies) == 1, [(a.kind, a.onset_s - START_S) for a in anomalies]
    return anomalies[0]


def at(anomaly: Anomaly) -> float:
    return anomaly.onset_s - START_S


def each(series: dict[str, Series]) -> dict[str, list[Anomaly]]:
    """What is told of each of these streams, side by side in one bank: a stream is judged alone whatever its company."""
    told = feed(series)[1]
    return {name: [anomaly for anomaly in told if anomaly.stream == name] for name in series}


@pytest.mark.parametrize(("height", "kind", "direction"), [(15.0, "spike", "up"), (-15.0, "dip", "down")])
def test_a_short_excursion_is_a_spike_or_a_dip_with_its_extreme_and_the_expected_level(
    height: float, kind: str, direction: str
) -> None:
    seeds = {f"p/{seed}": white(seed, 800, level=50.0) for seed in SEEDS}
    for series in seeds.values():
        series[FAULT : FAULT + 3] += (0.7 * height, height, 0.6 * height)
    for name, told in each(seeds).items():
        anomaly = only(told)
        assert (anomaly.kind, anomaly.direction, at(anomaly)) == (kind, direction, FAULT)
        assert anomaly.peak_s == START_S + FAULT + 1
        assert anomaly.end_s == START_S + FAULT + 3
        assert anomaly.ending == "returned"
        assert anomaly.observed == seeds[name][FAULT + 1]
        assert anomaly.baseline == pytest.approx(50.0, abs=0.5)
        assert anomaly.magnitude == pytest.approx(15.0, rel=0.25)


def test_a_shift_is_told_at_once_named_and_ends_when_it_has_become_usual() -> None:
    seeds = {f"p/{seed}": white(seed, 1000, level=50.0) for seed in SEEDS}
    for series in seeds.values():
        series[FAULT:] += 10.0
    for told in each(seeds).values():
        anomaly = only(told)
        assert (anomaly.kind, anomaly.direction, at(anomaly)) == ("shift", "up", FAULT)
        assert told[0].end_s is None
        assert anomaly.end_s == START_S + FAULT + ADOPT_AFTER
        assert anomaly.ending == "adopted"
        assert anomaly.observed == pytest.approx(60.0, abs=0.6)
        assert anomaly.baseline == pytest.approx(50.0, abs=0.6)


def test_a_small_lasting_shift_is_found_with_an_onset_near_the_truth() -> None:
    seeds = {f"p/{seed}": white(seed, 1000) for seed in SEEDS}
    for series in seeds.values():
        series[FAULT:] += 3.0
    for told in each(seeds).values():
        anomaly = final(told)[0]
        assert anomaly.kind == "shift"
        assert FAULT - 20 <= at(anomaly) <= FAULT + 20


def test_a_ramp_is_a_drift() -> None:
    seeds = {f"p/{seed}": white(seed, 700) for seed in SEEDS}
    for series in seeds.values():
        series[FAULT:] += 0.15 * np.arange(len(series) - FAULT)
    for told in each(seeds).values():
        anomaly = final(told)[0]
        assert (anomaly.kind, anomaly.direction) == ("drift", "up")
        assert at(anomaly) >= FAULT - 20
        assert anomaly.observed is not None
        assert anomaly.baseline is not None
        assert anomaly.observed - anomaly.baseline > 3.0


def test_a_value_that_repeats_is_stuck_from_its_first_coming() -> None:
    seeds = {f"p/{seed}": white(seed, 800) for seed in SEEDS}
    for series in seeds.values():
        series[FAULT : FAULT + 60] = series[FAULT]
    for name, told in each(seeds).items():
        anomaly = only(told)
        assert (anomaly.kind, anomaly.direction, at(anomaly)) == ("stuck", "none", FAULT)
        assert anomaly.observed == seeds[name][FAULT]
        assert anomaly.end_s == START_S + FAULT + 60


def test_a_rougher_stream_is_noise_with_both_deviations() -> None:
    seeds = {f"p/{seed}": white(seed, 800) for seed in SEEDS}
    for series in seeds.values():
        series[FAULT : FAULT + 80] *= 4.0
    for told in each(seeds).values():
        noise = [a for a in final(told) if a.kind == "noise"]
        assert noise, [(a.kind, at(a)) for a in told]
        assert FAULT <= at(noise[0]) < FAULT + 80
        assert noise[0].observed == pytest.approx(4.0, rel=0.35)
        assert noise[0].baseline == pytest.approx(1.0, rel=0.25)


USUAL = {
    "white": [white(seed, 4000) for seed in range(20)],
    "autoregressive": [autoregressive(seed, 4000) for seed in range(20)],
    "walk": [walk(seed, 4000) for seed in range(20)],
    "seasonal": [seasonal(seed, 4000) for seed in range(20)],
    "coarse": [np.round(white(seed, 4000, level=20.0, spread=0.4), 0) for seed in range(20)],
    "constant": [np.full(4000, float(seed)) for seed in range(20)],
    "counter": [np.cumsum(np.random.default_rng(seed).poisson(3.0, 4000)).astype(float) for seed in range(20)],
    "ramp": [0.5 * np.arange(4000) + white(seed, 4000) for seed in range(20)],
}
STRUCK = list(range(300, 6300, 300))


def struck(size: float) -> Series:
    series = white(6, 6400)
    series[STRUCK] += size
    return series


def pulsing() -> Series:
    series = white(5, 6000)
    for begin in range(300, 6000, 100):
        series[begin : begin + 10] += 30.0
    return series


@pytest.fixture(scope="module")
def long_told() -> dict[str, list[Anomaly]]:
    """What is told of each long stream, all side by side in one bank, which takes a reading of each at a time."""
    told = each(
        {f"{name}/{i}": values for name, series in USUAL.items() for i, values in enumerate(series)}
        | {f"t/{seed}": np.random.default_rng(seed).standard_t(3, 4000) for seed in range(20)}
        | {"door/open": np.tile(np.repeat([0.0, 1.0], 25), 60)}
        | {"struck/12": struck(12.0), "struck/30": struck(30.0), "pulse/daily": pulsing()}
    )
    return {name: final(anomalies) for name, anomalies in told.items()}


def under(prefix: str, told: dict[str, list[Anomaly]]) -> list[Anomaly]:
    return [anomaly for name, anomalies in told.items() if name.startswith(prefix) for anomaly in anomalies]


@pytest.mark.parametrize("name", USUAL)
def test_usual_streams_raise_few_alarms(name: str, long_told: dict[str, list[Anomaly]]) -> None:
    """80,000 readings of one second at 0.2 a day allow 0.2 alarms; a tenth of the streams crying once is the bound."""
    told = under(f"{name}/", long_told)
    assert len(told) <= 2, [(a.stream, a.kind, at(a), a.score) for a in told]


def test_heavy_tails_become_usual(long_told: dict[str, list[Anomaly]]) -> None:
    """Twenty streams of Student's t with three degrees of freedom: no more than one alarm in a thousand readings."""
    assert len(under("t/", long_told)) <= 80


def test_a_switch_that_keeps_switching_is_left_alone(long_told: dict[str, list[Anomaly]]) -> None:
    assert len(long_told["door/open"]) <= 1


@pytest.mark.parametrize("name", ["struck/12", "struck/30"])
def test_a_fault_that_comes_again_is_told_again(name: str, long_told: dict[str, list[Anomaly]]) -> None:
    """Spikes of twelve and of thirty spreads, every 300 readings: each is told, the twentieth too."""
    onsets = {round(anomaly.onset_s - START_S) for anomaly in long_told[name]}
    assert len([at for at in STRUCK if at in onsets]) >= 18


def test_a_daily_pulse_becomes_usual(long_told: dict[str, list[Anomaly]]) -> None:
    """A pulse every 100 readings is new a few times, not sixty times."""
    assert 1 <= len(long_told["pulse/daily"]) <= 20


def test_a_reading_scores_a_half_or_more_exactly_when_an_anomaly_goes_on() -> None:
    series = white(3, 1200)
    series[400] += 12.0
    series[700:760] += 9.0
    series[900:] -= 7.0
    scores, told = feed({"p/x": series})
    high = {i for i, score in enumerate(scores["p/x"]) if score >= 0.5}
    spans = final(told)
    assert len(spans) >= 3
    for span in spans:
        assert any(span.onset_s <= START_S + i <= (span.end_s or math.inf) for i in high)
    for i in high:
        assert any(span.onset_s <= START_S + i <= (span.end_s or math.inf) for span in spans)


def test_nothing_is_scored_while_a_stream_warms_up() -> None:
    series = white(1, 100)
    series[40] += 50.0
    scores, told = feed({"p/x": series}, settings=DetectSettings(warmup_readings=64))
    assert scores["p/x"][:64] == [0.0] * 64
    assert all(at(anomaly) >= 64 for anomaly in told)


def test_two_readings_of_a_stream_in_a_batch_are_taken_in_order() -> None:
    bank = DetectorBank(DetectSettings(), None)
    detected = bank.update([Reading("a", 1.0, 5.0), Reading("b", 1.0, 0.0), Reading("a", 2.0, 6.0), Reading("a", 1.5, 9.0)])
    assert [(r.topic, r.reason) for r in detected.rejections] == [("a", "out-of-order")]
    assert len(detected.scores) == 4


def test_a_clock_that_was_set_back_is_believed_at_once_or_after_a_few_readings() -> None:
    bank = DetectorBank(DetectSettings(), None)
    bank.update([Reading("a", 1_800_000_000.0, 1.0), Reading("b", 1_800_000_000.0, 1.0)])
    assert bank.update([Reading("a", 5.0, 1.0)]).rejections == []
    late = [bank.update([Reading("b", 1_800_000_000.0 - 60.0 + i, 1.0)]).rejections for i in range(20)]
    assert [bool(rejections) for rejections in late] == [True] * 16 + [False] * 4


def test_equal_times_are_taken_as_they_come() -> None:
    bank = DetectorBank(DetectSettings(), None)
    detected = bank.update([Reading("a", 7.0, float(i)) for i in range(10)])
    assert detected.rejections == []


def test_what_is_not_finite_or_one_stream_too_many_is_set_aside_with_its_reason() -> None:
    bank = DetectorBank(DetectSettings(max_streams=2), None)
    detected = bank.update(
        [
            Reading("a", 1.0, math.nan),
            Reading("a", 1.0, 1.0),
            Reading("b", math.inf, 1.0),
            Reading("b", 1.0, 2.0),
            Reading("c", 1.0, 3.0),
        ]
    )
    assert [(r.topic, r.reason) for r in detected.rejections] == [
        ("a", "not-finite"),
        ("b", "not-finite"),
        ("c", "too-many-streams"),
    ]
    assert bank.stream_count == 2


def test_the_onsets_of_a_stream_only_grow_even_where_its_clock_does_not() -> None:
    bank = DetectorBank(DetectSettings(), None)
    values = white(2, 400)
    values[[150, 250, 350]] += 40.0
    told: list[Anomaly] = []
    for i, value in enumerate(values):
        told += bank.update([Reading("a", 100.0 * (i % 100), float(value))]).anomalies
    onsets = [anomaly.onset_s for anomaly in final(told)]
    assert len(onsets) == 3
    assert onsets == sorted(set(onsets))


class Fixed:
    """A classifier that gives the same answer to every window and remembers what it was asked."""

    def __init__(self, kind: str, probability: float, *, fails: bool = False) -> None:
        self.windows: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]] = []
        self._row = np.full(len(CLASSES), (1 - probability) / (len(CLASSES) - 1), dtype=np.float32)
        self._row[CLASSES.index(kind)] = probability
        self._fails = fails

    def classify(self, windows: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Classified:
        if self._fails:
            raise EngineError("the interpreter gave up")
        self.windows.append(windows)
        signatures = np.full((len(windows), SIGNATURE_BYTES), 7, dtype=np.int8)
        return Classified(np.tile(self._row, (len(windows), 1)), signatures)


def shifted() -> Series:
    series = white(4, 760)
    series[FAULT:] += 8.0
    return series


def test_the_classifier_is_asked_at_the_opening_and_twice_again_with_the_onset_in_the_right_half() -> None:
    classifier = Fixed("drift", 0.9)
    anomaly = only(feed({"p/x": shifted()}, classifier=classifier)[1])
    assert [w.shape for w in classifier.windows] == [(1, WINDOW_READINGS)] * 3
    for window, onset in zip(classifier.windows, (63, 47, 31), strict=True):
        assert np.abs(window[0, :onset]).max() < 0.3
        assert window[0, onset:].min() > 0.3
    assert anomaly.kind == "drift"
    assert anomaly.kind_confidence == pytest.approx(0.9)
    assert anomaly.signature == b"\x07" * SIGNATURE_BYTES


@pytest.mark.parametrize("answer", ["stuck", "noise"])
def test_a_kind_that_the_readings_do_not_bear_out_is_not_said(answer: str) -> None:
    anomaly = only(feed({"p/x": shifted()}, classifier=Fixed(answer, 0.9))[1])
    assert anomaly.kind == "shift"
    assert anomaly.kind_confidence < 0.1


def test_a_classifier_that_fails_is_reported_and_the_rules_name_the_kind() -> None:
    bank = DetectorBank(DetectSettings(), Fixed("drift", 0.9, fails=True))
    told: list[Anomaly] = []
    reasons: list[str] = []
    for i, value in enumerate(shifted()):
        detected = bank.update([Reading("p/x", START_S + i, float(value))])
        told += detected.anomalies
        reasons += [rejection.reason for rejection in detected.rejections]
    assert only(told).kind == "shift"
    assert set(reasons) == {"classifier-failed"}


def test_spikes_do_not_depend_on_the_classifier() -> None:
    series = white(4, 700)
    series[FAULT] += 20.0
    anomaly = only(feed({"p/x": series}, classifier=Fixed("shift", 0.99))[1])
    assert (anomaly.kind, anomaly.kind_confidence) == ("spike", 1.0)


def test_the_usual_is_known_after_the_warm_up() -> None:
    bank = DetectorBank(DetectSettings(warmup_readings=64), None)
    assert bank.usual("a") is None
    for i, value in enumerate(white(9, 300, level=5.0, spread=2.0)):
        bank.update([Reading("a", float(i), float(value))])
    usual = bank.usual("a")
    assert usual is not None
    assert usual[0] == pytest.approx(5.0, abs=0.8)
    assert usual[1] == pytest.approx(2.0, rel=0.3)
    assert bank.state_bytes_per_stream() <= 5_000


def test_an_anomaly_ends_only_after_enough_calm_readings() -> None:
    series = white(1, 700)
    series[FAULT] += 15.0
    series[FAULT + 2] += 15.0
    anomaly = only(feed({"p/x": series})[1])
    assert anomaly.end_s == START_S + FAULT + 3
    assert CALM_READINGS > 2


@pytest.mark.parametrize("jump_at", [1, 3, 20, 100])
def test_a_device_whose_clock_is_set_from_1970_soon_has_its_usual_pace_again(jump_at: int) -> None:
    """The allowed alarms follow from the pace: a pace of years would allow anything."""
    bank = DetectorBank(DetectSettings(), None)
    told: list[Anomaly] = []
    for i, value in enumerate(white(1, 1500)):
        time_s = float(i) + (1.7e9 if i >= jump_at else 0.0)
        told += bank.tick(time_s, float(i))
        told += bank.update([Reading("a", time_s, float(value))]).anomalies
    assert told == []
    for i in range(20):
        told += bank.tick(0.0, 1500.0 + i)
    (silence,) = told
    assert silence.kind == "silence"
    assert silence.baseline == pytest.approx(1.0, rel=0.05)


def test_a_signature_names_the_classifier_that_made_it_also_while_classifiers_are_exchanged() -> None:
    series = shifted()
    bank = DetectorBank(DetectSettings(), Signing("a" * 16))
    told: list[Anomaly] = []
    for i, value in enumerate(series):
        told += bank.update([Reading("p/x", START_S + i, float(value))]).anomalies
        if told and len(told) == 1:
            bank.use_classifier(Signing("b" * 16))
    names = [(anomaly.signed_by, anomaly.signature[0]) for anomaly in told]
    assert names[0] == ("a" * 16, ord("a"))
    assert names[-1] == ("b" * 16, ord("b"))
    assert set(names) == {names[0], names[-1]}, "a signature goes with the name of its maker"


class Signing:
    """A classifier with a name, of which its signatures are made."""

    def __init__(self, name: str) -> None:
        self._name = name

    def classify(self, windows: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Classified:
        answer = Fixed("shift", 0.9).classify(windows)
        return Classified(answer.probabilities, np.full_like(answer.signatures, ord(self._name[0])), self._name)
