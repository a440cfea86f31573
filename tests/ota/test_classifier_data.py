"""The generator of labelled faults: what a label says is in the window, by construction, and one seed is one data set."""

from __future__ import annotations

import numpy as np
import pytest
from edge_ota.train import classifier_data as data
from edge_ota.train.classifier_data import BACKGROUNDS, HISTORY_READINGS, Background, Case, Recording

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import WINDOW_READINGS

CASES_OF_A_KIND = 150


def drawn(kind: str, seed: int = 5) -> list[tuple[Case, Recording]]:
    """Cases of one kind with one recording each, without those that begin before the stream did."""
    rng = np.random.default_rng(seed)
    cases = [data.draw_case(rng, kind) for _ in range(CASES_OF_A_KIND)]
    recordings = [(case, data.render(rng, case)) for case in cases]
    return [(case, recording) for case, recording in recordings if np.isfinite(recording.values).all()]


def healthy(case: Case) -> Case:
    return Case(kind="normal", background=case.background, onset=0, size=0.0, width=0, shape=case.shape, earlier=0.0)


def test_one_seed_is_one_data_set() -> None:
    first, second, other = data.make_data(3, 70), data.make_data(3, 70), data.make_data(4, 70)
    assert np.array_equal(first.windows, second.windows)
    assert np.array_equal(first.twins, second.twins)
    assert first.backgrounds == second.backgrounds
    assert not np.array_equal(first.windows, other.windows)


def test_kinds_are_equally_many_and_shapes_are_those_of_the_contract() -> None:
    made = data.make_data(1, 10 * len(CLASSES))
    assert made.windows.shape == made.twins.shape == (10 * len(CLASSES), WINDOW_READINGS)
    assert made.windows.dtype == made.twins.dtype == np.float32
    assert np.bincount(made.labels).tolist() == [10] * len(CLASSES)
    assert np.abs(made.windows).max() <= 1.0
    assert np.isfinite(made.windows).all()


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_every_background_is_finite_and_varies(name: str) -> None:
    background = Background(name=name, texture=0.5, period=20.0, phase=0.3)
    series = BACKGROUNDS[name](np.random.default_rng(2), background)
    assert series.shape == (data.TOTAL_READINGS,)
    assert np.isfinite(series).all()
    assert 0.05 < series.std() < 20.0


def test_every_background_is_used() -> None:
    rng = np.random.default_rng(0)
    for kind in CLASSES:
        used = {data.draw_case(rng, kind).background.name for _ in range(600)}
        assert used == set(BACKGROUNDS) - ({"still"} if kind == "stuck" else set())


@pytest.mark.parametrize(("kind", "sign"), [("spike", 1.0), ("dip", -1.0)])
def test_a_spike_holds_the_extreme_and_is_soon_over(kind: str, sign: float) -> None:
    for case, recording in drawn(kind):
        z = sign * recording.z
        excursion = z[case.onset : case.onset + case.width]
        assert sign * case.size > 5.9
        assert case.width <= data.SPIKE_READINGS_MAX
        if sign * case.size > 40.0:
            assert excursion.max() == z.max()
            after = z[case.onset + case.width :]
            assert after.size == 0 or after.max() < excursion.max() / 2


def test_a_shift_stays_until_the_end() -> None:
    for case, recording in drawn("shift"):
        before, after = recording.values[:HISTORY_READINGS], recording.values[HISTORY_READINGS + case.onset + 2 :]
        moved = (np.median(after) - np.median(before)) / recording.spread
        if abs(case.size) > 20.0:
            assert np.sign(moved) == np.sign(case.size)
            assert abs(moved) == pytest.approx(abs(case.size), rel=0.5, abs=5.0)


def test_a_drift_ends_further_out_than_it_began_on_the_side_of_its_sign() -> None:
    for case, recording in drawn("drift"):
        if abs(case.size) > 30.0 and case.onset >= 0 and not case.earlier:
            start, end = np.median(recording.z[: case.onset + 4]), np.median(recording.z[-4:])
            assert np.sign(end - start) == np.sign(case.size)
            steps = np.abs(np.diff(recording.z))
            assert steps.max() < abs(end - start), "a drift has no step as large as all of it"


