"""Incidents that every release must be able to phrase: each kind with each ending, alone, in pairs and in groups.

Rules: pure and always the same. Each incident is one chunk, so that one that fails speaks of one sentence. Only the last have
as many subjects as a text may have: the pieces for the third and later ones stand in no other. Among them are the longest
prompts that there are: a pair of subjects with all their values, times and durations.
"""

from __future__ import annotations

from edge_agent.plan import MAX_SUBJECTS
from edge_agent.values import KINDS, Anomaly, Direction, Ending, Incident, Kind

_BEGAN_S = 1_760_000_000.0
_ENDINGS: tuple[Ending, ...] = ("returned", "ongoing", "adopted", "unknown")
_DIRECTIONS: dict[Kind, Direction] = {"spike": "up", "dip": "down", "shift": "up", "drift": "down"}
_VALUES: dict[Kind, tuple[float, float]] = {
    "spike": (92.4, 61.0),
    "dip": (18.2, 61.0),
    "shift": (74.5, 61.0),
    "drift": (48.0, 61.0),
    "stuck": (61.3, 61.0),
    "noise": (9.5, 1.5),
    "silence": (300.0, 5.0),
}
LONG = 4
"""Incidents with all the subjects there may be: more than may be refused, so that a release that fails at them is seen."""
_STREAMS = ("pressure", "flow", "level", "speed", "current", "torque")
_APART = 11
"""Between the two of a pair in the row of all kinds and endings: odd, so that each stands in one pair."""


def trial_incidents() -> tuple[Incident, ...]:
    """All of them, in an order that is always the same."""
    every = [(kind, ending) for ending in _ENDINGS for kind in KINDS]
    found = []
    for number, first in enumerate(every):
        if number % 2:
            continue
        second = every[(number + _APART) % len(every)]
        gap_s = 0.0 if number % 4 else 40.0
        pair = (_anomaly("pump-1/pressure", *first, 0.0), _anomaly("pump-1/flow", *second, gap_s))
        found.append(_incident(f"probe-pair-{number}", pair))
    for kind in KINDS:
        found.append(_incident(f"probe-alone-{kind}", (_anomaly("pump-1/pressure", kind, "returned", 0.0),)))
        members = tuple(_anomaly(f"pump-{n}/pressure", kind, "ongoing", n / 10, magnitude=9.0 + n) for n in range(3))
        found.append(_incident(f"probe-group-{kind}", members))
    for number in range(LONG):
        part = every[number * MAX_SUBJECTS : (number + 1) * MAX_SUBJECTS]
        subjects = (
            _anomaly(f"pump-1/{name}", *each, 30.0 * place) for place, (name, each) in enumerate(zip(_STREAMS, part, strict=True))
        )
        found.append(_incident(f"probe-long-{number}", tuple(subjects)))
    return tuple(found)


def _anomaly(stream: str, kind: Kind, ending: Ending, after_s: float, magnitude: float = 9.0) -> Anomaly:
    observed, baseline = _VALUES[kind]
    onset_s = _BEGAN_S + after_s
    return Anomaly(
        stream=stream,
        kind=kind,
        direction=_DIRECTIONS.get(kind, "none"),
        onset_s=onset_s,
        peak_s=onset_s,
        end_s=None if ending == "ongoing" else onset_s + 90.0,
        score=0.9,
        observed=observed,
        baseline=baseline,
        unit="s" if kind == "silence" else "bar",
        magnitude=magnitude,
        ending=ending,
    )


def _incident(identity: str, anomalies: tuple[Anomaly, ...]) -> Incident:
    return Incident(
        id=identity,
        asset="pump-1",
        state="open",
        revision=1,
        opened_s=_BEGAN_S,
        updated_s=_BEGAN_S + 120.0,
        anomalies=anomalies,
        anomaly_count=len(anomalies),
        stream_count=len({anomaly.stream for anomaly in anomalies}),
        severity=0.9,
    )
