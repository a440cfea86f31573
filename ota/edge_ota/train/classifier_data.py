"""Labelled windows for the fault classifier: faults of known kind on backgrounds such as sensors have, all from seeds.

Rules: numpy only; every number comes from the generator that was passed in, so one seed gives one data set; a label is true
by construction, because the fault is put on the background after the usual level and spread were measured before its onset,
as the agent measures them; windows are normalised by `edge_agent.detect.window.normalise_window` and by nothing else.

A `Case` says what happens (kind, onset, size, shape, background); `render` draws one recording of it. Two recordings of one
case are *twins*: the same event with other noise. They teach the embedding which waveforms are alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec import Struct, structs
from numpy.random import Generator
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import WINDOW_READINGS
from edge_agent.detect.window import normalise_window

Series = NDArray[np.float64]

HISTORY_READINGS = 448
"""Readings before the window, from which the usual level and spread are measured."""
TOTAL_READINGS = HISTORY_READINGS + WINDOW_READINGS
AR_MEMORY_READINGS = 384
"""Shocks older than this no longer count in an autoregressive series."""
SPIKE_READINGS_MAX = 8
"""A spike or dip is over after this many readings; a shift is not."""
EXTREME_NORMAL_Z = 5.0
"""A normal window may hold a reading this many spreads out; a fault's extreme is further, or lasts."""
STILL_SPREAD = 0.3
"""Least usual spread of a still reading, in steps of its resolution."""


class Background(Struct, frozen=True, kw_only=True):
    """How a healthy stream behaves. `texture` and `period` mean what the function of that name makes of them."""

    name: str
    texture: float
    """In (0, 1): correlation, noise share, step or burst rate."""
    period: float
    """Readings of one season or cycle."""
    phase: float
    """In (0, 1): where in its season the recording begins."""


class Case(Struct, frozen=True, kw_only=True):
    """One event. Sizes are in usual spreads, indices count from the start of the window (63 is the latest reading)."""

    kind: str
    background: Background
    onset: int
    """First abnormal reading; negative only for a drift that began before the window."""
    size: float
    """Height, step, final deviation or (noise) standard deviation; signed; 0 for normal and for stuck at the last value."""
    width: int
    """Readings that a spike or dip takes, or that a drift's ramp takes to its full size; 0 otherwise."""
    shape: float
    """In [0, 1]: how peaked a spike, how bent a drift, how soft the edge of a shift."""
    earlier: float
    """Size of an older single outlier in the first quarter of the window; 0 for none."""


class Recording(Struct, frozen=True, kw_only=True):
    """One drawing of a case: level and spread were measured before the onset, but for a drift that was noticed late.

    `values` has shape (TOTAL_READINGS,); NaN in the window marks places before the stream's first reading.
    """

    values: Series
    level: float
    spread: float

    @property
    def z(self) -> Series:
        """The window in spreads from the usual level, shape (WINDOW_READINGS,)."""
        return (self.values[HISTORY_READINGS:] - self.level) / self.spread


class DataSet(Struct, frozen=True, kw_only=True):
    """n cases, drawn twice each."""

    windows: NDArray[np.float32]
    """Shape (n, WINDOW_READINGS), normalised."""
    twins: NDArray[np.float32]
    """Shape (n, WINDOW_READINGS): the second recording of each case, its onset and size slightly other."""
    labels: NDArray[np.int64]
    """Shape (n,), indices into CLASSES."""
    ages: NDArray[np.int64]
    """Shape (n,), abnormal readings seen so far; for normal windows WINDOW_READINGS."""
    backgrounds: tuple[str, ...]


def _ar1(rng: Generator, correlation: float) -> Series:
    """A first-order autoregressive series with unit variance, as the moving average that it equals."""
    weights = np.sqrt(1.0 - correlation**2) * correlation ** np.arange(AR_MEMORY_READINGS)
    return np.convolve(rng.standard_normal(TOTAL_READINGS + AR_MEMORY_READINGS - 1), weights, mode="valid")


def _season(background: Background) -> Series:
    """A season of two harmonics with amplitude 1."""
    turns = np.arange(TOTAL_READINGS) / background.period + background.phase
    return np.asarray(np.sin(2 * np.pi * turns) + 0.3 * np.sin(4 * np.pi * turns + 6.0 * background.texture))


def _white(rng: Generator, background: Background) -> Series:
    return rng.standard_normal(TOTAL_READINGS)