def test_stuck_repeats_one_value_to_the_end_and_did_not_before() -> None:
    for case, recording in drawn("stuck"):
        stuck = recording.values[HISTORY_READINGS + case.onset :]
        before = recording.values[HISTORY_READINGS + case.onset - 2 * len(stuck) : HISTORY_READINGS + case.onset]
        assert len(stuck) >= 6
        assert np.unique(stuck).size == 1
        assert np.unique(before).size > 1


def test_noise_grows_and_the_level_stays() -> None:
    grown = []
    for case, recording in drawn("noise"):
        now = recording.z[case.onset :]
        if len(now) >= 16 and case.background.name != "still":
            grown.append(now.std() / recording.z[: case.onset].std())
            assert abs(now.mean()) < 4.0 * now.std()
    assert np.median(grown) > 3.0


def test_a_normal_window_has_no_reading_as_far_out_as_the_least_spike_of_its_size() -> None:
    extremes = [
        np.abs(recording.z).max() for case, recording in drawn("normal") if case.background.name in {"white", "correlated"}
    ]
    assert max(extremes) < 9.0
    latest = [np.abs(recording.z[-4:]).max() > np.abs(recording.z[:-4]).max() for _, recording in drawn("normal")]
    assert np.mean(latest) > 0.3, "about half of the normal windows end in an extreme, as when a detector fired"


def test_the_usual_level_and_spread_were_measured_before_the_fault() -> None:
    for kind in ("spike", "shift", "stuck", "noise"):
        for case, recording in drawn(kind):
            history = recording.values[:HISTORY_READINGS]
            assert history.min() - recording.spread < recording.level < history.max() + recording.spread, case


def test_onsets_stand_in_the_right_half_and_a_drift_anywhere() -> None:
    rng = np.random.default_rng(6)
    for kind in ("spike", "dip", "shift", "stuck", "noise"):
        onsets = {data.draw_case(rng, kind).onset for _ in range(400)}
        assert min(onsets) == 32
        assert max(onsets) <= 63
    drifts = {data.draw_case(rng, "drift").onset for _ in range(400)}
    assert min(drifts) < -32
    assert max(drifts) > 32


def test_twins_are_the_same_event_recorded_again() -> None:
    rng = np.random.default_rng(7)
    for kind in CLASSES:
        for _ in range(50):
            case = data.draw_case(rng, kind)
            twin = data.twin_case(rng, case)
            assert (twin.kind, twin.background.name, twin.width, twin.shape) == (
                case.kind,
                case.background.name,
                case.width,
                case.shape,
            )
            assert kind != "normal" or twin.onset == 0
            assert kind != "drift" or case.onset - 32 <= twin.onset <= case.onset
            assert -WINDOW_READINGS <= twin.onset < WINDOW_READINGS
            assert np.sign(twin.size) == np.sign(case.size)
            data.render(rng, twin)


def test_a_window_that_begins_before_its_stream_is_padded_with_the_usual_level() -> None:
    rng = np.random.default_rng(0)
    recordings = [data.render(rng, data.draw_case(rng, "shift")) for _ in range(200)]
    short = [each for each in recordings if np.isnan(each.values).any()]
    assert short
    for recording, window in zip(short, data.normalise(short), strict=True):
        missing = np.isnan(recording.z)
        assert missing[0]
        assert not missing[32:].any()
        assert (window[missing] == 0.0).all()


def test_ages_count_the_abnormal_readings() -> None:
    made = data.make_data(9, 7 * 40)
    for label, age in zip(made.labels, made.ages, strict=True):
        assert 1 <= age <= WINDOW_READINGS
        if CLASSES[label] in {"spike", "dip", "shift", "stuck", "noise"}:
            assert age <= 32
    assert set(made.ages[made.labels == 0]) == {WINDOW_READINGS}


def test_a_healthy_background_under_a_fault_is_that_of_the_case() -> None:
    case = data.draw_case(np.random.default_rng(1), "shift")
    faulty = data.render(np.random.default_rng(2), case)
    normal = data.render(np.random.default_rng(2), healthy(case))
    assert faulty.spread > 0.0
    assert normal.spread > 0.0
