"""All detectors of all streams: readings in, scores and anomalies out.

Rules: one owner. A batch is taken in rounds: the k-th reading of each stream in round k, every round vectorised over its
streams, so that batches may be cut anywhere without changing an answer. A reading older than its stream's last one is set
aside, unless the stream's clock was evidently set back (more than `_CLOCK_SET_S`, or `_MOST_LATE` such readings in a row).
Equal times are taken as they come: many devices stamp whole seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.config.settings import DetectSettings
from edge_agent.detect import change, episodes, level, silence, tails, variance
from edge_agent.detect.cases import LOOKS, Cases
from edge_agent.detect.contract import WINDOW_READINGS, Classifier
from edge_agent.detect.state import (
    AGE,
    CAUSE,
    COUNT,
    GAP,
    HEARD,
    INTERVAL,
    LAST,
    LAST_SCALE,
    LATE,
    REST,
    SILENT_SINCE,
    SLOW,
    SLOW_SCALE,
    TIME,
    Floats,
    Indices,
    Mask,
    StreamState,
)
from edge_agent.values import Anomaly, Reading, Rejection

_ROUND_STREAMS = 2048
"""Streams taken at once: their columns then stay in the processor's cache."""
_CLOCK_SET_S = 3600.0
_MOST_LATE = 16.0
_MOST_VALUE = 1e100
"""Readings beyond this are taken as this: their differences must stay finite."""
_INTERVAL_GAIN = 1 / 32
_INTERVAL_CLIP = 4.0
_MOST_FIRST_INTERVAL_S, _FIRST_INTERVAL_SLACK_S, _LEAST_INTERVAL_S = 86_400.0, 60.0, 1e-6
_LEARN_TAILS_FROM = 16
_TRUSTED_WARMUPS = 2
"""So many warm-ups long everything is learnt as usual: there is no habit yet that a change could be told from."""
_LOOKS = np.array(LOOKS, dtype=np.float64)[:, None]


class Detected(Struct, frozen=True):
    """What a batch of readings gave."""

    scores: NDArray[np.float64]
    """One a reading, in the order given, in [0, 1]; 0.5 and more: the reading belongs to an open anomaly."""
    anomalies: list[Anomaly]
    """Newly opened, refined or ended, in the order of the readings that brought it about."""
    rejections: list[Rejection]
    """Readings that were set aside, with the stream as topic; a classifier that failed, with no topic."""


