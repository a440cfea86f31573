"""One open incident: its name, the time it spans, what it lists and when it tells a change."""

from __future__ import annotations

import re

import pytest

from edge_agent.incidents.group import OpenIncident, Span, incident_name
from tests.unit.incidents.anomalies import START_S, anomaly


@pytest.mark.parametrize(
    ("asset", "opened_s", "start"),
    [
        ("Hall 2/Pump_7", START_S, "hall-2-pump-7-20231114t221320z-"),
        ("ÄÖ/+#", 0.0, "asset-19700101t000000z-"),
        ("x" * 500, -5.0, "x" * 32 + "-19700101t000000z-"),
        ("a", 1e18, "a-99991231t235959z-"),
    ],
)
def test_an_id_names_asset_and_time_and_is_fit_for_a_topic(asset: str, opened_s: float, start: str) -> None:
    name = incident_name("salt", asset, opened_s, 0)
    assert name.startswith(start)
    assert re.fullmatch(r"[a-z0-9-]+-[0-9a-f]{6}", name)
    assert len({name, incident_name("salt", asset, opened_s, 1), incident_name("other", asset, opened_s, 0)}) == 3


def test_a_span_reaches_as_far_as_its_anomalies_and_without_end_while_one_holds_it() -> None:
    span = Span(START_S)
    span.extend(anomaly(onset=0, end=10))
    assert span.is_near(anomaly(onset=20), 10)
    assert not span.is_near(anomaly(onset=20.5), 10)
    assert span.is_near(anomaly(onset=-30, end=-10), 10)
    assert not span.is_near(anomaly(onset=-30, end=-10.5), 10)
    assert span.is_near(anomaly(onset=-30), 10)
    span.holding = 1
    assert span.is_near(anomaly(onset=9_000), 10)


def opened() -> OpenIncident:
    group = OpenIncident("id", "pump-1", START_S, storm=False)
    group.spans["pump-1"] = Span(START_S)
    return group


def test_of_equally_severe_anomalies_the_earlier_are_listed() -> None:
    group = opened()
    for onset in (3, 1, 2, 0):
        group.count(anomaly(f"pump-1/s{onset}", onset=onset), 2)
    listed = group.publish(START_S, 0.0, closed=False).anomalies
    assert [a.onset_s - START_S for a in listed] == [0, 1]


def test_an_anomaly_is_not_ended_before_its_peak() -> None:
    group = opened()
    group.count(anomaly(peak=8), 4)
    group.end("pump-1/flow", START_S, START_S + 5)
    assert group.publish(START_S, 0.0, closed=False).anomalies[0].end_s == START_S + 8


def test_a_busy_incident_waits_longer_the_older_it_is_but_never_longer_than_five_minutes() -> None:
    group = opened()
    for n in range(5):
        group.count(anomaly(f"pump-1/s{n}", onset=n), 4)
    assert group.is_due(0.0, 4)
    group.publish(START_S, 0.0, closed=False)
    for told_at_s, waits_s in ((0.0, 5.0), (1_000.0, 52.0), (50_000.0, 300.0)):
        group.publish(START_S, told_at_s, closed=False)
        group.count(anomaly("pump-1/more", onset=told_at_s + 10), 4)
        assert not group.is_due(told_at_s + waits_s - 1, 4)
        assert group.is_due(told_at_s + waits_s + 1, 4)


def test_nothing_is_told_when_nothing_changed() -> None:
    group = opened()
    group.count(anomaly(), 4)
    group.publish(START_S, 0.0, closed=False)
    assert not group.is_due(1e9, 4)
