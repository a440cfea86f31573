"""Incidents and chunks for the tests of the writing path: builders, and hypothesis strategies over what plans can contain."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from edge_agent.values import KINDS, Anomaly, Chunk, ChunkSubject, Draft, Ending, Evidence, Incident, Kind, Relation

ONSET_S = 1_790_000_000.0
RELATIONS: tuple[Relation, ...] = ("alone", "together", "then")
ENDINGS: tuple[Ending, ...] = ("ongoing", "returned", "adopted", "unknown")
DIRECTED = ("spike", "dip", "shift", "drift")


def anomaly(stream: str = "pump-3/vibration", kind: Kind = "spike", **fields: Any) -> Anomaly:
    """An anomaly that is consistent unless `fields` say otherwise."""
    down = kind == "dip"
    values: dict[str, Any] = {
        "direction": ("down" if down else "up") if kind in DIRECTED else "none",
        "onset_s": ONSET_S,
        "peak_s": fields.get("onset_s", ONSET_S),
        "score": 0.9,
        "observed": 1.5 if down else 7.25,
        "baseline": 2.0,
        "unit": "mm/s",
        "magnitude": 12.0,
    }
    return Anomaly(stream=stream, kind=kind, **{**values, **fields})


def incident(*anomalies: Anomaly, **fields: Any) -> Incident:
    """An open incident of these anomalies."""
    values: dict[str, Any] = {
        "id": "pump-3-1",
        "asset": "pump-3",
        "state": "open",
        "revision": 1,
        "opened_s": ONSET_S,
        "updated_s": ONSET_S,
        "anomalies": anomalies,
        "anomaly_count": len(anomalies),
        "stream_count": len({a.stream for a in anomalies}),
        "severity": 0.9,
    }
    return Incident(**{**values, **fields})


def evidence(**fields: Any) -> Evidence:
    """A past incident that was closed as bearing wear."""
    values: dict[str, Any] = {
        "incident_id": "pump-3-0",
        "asset": "pump-3",
        "opened_s": ONSET_S - 86_400 * 30,
        "cause": "bearing wear",
        "similarity": 0.97,
    }
    return Evidence(**{**values, **fields})


def draft(skeleton: str, *, finished: bool = True) -> Draft:
    """A draft with this skeleton, each token certain."""
    return Draft(skeleton=skeleton, logprobs=(-0.01,) * len(skeleton.split()), finished=finished)


@st.composite
def subjects(draw: st.DrawFn, index: int, *, grouped: bool, timed: bool) -> ChunkSubject:
    """A subject with any roles that a plan can give it."""
    kind = draw(st.sampled_from(KINDS))
    ending = draw(st.sampled_from(ENDINGS))
    directed = kind in DIRECTED
    roles = ["streams" if grouped else "stream"]
    moved = directed and (grouped or draw(st.booleans()))
    if moved:
        roles.append("moved")
    if grouped and directed and draw(st.booleans()):
        roles += ["lead", "peak"]
    elif not grouped and kind != "silence" and draw(st.booleans()):
        roles.append("peak")
        if kind != "stuck" and draw(st.booleans()):
            roles.append("base")
    if timed:
        roles.append("at")
    if not grouped and ending == "returned" and draw(st.booleans()):
        roles.append("for")
    return ChunkSubject(index=index, kind=kind, ending=ending, grouped=grouped, roles=tuple(roles))


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    """Any chunk that a plan can contain."""
    relation = draw(st.sampled_from(RELATIONS))
    grouped = relation == "alone" and draw(st.booleans())
    first = draw(subjects(0, grouped=grouped, timed=True))
    if relation == "alone":
        return Chunk(relation=relation, subjects=(first,))
    second = draw(subjects(1, grouped=False, timed=relation == "then"))
    return Chunk(relation=relation, subjects=(first, second))


@st.composite
def incidents(draw: st.DrawFn) -> Incident:
    """Incidents of one to twelve anomalies, some of them contradictory."""
    count = draw(st.integers(1, 12))
    value = st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from((0.0, 1e-9, 1e12, 5.0)))
    found = []
    for number in range(count):
        onset_s = ONSET_S + draw(st.integers(0, 200))
        length_s = draw(st.one_of(st.none(), st.integers(0, 200_000)))
        found.append(
            anomaly(
                f"pump-{draw(st.integers(1, 3))}/{'abcdefgh'[draw(st.integers(0, 7))]}",
                draw(st.sampled_from(KINDS)),
                direction=draw(st.sampled_from(("up", "down", "none"))),
                onset_s=onset_s,
                peak_s=onset_s,
                end_s=None if length_s is None else onset_s + length_s,
                ending="ongoing" if length_s is None else draw(st.sampled_from(("returned", "adopted", "unknown"))),
                observed=draw(value),
                baseline=draw(value),
                unit=draw(st.sampled_from(("", "mm/s", "%", "°C"))),
                score=draw(st.floats(0.5, 1)),
                magnitude=float(number),
            )
        )
    return incident(*found, anomaly_count=count + draw(st.integers(0, 5)))
