"""Kinds by rule, by classifier, and the numbers that state them."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from edge_agent.detect import CLASSES
from edge_agent.detect.episodes import CHANGE, NOISE, STUCK, UP
from edge_agent.detect.naming import MOST_MAGNITUDE, View, bears_out, by_rule, measure, settle, stayed_away
from edge_agent.detect.state import Floats
from tests.series import white


def view(since: Floats | list[float], **changes: object) -> View:
    values = np.asarray(since, dtype=np.float64)
    peak = float(values[np.abs(values).argmax()])
    plain = View(
        cause=UP,
        since=values,
        length=len(values),
        expected=0.0,
        error=1.0,
        usual_level=0.0,
        usual_step=2**0.5,
        repeats=0,
        peak_value=peak,
        peak_size=abs(peak),
    )
    return structs.replace(plain, **changes)


PLATEAU = 6.0 + white(1, 40)
RAMP = 0.3 * np.arange(1, 41) + white(2, 40)
ROUGH = 5.0 * white(3, 40)


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (view([9.0]), "spike"),
        (view([-9.0, -4.0]), "dip"),
        (view(PLATEAU), "shift"),
        (view(-PLATEAU), "shift"),
        (view(RAMP), "drift"),
        (view(ROUGH), "noise"),
        (view(ROUGH[:4], cause=NOISE), "noise"),
        (view([0.5] * 9, cause=STUCK, repeats=9), "stuck"),
        (view([0.5] * 20, repeats=19), "stuck"),
        (view([2.0] * 5, cause=CHANGE), "shift"),
        (view([20.0, *[2.0] * 12]), "spike"),
    ],
)
def test_kinds_by_rule(seen: View, kind: str) -> None:
    assert by_rule(seen) == kind


def probabilities(**given: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array([given.get(kind, 0.0) for kind in CLASSES], dtype=np.float32)


def test_a_likely_answer_stands() -> None:
    assert settle(view(PLATEAU), probabilities(drift=0.75, shift=0.25)) == ("drift", 0.75)


def test_an_unlikely_answer_does_not() -> None:
    assert settle(view(PLATEAU), probabilities(drift=0.5 - 2**-4, shift=0.25, noise=0.25)) == ("shift", 0.25)


def test_an_answer_that_the_readings_belie_does_not() -> None:
    assert settle(view(PLATEAU), probabilities(stuck=0.875, shift=0.125)) == ("shift", 0.125)


def test_short_excursions_are_not_put_to_the_classifier() -> None:
    assert settle(view([9.0]), probabilities(shift=1.0)) == ("spike", 1.0)
    assert settle(view(PLATEAU), None) == ("shift", 1.0)


def test_what_readings_bear_out() -> None:
    assert bears_out(view(ROUGH), "noise")
    assert not bears_out(view(PLATEAU), "noise")
    assert bears_out(view(PLATEAU), "drift")
    assert not bears_out(view(0.1 * PLATEAU), "shift")
    assert bears_out(view([1.0] * 6, repeats=5), "stuck")


def test_an_excursion_that_keeps_most_of_its_way_stayed_away() -> None:
    assert stayed_away(view([9.0]), np.full(6, 6.0))
    assert not stayed_away(view([9.0]), np.full(6, 1.0))
    assert not stayed_away(view([9.0]), np.full(6, -6.0))
    assert not stayed_away(view([9.0], cause=STUCK), np.full(6, 9.0))


def test_a_spike_is_stated_by_its_extreme_and_the_expected_level() -> None:
    stated = measure(view([4.0, 9.0, 5.0], expected=1.0), "spike")
    assert (stated.direction, stated.observed, stated.baseline, stated.magnitude) == ("up", 9.0, 1.0, 9.0)
    assert measure(view([-9.0]), "dip").direction == "down"


def test_a_shift_is_stated_by_the_new_level_and_a_drift_by_where_it_has_come_to() -> None:
    shift = measure(view(-PLATEAU, error=2.0), "shift")
    assert (shift.direction, shift.baseline) == ("down", 0.0)
    assert shift.observed == pytest.approx(-6.0, abs=0.5)
    assert shift.magnitude == pytest.approx(3.0, abs=0.3)
    assert measure(view(RAMP), "drift").observed == pytest.approx(10.0, abs=1.0)


def test_noise_is_stated_by_deviations_now_and_usually() -> None:
    stated = measure(view(5.0 * white(4, 64)), "noise")
    assert stated.direction == "none"
    assert stated.observed == pytest.approx(5.0, rel=0.3)
    assert stated.baseline == pytest.approx(1.0)


def test_stuck_is_stated_by_the_value_and_the_usual_level() -> None:
    stated = measure(view([3.5] * 9, usual_level=2.0), "stuck")
    assert (stated.direction, stated.observed, stated.baseline) == ("none", 3.5, 2.0)


def test_a_magnitude_is_bounded() -> None:
    assert measure(view([1e200], peak_size=1e200), "spike").magnitude == MOST_MAGNITUDE
