"""The classifier's window: scale, gaps, limits."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.detect.window import Z_LIMIT, normalise_window


def normalise(values: list[float], level: float = 10.0, spread: float = 2.0) -> list[float]:
    window = normalise_window(np.array([values]), np.array([level]), np.array([spread]))
    assert window.dtype == np.float32
    return [float(value) for value in window[0]]


def test_deviations_are_taken_in_usual_spreads_on_an_asinh_scale() -> None:
    assert normalise([10.0, 12.0, 8.0, 20.0, 50.0]) == pytest.approx([0.0, 0.11596, -0.11596, 0.30424, 0.48541], abs=1e-5)


def test_what_is_missing_is_the_usual_level() -> None:
    assert normalise([np.nan, 10.0]) == [0.0, 0.0]


def test_the_ends_of_the_scale_are_one_and_nothing_is_beyond() -> None:
    assert normalise([10.0 + 2.0 * Z_LIMIT, 1e308, -1e308, np.inf]) == [1.0, 1.0, -1.0, 1.0]


def test_a_stream_without_spread_gives_a_finite_window() -> None:
    assert normalise([10.0, 11.0], spread=0.0) == [0.0, 1.0]


def test_each_window_has_its_own_scale() -> None:
    window = normalise_window(np.array([[1.0, 2.0], [10.0, 20.0]]), np.array([1.0, 10.0]), np.array([1.0, 10.0]))
    assert window[0] == pytest.approx(window[1])
