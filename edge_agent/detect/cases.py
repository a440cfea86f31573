"""The anomalies that are open: their names, their numbers, and what becomes of the baseline when they end.

Rules: works on single streams, and only when an anomaly opens, is looked at again (`LOOKS`), or ends; everything that happens
at every reading is in `episodes`. All windows of a round go to the classifier in one call; when the classifier fails the
rules of thumb name the kind, and the failure is handed on as a rejection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from edge_agent.detect import episodes, level, naming
from edge_agent.detect.contract import Classified, Classifier
from edge_agent.detect.state import (
    AGE,
    BEST,
    CALM,
    CALM_TIME,
    CAUSE,
    ERROR,
    EXPECTED,
    LAST_SCALE,
    MIDDLE,
    ONSET,
    PEAK_SIZE,
    PEAK_TIME,
    PEAK_VALUE,
    RECENT,
    REST,
    ROUGHNESS,
    RUN,
    SCALE,
    SLOW,
    SLOW_SCALE,
    TIME,
    TREND,
    TRENDED,
    Floats,
    StreamState,
)
from edge_agent.detect.window import normalise_window
from edge_agent.errors import EngineError
from edge_agent.values import Anomaly, Ending, Kind, Rejection

LOOKS = (4, 8, 16, 32, 64)
"""At these ages (readings since onset) an open anomaly is looked at again."""
_ASKED_AT = (16, 32)
CLASSIFIER_FAILED = "classifier-failed"
"""The reason under which a failure of the classifier is counted."""


class Case(Struct):
    """What is remembered of an open anomaly beside its columns in the state. Changed in place by its owner, `Cases`."""

    kind: Kind
    confidence: float
    probabilities: NDArray[np.float32] | None
    signature: bytes
    signed_by: str
    told: Anomaly


class _Answer(Struct, frozen=True):
    """What the classifier says of one window."""

    probabilities: NDArray[np.float32] | None = None
    signature: bytes = b""
    signed_by: str = ""


class Cases:
    """Open anomalies by column. One owner: the bank."""

    def __init__(self, state: StreamState, classifier: Classifier | None) -> None:
        self._state = state
        self._classifier = classifier
        self._open: dict[int, Case] = {}
        self.failures: list[Rejection] = []

    def use_classifier(self, classifier: Classifier | None) -> None:
        """Ask this one from now on; what was said by the one before stands."""
        self._classifier = classifier

    def changed(self, opened: Sequence[int], looked: Sequence[int], ended: Sequence[int]) -> dict[int, Anomaly]:
        """Open, look again and end, by column; returns what is new to tell. A column is in one of the three at most."""
        fields = self._state.fields
        asked = [*opened, *(c for c in looked if fields[AGE, c] in _ASKED_AT)]
        answers = self._ask(asked)
        tell: dict[int, Anomaly] = {}
        for column in opened:
            tell[column] = self._begin(column, answers.get(column, _UNASKED))
        for column in looked:
            anomaly = self._look(column, answers.get(column))
            if anomaly is not None:
                tell[column] = anomaly
        for column in ended:
            if fields[CALM, column] >= episodes.CALM_READINGS:
                tell[column] = self._end(column, float(fields[CALM_TIME, column]), "returned")
            else:
                tell[column] = self._end(column, float(fields[TIME, column]), "adopted")
        return tell

    def cut_off(self, column: int) -> Anomaly | None:
        """End a stream's open anomaly because nothing more is heard of it."""
        if column not in self._open:
            return None
        return self._end(column, float(self._state.fields[TIME, column]), "unknown")

    def _ask(self, columns: Sequence[int]) -> dict[int, _Answer]:
        if self._classifier is None or not columns:
            return {}
        at = np.asarray(columns, dtype=np.intp)
        fields = self._state.fields
        windows = normalise_window(
            self._state.windows(at), fields[SLOW, at], np.maximum(fields[SLOW_SCALE, at], level.floor(fields[:, at]))
        )
        try:
            answer: Classified = self._classifier.classify(windows)
        except EngineError as error:
            self.failures.append(Rejection("", CLASSIFIER_FAILED, str(error)))
            return {}
        return {
            c: _Answer(answer.probabilities[i], answer.signatures[i].tobytes(), answer.signed_by) for i, c in enumerate(columns)
        }

    def _view(self, column: int) -> naming.View:
        f = self._state.fields[:, column]
        window = self._state.windows(np.array([column]))[0]
        window = window[~np.isnan(window)]
        calm = int(f[CALM])
        held = window[max(0, len(window) - int(f[AGE]) - 1) :]
        since = held[: len(held) - calm] if len(held) > calm else held[:1]
        return naming.View(
            cause=int(f[CAUSE]),
            since=since,
            length=int(f[AGE]) + 1 - calm,
            expected=float(f[EXPECTED]),
            error=float(f[ERROR]),
            usual_level=float(f[SLOW]),
            usual_step=float(f[LAST_SCALE]),
            repeats=int(f[RUN]),
            peak_value=float(f[PEAK_VALUE]),
            peak_size=float(f[PEAK_SIZE]),
        )

    def _anomaly(self, column: int, case: Case, view: naming.View, end: tuple[float, Ending] | None = None) -> Anomaly:
        f = self._state.fields[:, column]
        measured = naming.measure(view, case.kind)
        onset_s = float(f[ONSET])
        end_s = None if end is None else max(end[0], onset_s)
        return Anomaly(
            stream=self._state.names[column],
            kind=case.kind,
            direction=measured.direction,
            onset_s=onset_s,
            peak_s=min(max(float(f[PEAK_TIME]), onset_s), math.inf if end_s is None else end_s),
            end_s=end_s,
            ending="ongoing" if end is None else end[1],
            score=float(f[BEST]),
            observed=measured.observed,
            baseline=measured.baseline,
            unit=self._state.units[column],
            magnitude=measured.magnitude,
            kind_confidence=case.confidence,
            signature=case.signature,
            signed_by=case.signed_by,
        )

    def _begin(self, column: int, answer: _Answer) -> Anomaly:
        view = self._view(column)
        kind, confidence = naming.settle(view, answer.probabilities)
        case = Case(
            kind=kind,
            confidence=confidence,
            probabilities=answer.probabilities,
            signature=answer.signature,
            signed_by=answer.signed_by,
            told=_NOTHING,
        )
        case.told = self._anomaly(column, case, view)
        self._open[column] = case
        return case.told

    def _look(self, column: int, answer: _Answer | None) -> Anomaly | None:
        case = self._open[column]
        if answer is not None:
            case.probabilities, case.signature, case.signed_by = answer.probabilities, answer.signature, answer.signed_by
        view = self._view(column)
        case.kind, case.confidence = naming.settle(view, case.probabilities)
        if case.kind == "noise":
            self._state.fields[CAUSE, column] = episodes.NOISE
        anomaly = self._anomaly(column, case, view)
        if anomaly == case.told:
            return None
        case.told = anomaly
        return anomaly

    def _end(self, column: int, end_s: float, ending: Ending) -> Anomaly:
        case = self._open.pop(column)
        f = self._state.fields[:, column]
        window = self._state.windows(np.array([column]))
        view = self._view(column)
        case.kind, case.confidence = naming.settle(view, case.probabilities)
        latest = window[0, -episodes.CALM_READINGS :]
        if ending == "adopted" and view.cause not in (episodes.NOISE, episodes.STUCK) and not naming.stayed_away(view, latest):
            ending = "unknown"  # it has been going on for long, but has just left where it was
        if ending == "returned" and naming.stayed_away(view, latest):
            # It is unremarkable because the prediction has become uncertain, not because it came back.
            ending = "adopted"
            if case.kind in ("spike", "dip"):
                case.kind, view = "shift", structs.replace(view, since=latest)
        anomaly = self._anomaly(column, case, view, (end_s, ending))
        self._rebase(f, window, adopt=bool(f[AGE] >= episodes.ADOPT_AFTER))
        f[CAUSE] = episodes.NONE
        f[CALM] = 0.0
        f[REST] = episodes.REST_READINGS
        return anomaly

    def _rebase(self, f: Floats, window: Floats, *, adopt: bool) -> None:
        """Let prediction go on from what is read now; with `adopt`, the last window becomes the usual level and spread."""
        recent, _ = level.robust(window[:, -episodes.CALM_READINGS :])
        f[MIDDLE] = f[TRENDED] = recent[0]
        if not adopt:
            return
        centre, spread = level.robust(window)
        f[SLOW] = centre[0]
        f[TREND] = 0.0
        f[RECENT] = 0.0
        f[ROUGHNESS] = 1.0
        if spread[0] > 0:
            rougher = max(1.0, level.step_scale(window)[0] / max(f[LAST_SCALE], level.TINY))
            f[SCALE : SCALE + 4] *= min(rougher, 1e6)
            f[SLOW_SCALE] = spread[0]


_UNASKED = _Answer()
_NOTHING = Anomaly(stream="", kind="spike", direction="none", onset_s=0.0, peak_s=0.0, score=0.0)
