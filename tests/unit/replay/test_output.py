"""Scores, events and incidents as lines: one column or one a stream, and documents that are read back."""

from __future__ import annotations

import json
from pathlib import Path

from edge_agent.messages import parse_incident
from edge_agent.replay.output import event_lines, incident_lines, write_scores
from edge_agent.replay.run import Replayed
from tests.writing import anomaly, incident

REPLAYED = Replayed(
    streams=("a", "b"),
    stamps=["first", "second"],
    times_s=[1_790_000_000.0, 1_790_000_060.0],
    scores=[(0.0, 1 / 3), (1.0, 0.5)],
    anomalies=[anomaly("a", end_s=1_790_000_060.0)],
    incidents=[incident(anomaly("pump/a"), asset="pump")],
)


def test_scores_stand_beside_the_time_as_written(tmp_path: Path) -> None:
    write_scores(tmp_path / "s.csv", REPLAYED)
    assert (tmp_path / "s.csv").read_bytes() == b"timestamp,a,b\nfirst,0.000000,0.333333\nsecond,1.000000,0.500000\n"


def test_one_stream_has_one_column_of_the_same_name_for_all_files(tmp_path: Path) -> None:
    single = Replayed(("a",), ["first"], [0.0], [(0.25,)], [], [])
    write_scores(tmp_path / "s.csv", single)
    assert (tmp_path / "s.csv").read_bytes() == b"timestamp,anomaly_score\nfirst,0.250000\n"


def test_events_have_the_times_of_the_input_and_incidents_those_of_a_calendar() -> None:
    (event,) = event_lines(REPLAYED)
    assert [json.loads(event)[key] for key in ("onset", "end")] == ["first", "second"]
    (line,) = incident_lines(REPLAYED)
    assert parse_incident(line, "line").anomalies[0].onset_s == REPLAYED.times_s[0]
    assert (event[-1:], line[-1:]) == (b"\n", b"\n")
