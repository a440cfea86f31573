"""The laws of detection: online, cut anywhere, streams apart, bounded, and the same in any unit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.settings import DetectSettings
from edge_agent.detect.bank import DetectorBank
from edge_agent.values import Anomaly, Reading
from tests.series import feed, final, white

SHORT = DetectSettings(warmup_readings=16)
VALUES = st.one_of(
    st.floats(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, 1e308, -1e308, 5e-324, 1e-300, 1e30, 7.0]),
)


def faulty(seed: int, count: int) -> list[float]:
    """A usual stream with faults of several kinds at places drawn from the seed."""
    rng = np.random.default_rng(seed)
    series = white(seed, count)
    for _ in range(3):
        begin, length = int(rng.integers(20, count)), int(rng.integers(1, 60))
        series[begin : begin + length] += rng.choice([-20.0, -6.0, 6.0, 20.0])
    begin = int(rng.integers(20, count))
    series[begin : begin + 20] = series[begin]
    return [float(value) for value in series]


@given(st.lists(VALUES, min_size=1, max_size=150), st.lists(VALUES, min_size=1, max_size=30), st.lists(VALUES, max_size=30))
@settings(max_examples=25, deadline=None)
def test_what_was_said_does_not_depend_on_what_comes_later(past: list[float], one: list[float], other: list[float]) -> None:
    first, told_first = feed({"a": past + one}, settings=SHORT)
    second, told_second = feed({"a": past + other}, settings=SHORT)
    assert first["a"][: len(past)] == second["a"][: len(past)]
    alone = feed({"a": past}, settings=SHORT)[1]
    assert told_first[: len(alone)] == alone
    assert told_second[: len(alone)] == alone


@given(st.integers(0, 10_000), st.integers(1, 100), st.integers(1, 300))
@settings(max_examples=10, deadline=None)
def test_batches_may_be_cut_anywhere(seed: int, one: int, other: int) -> None:
    series = {name: faulty(seed + i, 150) for i, name in enumerate(("a", "b", "c"))}
    series["b"] = series["b"][:75]
    assert feed(series, settings=SHORT, batch=one) == feed(series, settings=SHORT, batch=other)


@given(st.integers(0, 10_000), st.permutations(range(5)))
@settings(max_examples=10, deadline=None)
def test_a_stream_is_judged_alone_whatever_its_company_and_place(seed: int, order: list[int]) -> None:
    series = {f"s{i}": faulty(seed + i, 110) for i in range(5)}
    scores, told = feed({f"s{i}": series[f"s{i}"] for i in order}, settings=SHORT)
    for name, values in series.items():
        alone, told_alone = feed({name: values}, settings=SHORT)
        assert scores[name] == alone[name]
        assert [anomaly for anomaly in told if anomaly.stream == name] == told_alone


@pytest.mark.parametrize("wild", [1e30, -1e30, 1.7976931348623157e308])
def test_a_wild_value_in_a_stream_that_never_moved_leaves_it_judged(wild: float) -> None:
    scores, told = feed({"a": [0.0] * 40 + [wild] + [0.0] * 40 + [1.0] * 40}, settings=SHORT)
    assert all(0.0 <= score <= 1.0 for score in scores["a"])
    assert 40 in [round(anomaly.onset_s - 1_700_000_000) for anomaly in final(told)]


@given(
    st.lists(VALUES, min_size=1, max_size=200),
    st.lists(st.one_of(st.floats(0, 10), st.sampled_from([0.0, 1.8e9, -1.8e9, -5.0])), min_size=200, max_size=200),
)
@settings(max_examples=40, deadline=None)
def test_scores_and_anomalies_are_bounded_and_finite_for_any_readings(values: list[float], steps: list[float]) -> None:
    bank = DetectorBank(SHORT, None)
    time_s, told, onsets = 1.7e9, dict[tuple[str, float], Anomaly](), list[float]()
    for value, step in zip(values, steps, strict=False):
        time_s = abs(time_s + step)
        detected = bank.update([Reading("a", time_s, value)])
        assert 0.0 <= detected.scores[0] <= 1.0
        for anomaly in [*detected.anomalies, *bank.tick(time_s)]:
            numbers = (anomaly.onset_s, anomaly.peak_s, anomaly.score, anomaly.observed, anomaly.baseline, anomaly.magnitude)
            assert all(number is not None and math.isfinite(number) for number in numbers)
            assert anomaly.peak_s >= anomaly.onset_s
            assert anomaly.end_s is None or anomaly.end_s >= anomaly.peak_s
            assert 0.5 <= anomaly.score <= 1.0
            if anomaly.key not in told and anomaly.kind != "silence":
                onsets.append(anomaly.onset_s)
            told[anomaly.key] = anomaly
    assert onsets == sorted(set(onsets)) or min(steps) < 0


@given(st.integers(0, 10_000), st.sampled_from([1e-6, 0.5, 1024.0, 1e9]), st.sampled_from([0.0, -3.0, 1000.0]))
@settings(max_examples=20, deadline=None)
def test_the_unit_of_a_stream_does_not_matter(seed: int, factor: float, offset: float) -> None:
    plain = faulty(seed, 300)
    scores, told = feed({"plain": plain, "other": [factor * (value + offset) for value in plain]})
    assert scores["other"] == pytest.approx(scores["plain"], abs=1e-4)
    kinds = {
        name: [(a.kind, a.onset_s, a.end_s) for a in final([a for a in told if a.stream == name])] for name in ("plain", "other")
    }
    assert kinds["other"] == kinds["plain"]