def _correlated(rng: Generator, background: Background) -> Series:
    return _ar1(rng, 0.3 + 0.65 * background.texture)


def _daily(rng: Generator, background: Background) -> Series:
    slow = Background(name="daily", texture=background.texture, period=12.0 * background.period, phase=background.phase)
    return _season(slow) + (0.2 + 0.4 * background.texture) * rng.standard_normal(TOTAL_READINGS)


def _cycle(rng: Generator, background: Background) -> Series:
    return _season(background) + (0.1 + 0.4 * background.texture) * rng.standard_normal(TOTAL_READINGS)


def _walk(rng: Generator, background: Background) -> Series:
    return 2.0 * _ar1(rng, 0.985) + (0.3 + 0.4 * background.texture) * rng.standard_normal(TOTAL_READINGS)


def _quantised(rng: Generator, background: Background) -> Series:
    step = 0.3 + 1.0 * background.texture
    return np.asarray(np.round(_ar1(rng, 0.6 * background.phase) / step) * step)


def _bursty(rng: Generator, background: Background) -> Series:
    """Quiet noise with short loads on top, several in every window."""
    starts = rng.random(TOTAL_READINGS) < 1.0 / (8.0 + 12.0 * background.texture)
    loads = np.convolve(starts * rng.uniform(1.0, 3.0, TOTAL_READINGS), [1.0, 0.7, 0.4])[:TOTAL_READINGS]
    return np.asarray(loads + 0.5 * rng.standard_normal(TOTAL_READINGS))


def _trending(rng: Generator, background: Background) -> Series:
    slope = (background.texture - 0.5) * 0.02
    return slope * np.arange(TOTAL_READINGS) + rng.standard_normal(TOTAL_READINGS)


def _heavy(rng: Generator, background: Background) -> Series:
    return np.asarray(rng.standard_t(3.0 + 3.0 * background.texture, TOTAL_READINGS))


def _duty(rng: Generator, background: Background) -> Series:
    """A machine that switches between two levels, such as a compressor."""
    turns = np.arange(TOTAL_READINGS) / background.period + background.phase
    on = (turns % 1.0) < 0.3 + 0.4 * background.texture
    return np.asarray(2.0 * on + 0.3 * rng.standard_normal(TOTAL_READINGS))


def _still(rng: Generator, background: Background) -> Series:
    """A reading that hardly ever changes, and then by one step of its resolution."""
    flicker = rng.random(TOTAL_READINGS) < 0.1 * background.texture
    return np.asarray(flicker * rng.choice([-1.0, 1.0], TOTAL_READINGS))


def _mixed(rng: Generator, background: Background) -> Series:
    return np.asarray(_daily(rng, background) + 0.5 * _correlated(rng, background) + 0.2 * _heavy(rng, background))


BACKGROUNDS: dict[str, Callable[[Generator, Background], Series]] = {
    "white": _white,
    "correlated": _correlated,
    "daily": _daily,
    "cycle": _cycle,
    "walk": _walk,
    "quantised": _quantised,
    "bursty": _bursty,
    "trending": _trending,
    "heavy": _heavy,
    "duty": _duty,
    "still": _still,
    "mixed": _mixed,
}


def draw_case(rng: Generator, kind: str) -> Case:
    """Draw one event of `kind` on a background of any sort."""
    # A still reading that gets stuck does what it always does.
    names = [name for name in BACKGROUNDS if not (kind == "stuck" and name == "still")]
    background = Background(
        name=str(rng.choice(names)),
        texture=float(rng.random()),
        period=float(np.exp(rng.uniform(np.log(8.0), np.log(48.0)))),
        phase=float(rng.random()),
    )
    sign = float(rng.choice([-1.0, 1.0]))
    onset, size, width = 0, 0.0, 0
    match kind:
        case "spike" | "dip":
            width = int(_log_uniform(rng, 1.0, SPIKE_READINGS_MAX + 1))
            size = _log_uniform(rng, 6.0, 300.0) * (1.0 if kind == "spike" else -1.0)
        case "shift":
            size = _log_uniform(rng, 3.0, 300.0) * sign
        case "drift":
            onset, width = int(rng.integers(-64, 44)), int(rng.integers(20, 128))
            size = _log_uniform(rng, 3.0, 40.0) * sign * max(1.0, width / (WINDOW_READINGS - onset))
        case "stuck":
            size = float(rng.uniform(1.0, 6.0)) * sign if rng.random() < 0.3 else 0.0
        case "noise":
            size = _log_uniform(rng, 2.5, 20.0)
    earlier = float(rng.uniform(4.0, 20.0)) * sign if kind != "normal" and rng.random() < 0.1 else 0.0
    if kind not in ("normal", "drift"):
        onset = _onset(rng, _seen_min(kind, background))
    return Case(kind=kind, background=background, onset=onset, size=size, width=width, shape=float(rng.random()), earlier=earlier)


