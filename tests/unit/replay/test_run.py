"""Detection and grouping over rows: each revision handed on as it comes, and times that rows have."""

from __future__ import annotations

import json
import math

from edge_agent.config.settings import Settings
from edge_agent.messages.times import parse_time
from edge_agent.replay.output import event_lines, incident_lines
from edge_agent.replay.run import replay
from edge_agent.replay.table import Row
from edge_agent.values import Incident
from tests.series import white

FAULT = 150


def rows_of(*series: list[float | None], step_s: float = 60.0) -> list[Row]:
    """One row a minute, its time written as seconds since 1970."""
    return [Row(f"{step_s * i:g}", step_s * i, values) for i, values in enumerate(zip(*series, strict=True))]


def spiky(count: int = 200) -> list[float | None]:
    series = white(1, count, level=20.0).tolist()
    series[FAULT] += 25.0
    return list(series)


def silent(count: int = 200) -> list[float | None]:
    """A stream that ends for good, with a usual interval that is no whole number of rows."""
    return [value if i < FAULT and i % 3 else None for i, value in enumerate(white(2, count).tolist())]


def test_rows_may_be_replayed_without_a_file() -> None:
    replayed = replay(rows_of(spiky()), ["value"], "pump", Settings(), None)
    assert [replayed.stamp(anomaly.onset_s) for anomaly in replayed.anomalies] == [f"{60 * FAULT}"]
    assert replayed.stamp(1e12) == f"{60 * 199}"


def test_each_revision_is_handed_on_in_order_and_the_last_is_what_stands_at_the_end() -> None:
    told: list[tuple[Incident, float]] = []
    replayed = replay(rows_of(spiky()), ["value"], "pump", Settings(), None, lambda i, now_s: told.append((i, now_s)))
    (incident,) = replayed.incidents
    assert [revision.revision for revision, _ in told] == list(range(1, incident.revision + 1))
    assert told[-1][0] == incident
    assert all(now_s in replayed.times_s for _, now_s in told)
    assert [now_s for _, now_s in told] == sorted(now_s for _, now_s in told)


def test_a_revision_does_not_change_when_later_rows_do() -> None:
    whole: list[Incident] = []
    cut: list[Incident] = []
    rows = rows_of(spiky(), silent())
    replay(rows, ["a", "b"], "pump", Settings(), None, lambda incident, now_s: whole.append(incident))
    replay(rows[:-20], ["a", "b"], "pump", Settings(), None, lambda incident, now_s: cut.append(incident))
    assert cut
    assert whole[: len(cut)] == cut


def test_a_silence_begins_at_the_same_time_in_events_and_in_incidents() -> None:
    rows = rows_of(spiky(), silent())
    replayed = replay(rows, ["a", "b"], "pump", Settings(), None)
    events = {(event["stream"], event["kind"]): event for event in map(json.loads, event_lines(replayed))}
    silence = events["b", "silence"]
    anomalies = [a for incident in map(json.loads, incident_lines(replayed)) for a in incident["anomalies"]]
    assert {("pump/b", "silence"), ("pump/a", "spike")} <= {(a["stream"], a["kind"]) for a in anomalies}
    for anomaly in anomalies:
        event = events[anomaly["stream"].removeprefix("pump/"), anomaly["kind"]]
        for key in ("onset", "peak", "end"):
            in_event = None if event[key] is None else float(event[key])
            in_incident = None if anomaly[key] is None else parse_time(anomaly[key])
            assert in_event == in_incident, (anomaly["stream"], key)
    (due,) = [a.onset_s for a in replayed.anomalies if a.kind == "silence"]
    assert due not in replayed.times_s, "the reading was due between two rows, or this test shows nothing"
    assert float(silence["onset"]) == 60.0 * math.ceil(due / 60.0)
