"""The sets that releases are certified on: the same for a seed, apart for each purpose, and varied enough to be worth it."""

from __future__ import annotations

from collections import Counter

import pytest
from edge_ota.calibrate.incidents import Drawn, digest, draw

from edge_agent.pipeline import plan_of
from edge_agent.values import KINDS

COUNT = 240


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    return draw("calibration", 7, COUNT)


def test_a_seed_gives_the_same_set_and_a_longer_one_begins_with_it(drawn: list[Drawn]) -> None:
    again = draw("calibration", 7, 25)
    assert again == drawn[:25]
    assert digest(again) == digest(drawn[:25]) != digest(drawn[:24])
    assert draw("calibration", 7, 0) == []


def test_sets_of_other_splits_and_seeds_have_nothing_in_common(drawn: list[Drawn]) -> None:
    here = {(d.incident.opened_s, a.onset_s, a.stream) for d in drawn for a in d.incident.anomalies}
    for other in (draw("test", 7, 40), draw("development", 7, 40), draw("calibration", 8, 40)):
        assert here.isdisjoint({(d.incident.opened_s, a.onset_s, a.stream) for d in other for a in d.incident.anomalies})


def test_all_that_a_plan_can_hold_is_met(drawn: list[Drawn]) -> None:
    chunks = [chunk for d in drawn for chunk in plan_of(d.incident, d.evidence, d.zone).chunks]
    subjects = [subject for chunk in chunks for subject in chunk.subjects]
    assert {subject.kind for subject in subjects} == set(KINDS)
    assert {subject.ending for subject in subjects} == {"ongoing", "returned", "adopted", "unknown"}
    assert {chunk.relation for chunk in chunks} == {"alone", "together", "then"}
    assert any(subject.grouped for subject in subjects)
    sizes = Counter(len(plan_of(d.incident, None, d.zone).chunks) for d in drawn)
    assert sizes[1] < 0.8 * COUNT
    assert max(sizes) >= 4
    assert {d.zone_name for d in drawn} >= {"UTC", "Europe/Berlin"}
    assert any(d.evidence is not None for d in drawn)
    assert any(d.incident.storm for d in drawn)
    assert any(a.observed is None for d in drawn for a in d.incident.anomalies)


def test_a_part_is_what_the_device_detects(drawn: list[Drawn]) -> None:
    detected = [d for d in drawn if d.incident.asset.startswith("unit-")]
    assert 0.3 * COUNT < len(detected) < 0.5 * COUNT
    kinds = {a.kind for d in detected for a in d.incident.anomalies}
    assert {"spike", "dip", "shift", "stuck", "noise", "silence"} <= kinds
    assert {d.incident.state for d in detected} == {"open", "closed"}


def test_an_incident_is_as_the_device_keeps_them(drawn: list[Drawn]) -> None:
    for one in drawn:
        keys = [a.key for a in one.incident.anomalies]
        assert len(set(keys)) == len(keys)
        assert [a.onset_s for a in one.incident.anomalies] == sorted(a.onset_s for a in one.incident.anomalies)
        assert one.incident.anomaly_count >= len(keys)