def twin_case(rng: Generator, case: Case) -> Case:
    """The same event met again: sizes some 12 % other, another phase of the season, seen sooner or later after its onset.

    Half of the twins are seen within three readings of the case's own age, half at any age at which the agent asks, because
    an incident that has just opened is compared with past ones that were seen to their end.
    """
    at_any_age = rng.random() < 0.5
    onset = max(-WINDOW_READINGS, case.onset - int(rng.integers(0, 33 if at_any_age and case.kind == "drift" else 4)))
    if at_any_age and case.kind not in ("normal", "drift"):
        onset = _onset(rng, _seen_min(case.kind, case.background))
    return structs.replace(
        case,
        background=structs.replace(case.background, phase=float(rng.random())),
        onset=0 if case.kind == "normal" else onset,
        size=case.size * float(np.exp(rng.normal(0.0, 0.12))),
    )


def render(rng: Generator, case: Case) -> Recording:
    """Draw one recording of `case`, in a unit and at an offset of its own."""
    values = BACKGROUNDS[case.background.name](rng, case.background)
    if case.kind == "normal":
        values = _at_an_extreme(rng, values) if rng.random() < 0.5 else values
    usual = values[: HISTORY_READINGS + max(min(case.onset, 0), -WINDOW_READINGS)]
    level, spread = _usual(rng, usual)
    if case.background.name == "still":
        spread = max(spread, STILL_SPREAD)
    if case.earlier:
        values[HISTORY_READINGS + int(rng.integers(0, 16))] += case.earlier * spread
    _FAULTS[case.kind](rng, case, values[HISTORY_READINGS - WINDOW_READINGS :], level, spread)
    if case.kind == "drift" and rng.random() < 0.5:
        level, spread = _followed(rng, values, level, spread)
    if rng.random() < 0.05 and (case.kind == "normal" or case.onset > 32):
        values[HISTORY_READINGS : HISTORY_READINGS + int(rng.integers(1, 25))] = np.nan
    unit, offset = 10.0 ** rng.uniform(-3, 4), 10.0 ** rng.uniform(0, 4)
    return Recording(values=values * unit + offset, level=level * unit + offset, spread=spread * unit)


def make_data(seed: int, cases: int) -> DataSet:
    """Draw `cases` events, the kinds in equal shares, each recorded twice."""
    rng = np.random.default_rng(seed)
    labels = np.arange(cases, dtype=np.int64) % len(CLASSES)
    drawn = [draw_case(rng, CLASSES[label]) for label in labels]
    windows = [render(rng, case) for case in drawn]
    twins = [render(rng, twin_case(rng, case)) for case in drawn]
    ages = [WINDOW_READINGS if case.kind == "normal" else min(WINDOW_READINGS, WINDOW_READINGS - case.onset) for case in drawn]
    return DataSet(
        windows=normalise(windows),
        twins=normalise(twins),
        labels=labels,
        ages=np.array(ages, dtype=np.int64),
        backgrounds=tuple(case.background.name for case in drawn),
    )


def normalise(recordings: list[Recording]) -> NDArray[np.float32]:
    """The windows of the recordings as the classifier sees them, shape (n, WINDOW_READINGS)."""
    values = np.stack([each.values[HISTORY_READINGS:] for each in recordings])
    level = np.array([each.level for each in recordings])
    spread = np.array([each.spread for each in recordings])
    return normalise_window(values, level, spread)


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _seen_min(kind: str, background: Background) -> int:
    """Abnormal readings without which the kind cannot be told."""
    if kind == "stuck":
        # Coarse steps repeat by themselves: only a longer repetition tells.
        return 16 if background.name == "quantised" else 6
    return {"shift": 3, "noise": 5}.get(kind, 1)


