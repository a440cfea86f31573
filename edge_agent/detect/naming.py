"""What kind of anomaly is it, and which numbers state it? Rules of thumb on the readings since the onset.

Spike, dip and silence are named here alone. For shift, drift, stuck and noise the classifier is asked where there is one; its
answer stands when it is likely and the readings bear it out: a sentence must not say "stuck" of a value that moves.

Rules: pure; one anomaly at a time; all readings are finite.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.episodes import CHANGE, NOISE, STUCK
from edge_agent.detect.state import Floats
from edge_agent.values import Direction, Kind

SHORT_READINGS = 8
"""An excursion that lasts no longer is a spike or a dip."""
LEAST_PROBABILITY = 0.5
"""The classifier's answer counts from here."""
_LASTING: tuple[Kind, ...] = ("shift", "drift", "stuck", "noise")
_ROUGHER = 1.5
_LASTS = 0.3  # of the peak: an excursion that falls back below this is a spike with a slow end, not a shift
_DIFFERENCE_TO_SIGMA = 2**-0.5
_ABS_TO_SIGMA = 1.2533141373155001
MOST_MAGNITUDE = 1e6


class View(Struct, frozen=True, kw_only=True):
    """An anomaly's readings and its frozen baseline, in the stream's unit."""

    cause: int
    since: Floats
    """Readings from the onset on without the calm ones at the end, as many as the window holds; never empty."""
    length: int
    """Readings from the onset to the last remarkable one."""
    expected: float
    error: float
    """Scale of the prediction's error before the onset."""
    usual_level: float
    usual_step: float
    """Robust standard deviation of the change from reading to reading before the onset."""
    repeats: int
    peak_value: float
    peak_size: float


class Measured(Struct, frozen=True):
    """The numbers of an anomaly as `values.Anomaly` defines them for its kind."""

    direction: Direction
    observed: float
    baseline: float
    magnitude: float


def _third(values: Floats) -> int:
    return max(1, len(values) // 3)


def _moved(view: View) -> float:
    """How far the last third of the readings is from what was expected, in error scales."""
    return float(np.median(view.since[-_third(view.since) :]) - view.expected) / view.error


def _noise_now(view: View) -> float:
    """Standard deviation of the readings, from their steps, so that a moving level does not count."""
    if len(view.since) < 2:
        return 0.0
    return float(np.mean(np.abs(np.diff(view.since)))) * _ABS_TO_SIGMA * _DIFFERENCE_TO_SIGMA


def _noise_usual(view: View) -> float:
    return view.usual_step * _DIFFERENCE_TO_SIGMA


def _ramps(view: View) -> bool:
    """Is a line from the expected level a better account of the readings than a step?"""
    since = view.since - view.expected
    step_error = float(np.sum((since - np.median(since)) ** 2))
    position = np.arange(1, len(since) + 1, dtype=np.float64)
    slope = float(position @ since) / float(position @ position)
    return float(np.sum((since - slope * position) ** 2)) < 0.8 * step_error


def bears_out(view: View, kind: str) -> bool:
    """Do the readings allow it to be said that the anomaly is of this kind?"""
    if kind == "stuck":
        return view.repeats >= 4
    if kind == "noise":
        return _noise_now(view) >= _ROUGHER * _noise_usual(view)
    return abs(_moved(view)) >= 1.0


def stayed_away(view: View, latest: Floats) -> bool:
    """Have the latest readings kept more than half of the way from the expected level to the peak?"""
    way = view.peak_value - view.expected
    return view.cause not in (NOISE, STUCK) and (float(np.median(latest)) - view.expected) * np.sign(way) > 0.5 * abs(way)


def by_rule(view: View) -> Kind:
    """The kind by rule of thumb."""
    if view.cause == STUCK:
        return "stuck"
    peak: Kind = "spike" if view.peak_value >= view.expected else "dip"
    if view.length <= SHORT_READINGS and view.cause not in (CHANGE, NOISE):
        return peak
    moved = abs(_moved(view))
    if _noise_now(view) >= 2.0 * _noise_usual(view) and moved * view.error < 1.5 * _noise_now(view):
        return "noise"
    if view.repeats >= SHORT_READINGS and moved < 3.0:
        return "stuck"
    if moved >= 1.0 and moved >= _LASTS * view.peak_size:
        return "drift" if _ramps(view) else "shift"
    return "noise" if view.cause == NOISE else peak


def settle(view: View, probabilities: NDArray[np.float32] | None) -> tuple[Kind, float]:
    """The kind, and the probability the classifier gave to it (1.0 where it was not asked)."""
    rule = by_rule(view)
    if probabilities is None or rule not in _LASTING:
        return rule, 1.0
    likeliest = max(_LASTING, key=lambda kind: float(probabilities[CLASSES.index(kind)]))
    probability = float(probabilities[CLASSES.index(likeliest)])
    if probability >= LEAST_PROBABILITY and bears_out(view, likeliest):
        return likeliest, probability
    return rule, float(probabilities[CLASSES.index(rule)])


def measure(view: View, kind: Kind) -> Measured:
    """The numbers that state an anomaly of this kind."""
    if kind == "stuck":
        return Measured("none", float(view.since[-1]), view.usual_level, min(view.peak_size, MOST_MAGNITUDE))
    if kind == "noise":
        return Measured("none", _noise_now(view), _noise_usual(view), min(view.peak_size, MOST_MAGNITUDE))
    if kind in ("shift", "drift"):
        recent = view.since[-_third(view.since) :] if kind == "drift" else view.since
        now = float(np.median(recent))
        size = min(abs(now - view.expected) / view.error, MOST_MAGNITUDE)
        return Measured("up" if now >= view.expected else "down", now, view.expected, size)
    direction: Direction = "up" if kind == "spike" else "down"
    return Measured(direction, view.peak_value, view.expected, min(view.peak_size, MOST_MAGNITUDE))