class DetectorBank:
    """Detection over all streams. One owner: the screen worker."""

    def __init__(self, settings: DetectSettings, classifier: Classifier | None) -> None:
        self._settings = settings
        self._state = StreamState(settings.max_streams)
        self._cases = Cases(self._state, classifier)
        self._clock = silence.SteadyClock()

    def use_classifier(self, classifier: Classifier | None) -> None:
        """Name kinds by this classifier from now on; None by statistics alone. What the detectors know stays."""
        self._cases.use_classifier(classifier)

    def update(self, readings: Sequence[Reading]) -> Detected:
        """Take in readings in the order they came."""
        rejections: list[Rejection] = []
        scores = np.zeros(len(readings))
        told: list[tuple[int, int, Anomaly]] = []
        times = np.array([r.time_s for r in readings], dtype=np.float64)
        values = np.array([r.value for r in readings], dtype=np.float64)
        columns = self._columns(readings, times, values, rejections)
        values = np.minimum(np.maximum(values, -_MOST_VALUE), _MOST_VALUE)
        with np.errstate(all="ignore"):
            for places in _rounds(columns):
                kept = self._in_order(columns[places], times[places])
                for place in places[~kept]:
                    rejections.append(
                        Rejection(
                            readings[place].stream, "out-of-order", f"{readings[place].time_s!r} s is before the last reading"
                        )
                    )
                places = places[kept]
                if len(places):
                    scores[places] = self._round(columns[places], times[places], values[places], places, told)
        told.sort(key=lambda item: item[:2])
        rejections.extend(self._cases.failures)
        self._cases.failures.clear()
        return Detected(scores, [anomaly for _, _, anomaly in told], rejections)

    def tick(self, now_s: float, monotonic_s: float | None = None) -> list[Anomaly]:
        """Open silences. To be called about once a second, and before `update` where both are due.

        `now_s` is the wall clock. `monotonic_s`, where the caller has it, is a clock that never goes back and decides alone
        how long a silence is; without it, steps of the wall clock that cannot be waiting are left out.
        """
        elapsed_s = self._clock.advance(now_s, monotonic_s)
        count = len(self._state.names)
        block = self._state.fields[:, :count]
        with np.errstate(all="ignore"):
            due = np.flatnonzero(
                silence.opening(block, self._settings, elapsed_s) & (block[COUNT] >= self._settings.warmup_readings)
            )
        told: list[Anomaly] = []
        for column in due:
            ended = self._cases.cut_off(int(column))
            if ended is not None:
                told.append(ended)
            block[SILENT_SINCE, column] = block[TIME, column] + block[INTERVAL, column]
            told.append(self._silence(int(column), None))
        return told

    def silence_score(self, stream: str) -> float:
        """The score of a stream now that no reading came: 0.5 and more while its silence is open, else 0."""
        column = self._state.columns.get(stream)
        if column is None or math.isnan(self._state.fields[SILENT_SINCE, column]):
            return 0.0
        return self._silence(column, None).score

    def usual(self, stream: str) -> tuple[float, float] | None:
        """Usual level and spread of a stream, in its unit; None while it is unknown or warming up."""
        column = self._state.columns.get(stream)
        if column is None or self._state.fields[COUNT, column] < self._settings.warmup_readings:
            return None
        return float(self._state.fields[SLOW, column]), float(self._state.fields[SLOW_SCALE, column])

    @property
    def stream_count(self) -> int:
        """Streams that are known."""
        return len(self._state.names)

    def state_bytes_per_stream(self) -> int:
        """Bytes of numbers held for each stream, without its name."""
        return self._state.bytes_per_stream()

    def _columns(self, readings: Sequence[Reading], times: Floats, values: Floats, rejections: list[Rejection]) -> Indices:
        known = self._state.columns
        found = np.array([known.get(r.stream, -1) for r in readings], dtype=np.intp)
        unusable = ~(np.isfinite(times) & np.isfinite(values))
        for place in np.flatnonzero(unusable | (found < 0)):
            reading = readings[place]
            found[place] = -1 if unusable[place] else self._state.column(reading.stream, reading.unit)
            if unusable[place]:
                detail = f"value {reading.value!r} at {reading.time_s!r} s"
                rejections.append(Rejection(reading.stream, "not-finite", detail))
            elif found[place] < 0:
                detail = f"more than detect.max_streams = {self._settings.max_streams} streams"
                rejections.append(Rejection(reading.stream, "too-many-streams", detail))
        return found

    def _in_order(self, columns: Indices, times: Floats) -> Mask:
        """Which readings are not older than their stream's last one; counts the others."""
        fields = self._state.fields
        back = fields[TIME, columns] - times
        late = (back > 0) & (back <= _CLOCK_SET_S) & (fields[COUNT, columns] > 0) & (fields[LATE, columns] < _MOST_LATE)
        if late.any():
            fields[LATE, columns] += late
            fields[HEARD, columns[late]] = self._clock.elapsed_s  # it is late, not silent
        return np.asarray(~late)

    def _round(
        self, columns: Indices, times: Floats, values: Floats, places: Indices, told: list[tuple[int, int, Anomaly]]
    ) -> Floats:
        """One reading each of different streams."""
        state = self._state
        block = state.take(columns)
        counts = block[COUNT].copy()
        if (counts < WINDOW_READINGS).any():
            self._start(block, columns, values)
        back_again = np.flatnonzero(~np.isnan(block[SILENT_SINCE]))
        for i in back_again:
            told.append((int(places[i]), 0, self._silence(int(columns[i]), float(times[i]))))
            block[SILENT_SINCE, i] = np.nan
        silence.heard(block, self._clock.elapsed_s)
        self._learn_interval(block, times)
        scores, opening, ending = self._judge(block, times, values)
        block[TIME] = times
        block[COUNT] += 1.0
        block[LATE] = 0.0
        state.put(columns, block)
        state.remember(columns, counts, values)
        is_open = block[CAUSE] > 0
        if is_open.any():
            looked = is_open & ~opening & ~ending & (block[AGE] == _LOOKS).any(axis=0)
            groups = [[int(c) for c in columns[mask]] for mask in (opening, looked, ending)]
            tell = self._cases.changed(*groups)
            place_of = dict(zip(columns.tolist(), places.tolist(), strict=True))
            told.extend((place_of[column], 1, anomaly) for column, anomaly in tell.items())
        return scores

    def _start(self, block: Floats, columns: Indices, values: Floats) -> None:
        """What is special about a stream's first readings."""
        fresh = block[COUNT] == 0
        if fresh.any():
            level.start(block, values, fresh)
            change.start(block)
            variance.start(block)
            tails.start(block)
            block[HEARD] = np.where(fresh, -1.0, block[HEARD])
            block[SILENT_SINCE] = np.where(fresh, np.nan, block[SILENT_SINCE])
        settled = min(self._settings.warmup_readings, WINDOW_READINGS - 1)
        due = np.flatnonzero(block[COUNT] == settled)
        if len(due):
            centre, spread = level.robust(self._state.windows(columns[due]))
            block[SLOW, due] = centre
            block[SLOW_SCALE, due] = np.where(spread > 0, spread, block[SLOW_SCALE, due])

    def _learn_interval(self, block: Floats, times: Floats) -> None:
        """Follow the usual interval between readings; a pause or a step of the device's clock moves it little."""
        gap = np.maximum(times - block[TIME], 0.0)
        count = block[COUNT]
        usual = block[INTERVAL]
        slack = np.where(count < level.UNCLIPPED, _FIRST_INTERVAL_SLACK_S, _LEAST_INTERVAL_S)
        bound = np.where(count < 2, _MOST_FIRST_INTERVAL_S, _INTERVAL_CLIP * usual + slack)
        gain = np.where(count > 0, np.maximum(_INTERVAL_GAIN, 1.0 / np.maximum(count, 1.0)), 0.0)
        block[INTERVAL] = usual + gain * (np.minimum(gap, bound) - usual)

    def _judge(self, block: Floats, times: Floats, values: Floats) -> tuple[Floats, Mask, Mask]:
        """Score a round, open and end anomalies in the block, and learn. Returns scores, which open, which end."""
        is_open = block[CAUSE] > 0
        least = level.floor(block)
        expected, scale, chosen = episodes.expectation(block, is_open, least)
        sizes = (values - expected) / scale
        steps = np.abs(values - block[LAST])
        equal = (steps <= 0) & (block[COUNT] > 0)
        scaled = np.where(block[COUNT] >= level.UNCLIPPED, 1.0, 0.0)
        follows = scaled * ~(is_open & (block[CAUSE] != episodes.CHANGE))
        deviation = (values - block[SLOW]) / np.maximum(block[SLOW_SCALE], least)
        statistics = np.empty((tails.STATISTICS, len(values)))
        statistics[tails.UP] = np.maximum(sizes, 0.0)
        statistics[tails.DOWN] = np.maximum(-sizes, 0.0)
        statistics[tails.CHANGE] = change.statistic(block, deviation, times, follows)
        statistics[tails.NOISE] = variance.roughness(block, steps / np.maximum(block[LAST_SCALE], least), scaled)
        statistics = tails.compress(statistics)
        rarity = np.vstack([tails.log_probability(block, statistics), variance.repeats(block, equal, times)])
        threshold = episodes.thresholds(block, self._settings.false_alarms_per_stream_day)
        lowest = rarity.min(axis=0)
        raw = episodes.raw_scores(lowest, threshold)
        ready = (block[COUNT] >= self._settings.warmup_readings) & (block[REST] <= 0)
        opening = ready & ~is_open & (lowest <= threshold)
        at = np.flatnonzero(opening)
        cause = 1 + rarity[:, at].argmin(axis=0)
        # Sums over many readings remember an excursion that is over: they count only for anomalies that are theirs.
        rarity[tails.CHANGE] *= block[CAUSE] == episodes.CHANGE
        rarity[tails.NOISE] *= block[CAUSE] == episodes.NOISE
        calm = rarity.min(axis=0) > episodes.CALM_SHARE * threshold
        magnitudes = np.abs(sizes)
        ending = episodes.go_on(block, is_open, calm, (times, values, magnitudes, raw))
        scores = np.where(
            block[COUNT] >= self._settings.warmup_readings, episodes.shown_scores(block, raw, opening, is_open, calm), 0.0
        )
        self._learn(block, values, statistics, least, (steps, equal), (is_open, opening, raw))
        if len(at):
            frozen = (expected[at], scale[at], chosen[at])
            episodes.open_(block, at, cause, frozen, (times[at], values[at], magnitudes[at], raw[at]))
        episodes.relax(block)
        return scores, opening, ending

    def _learn(
        self,
        block: Floats,
        values: Floats,
        statistics: Floats,
        least: Floats,
        moved: tuple[Floats, Mask],
        judged: tuple[Mask, Mask, Floats],
    ) -> None:
        """Learn from what is usual; from an anomaly only, once, that it happened."""
        steps, equal = moved
        is_open, opening, raw = judged
        usual = 1.0 - (is_open | opening)
        trusted = usual * np.where(block[COUNT] < _TRUSTED_WARMUPS * self._settings.warmup_readings, 1.0, episodes.trust(raw))
        tails.learn(block, statistics, np.where(block[COUNT] >= _LEARN_TAILS_FROM, usual, 0.0), opening)
        change.learn(block, trusted)
        variance.learn(block, trusted)
        variance.learn_repeats(block, equal, trusted)
        level.learn_quantum(block, steps)
        level.learn(block, values, values - level.predictions(block), least, usual, trusted)

    def _silence(self, column: int, end_s: float | None) -> Anomaly:
        """A stream's silence: open, or ended at `end_s`."""
        f = self._state.fields[:, column]
        lasted_s = self._clock.elapsed_s - float(f[HEARD])
        limit_s = float(silence.limits(self._state.fields[:, [column]], self._settings)[0])
        onset_s = float(f[SILENT_SINCE])
        return Anomaly(
            stream=self._state.names[column],
            kind="silence",
            direction="none",
            onset_s=onset_s,
            peak_s=onset_s if end_s is None else max(end_s, onset_s),
            end_s=None if end_s is None else max(end_s, onset_s),
            score=min(1.0, max(0.5, 0.5 * lasted_s / limit_s)),
            observed=lasted_s,
            baseline=float(max(f[INTERVAL], f[GAP])),
            ending="ongoing" if end_s is None else "returned",
            unit="s",
        )


def _rounds(columns: Indices) -> Iterator[Indices]:
    """Places of the batch to be taken together: no stream twice, in order within each stream; columns below 0 are left out."""
    places = np.flatnonzero(columns >= 0)
    kept = columns[places]
    if len(np.unique(kept)) == len(kept):
        rounds = [places]
    else:
        order = np.argsort(kept, kind="stable")
        run = kept[order]
        starts = np.flatnonzero(np.r_[True, run[1:] != run[:-1]])
        rank = np.empty(len(kept), dtype=np.intp)
        rank[order] = np.arange(len(kept)) - np.repeat(starts, np.diff(np.r_[starts, len(kept)]))
        rounds = [places[rank == k] for k in range(int(rank.max()) + 1)]
    for part in rounds:
        for begin in range(0, len(part), _ROUND_STREAMS):
            yield part[begin : begin + _ROUND_STREAMS]