def _onset(rng: Generator, seen_min: int) -> int:
    """Where in the right half a fault begins, of which at least `seen_min` readings must be in the window.

    The agent asks when an anomaly opens and again 16 and 32 readings after its onset, so these ages are the commonest.
    """
    draw = rng.random()
    if draw < 0.4:
        seen = int(rng.integers(1, 9))
    elif draw < 0.8:
        seen = int(rng.choice([16, 32])) + int(rng.integers(0, 2))
    else:
        seen = int(rng.integers(8, 33))
    return WINDOW_READINGS - min(max(seen, seen_min), 32)


def _usual(rng: Generator, usual: Series) -> tuple[float, float]:
    """Level and spread as an online estimator would have them: robust, over a memory of uncertain length, not exact."""
    memory = int(rng.integers(64, HISTORY_READINGS - WINDOW_READINGS))
    recent = usual[-memory:]
    level = float(np.median(recent))
    spread = 1.4826 * float(np.median(np.abs(recent - level)))
    # Where more than half of the readings repeat, the median deviation is 0 and the mean one must serve.
    spread = max(spread, 0.5 * float(np.mean(np.abs(recent - level))))
    return level + 0.1 * spread * float(rng.standard_normal()), spread * float(np.exp(rng.normal(0.0, 0.15)))


def _followed(rng: Generator, values: Series, level: float, spread: float) -> tuple[float, float]:
    """Level and spread as they are when a drift is noticed late: they have gone part of its way."""
    way = float(rng.uniform(0.0, 0.5)) * (float(values[-8:].mean()) - level)
    return level + way, spread * float(rng.uniform(1.0, 2.0))


def _at_an_extreme(rng: Generator, values: Series) -> Series:
    """Roll the series so that a healthy extreme stands among the latest readings, as when a detector has just fired."""
    distance = np.abs(values - np.median(values))
    spread = 1.4826 * float(np.median(distance)) or 1.0
    distance[distance > EXTREME_NORMAL_Z * spread] = 0.0
    extreme = int(np.argmax(distance[WINDOW_READINGS:])) + WINDOW_READINGS
    return np.roll(values, TOTAL_READINGS - 1 - int(rng.integers(0, 4)) - extreme)


def _excursion(rng: Generator, case: Case, tail: Series, level: float, spread: float) -> None:
    """Spike and dip: `width` readings away, between a plateau (shape 0) and a needle that decays (shape 1)."""
    start = WINDOW_READINGS + case.onset
    form = np.exp(-2.0 * case.shape * np.arange(case.width))
    room = tail[start : start + case.width]
    room += case.size * spread * form[: len(room)]


def _shift(rng: Generator, case: Case, tail: Series, level: float, spread: float) -> None:
    """A new level for good; with a soft edge the first two readings are on the way to it."""
    start = WINDOW_READINGS + case.onset
    form = np.ones(len(tail) - start)
    if case.shape > 0.7:
        form[:2] = np.array([0.4, 0.8])[: len(form)]
    tail[start:] += case.size * spread * form


def _drift(rng: Generator, case: Case, tail: Series, level: float, spread: float) -> None:
    """A ramp over `width` readings, bent one way or the other, then level."""
    start = WINDOW_READINGS + case.onset
    progress = np.clip((np.arange(len(tail) - start) + 1) / case.width, 0.0, 1.0)
    tail[start:] += case.size * spread * progress ** (0.8 + 1.0 * case.shape)


def _stuck(rng: Generator, case: Case, tail: Series, level: float, spread: float) -> None:
    """One value again and again: the last good one, or a value that the sensor falls to."""
    start = WINDOW_READINGS + case.onset
    tail[start:] = level + case.size * spread if case.size else tail[start - 1]


def _noise(rng: Generator, case: Case, tail: Series, level: float, spread: float) -> None:
    """Fluctuation grows, the level stays."""
    start = WINDOW_READINGS + case.onset
    tail[start:] += case.size * spread * rng.standard_normal(len(tail) - start)


def _none(rng: Generator, case: Case, tail: Series, level: float, spread: float) -> None:
    """Nothing happens."""


_FAULTS: dict[str, Callable[[Generator, Case, Series, float, float], None]] = {
    "normal": _none,
    "spike": _excursion,
    "dip": _excursion,
    "shift": _shift,
    "drift": _drift,
    "stuck": _stuck,
    "noise": _noise,
}
"""Each puts its fault on the last 2 * WINDOW_READINGS readings in place; the window is the second half of `tail`."""
