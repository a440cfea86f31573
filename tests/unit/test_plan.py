"""What is said of an incident, in which order and grouping."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from edge_agent.facts import gather
from edge_agent.plan import MAX_NAMED_STREAMS, MAX_SUBJECTS, arrange
from edge_agent.values import Anomaly, Plan
from tests.writing import ONSET_S, anomaly, evidence, incident


def plan_of(*anomalies: Anomaly, **fields: Any) -> Plan:
    return arrange(gather(incident(*anomalies, **fields), None), UTC)


def texts(plan: Plan) -> dict[str, str]:
    return {slot.token: slot.text for slot in plan.slots}


def test_one_anomaly_is_one_chunk_with_its_slots() -> None:
    plan = plan_of(anomaly(end_s=ONSET_S + 12))
    assert [c.relation for c in plan.chunks] == ["alone"]
    assert plan.chunks[0].subjects[0].roles == ("stream", "moved", "peak", "base", "at", "for")
    assert texts(plan) == {
        "<stream:0>": "pump-3/vibration",
        "<moved:0>": "rose",
        "<peak:0>": "7.25 mm/s",
        "<base:0>": "2 mm/s",
        "<at:0>": "14:13:20 UTC on 21 September 2026",
        "<for:0>": "12 s",
    }
    assert not plan.tail
    assert not plan.evidence


def test_a_duration_is_only_told_of_what_returned() -> None:
    for ending in ("adopted", "unknown"):
        (subject,) = plan_of(anomaly(kind="shift", end_s=ONSET_S + 12, ending=ending)).chunks[0].subjects
        assert "for" not in subject.roles
        assert subject.ending == ending
    assert "for" not in plan_of(anomaly(end_s=ONSET_S)).chunks[0].subjects[0].roles
    assert "for" not in plan_of(anomaly(end_s=ONSET_S + 0.0005)).chunks[0].subjects[0].roles
    assert plan_of(anomaly()).chunks[0].subjects[0].ending == "ongoing"


def test_two_of_different_kinds_are_a_pair_and_say_how_they_relate() -> None:
    first, second = anomaly(), anomaly("pump-3/flow", "dip")
    assert [c.relation for c in plan_of(first, second).chunks] == ["together"]
    later = anomaly("pump-3/flow", "dip", onset_s=ONSET_S + 30)
    (chunk,) = plan_of(first, later).chunks
    assert chunk.relation == "then"
    assert "at" in chunk.subjects[1].roles


def test_at_the_same_time_needs_no_second_time() -> None:
    (chunk,) = plan_of(anomaly(), anomaly("pump-3/flow", "dip")).chunks
    assert "at" not in chunk.subjects[1].roles


def test_streams_that_did_the_same_at_the_same_time_are_one_subject() -> None:
    plan = plan_of(
        anomaly("p/a", magnitude=3.0), anomaly("p/b", magnitude=9.0, onset_s=ONSET_S + 2), anomaly("p/c", magnitude=5.0)
    )
    (chunk,) = plan.chunks
    assert chunk.subjects[0].roles == ("streams", "moved", "lead", "peak", "at")
    assert texts(plan)["<streams:0>"] == "p/a, p/b and p/c"
    assert texts(plan)["<lead:0>"] == "p/b"
    assert texts(plan)["<at:0>"].startswith("14:13:20")


def test_no_stream_is_called_furthest_from_normal_unless_it_is_known_to_be() -> None:
    for magnitudes in ((0.0, 0.0, 0.0), (50.0, 50.0, 1.0), (5.0, 0.0, 0.0)):
        plan = plan_of(*(anomaly(f"p/{n}", magnitude=m, observed=99.0 + n) for n, m in enumerate(magnitudes)))
        assert plan.chunks[0].subjects[0].roles == ("streams", "moved", "at")
    by_score = plan_of(anomaly("p/a", magnitude=50.0, score=0.8), anomaly("p/b", magnitude=50.0, score=0.9))
    assert texts(by_score)["<lead:0>"] == "p/b"
    below = plan_of(anomaly("p/a", "dip", magnitude=-3.0), anomaly("p/b", "dip", magnitude=-9.0))
    assert texts(below)["<lead:0>"] == "p/b"


def test_two_of_which_none_is_known_to_lead_are_a_pair_with_their_values() -> None:
    plan = plan_of(anomaly("p/a", magnitude=0.0), anomaly("p/b", magnitude=0.0, observed=99.0))
    assert [(c.relation, len(c.subjects)) for c in plan.chunks] == [("together", 2)]
    assert texts(plan)["<peak:1>"] == "99 mm/s"
    stuck = plan_of(anomaly("p/a", "stuck", magnitude=0.0), anomaly("p/b", "stuck", magnitude=0.0))
    assert [len(c.subjects) for c in stuck.chunks] == [1]


def test_a_spike_that_became_usual_is_not_said_to_have_stayed_at_its_peak() -> None:
    (spike,) = plan_of(anomaly(end_s=ONSET_S + 99, ending="adopted")).chunks[0].subjects
    (shift,) = plan_of(anomaly(kind="shift", end_s=ONSET_S + 99, ending="adopted")).chunks[0].subjects
    assert (spike.ending, shift.ending) == ("unknown", "adopted")


def test_what_is_contradictory_about_an_end_is_not_told() -> None:
    assert plan_of(anomaly(end_s=ONSET_S - 1)).chunks[0].subjects[0].ending == "unknown"
    assert plan_of(anomaly(end_s=ONSET_S + 1, ending="ongoing")).chunks[0].subjects[0].ending == "unknown"


def test_a_group_that_ended_in_different_ways_says_nothing_of_its_end() -> None:
    plan = plan_of(anomaly("p/a", magnitude=13.0), anomaly("p/b", end_s=ONSET_S + 5))
    assert plan.chunks[0].subjects[0].ending == "unknown"
    same = plan_of(anomaly("p/a", magnitude=13.0, end_s=ONSET_S + 9), anomaly("p/b", end_s=ONSET_S + 5))
    assert same.chunks[0].subjects[0].ending == "returned"
    assert "for" not in same.chunks[0].subjects[0].roles


def test_streams_far_apart_in_time_are_not_grouped() -> None:
    plan = plan_of(anomaly("p/a"), anomaly("p/b", onset_s=ONSET_S + 60))
    assert [len(c.subjects) for c in plan.chunks] == [2]


def test_a_group_names_at_most_five_streams_and_the_rest_are_told_apart() -> None:
    plan = plan_of(*(anomaly(f"p/{name}") for name in "abcdefg"))
    assert texts(plan)["<streams:0>"].count(",") == MAX_NAMED_STREAMS - 2
    assert len(plan.chunks) == 2
    assert not plan.tail


def test_many_anomalies_are_cut_to_the_most_severe_and_the_rest_counted() -> None:
    many = [anomaly(f"p/{n}", onset_s=ONSET_S + 100 * n, score=0.5 + n / 100, magnitude=n) for n in range(12)]
    plan = plan_of(*many, anomaly_count=40)
    told = [text for token, text in texts(plan).items() if token.startswith("<stream:")]
    assert told == [f"p/{n}" for n in range(12 - MAX_SUBJECTS, 12)]
    assert plan.tail
    assert texts(plan)["<rest:0>"] == "34 more anomalies"


def test_one_more_is_one_anomaly() -> None:
    assert texts(plan_of(anomaly(), anomaly_count=2))["<rest:0>"] == "1 more anomaly"


def test_an_incident_without_listed_anomalies_has_only_a_tail() -> None:
    plan = plan_of(anomaly_count=3)
    assert plan.chunks == ()
    assert plan.tail


def test_evidence_has_slots_of_its_own_and_the_cause_is_quoted() -> None:
    plan = arrange(gather(incident(anomaly()), evidence()), UTC)
    assert plan.evidence
    assert texts(plan)["<past:0>"] == "22 August 2026"
    assert texts(plan)["<cause:0>"] == '"bearing wear"'


def test_a_direction_that_is_not_known_is_no_slot() -> None:
    (subject,) = plan_of(anomaly(direction="none", observed=None)).chunks[0].subjects
    assert "moved" not in subject.roles


def test_the_value_of_a_peak_is_told_with_the_time_of_the_peak() -> None:
    plan = plan_of(anomaly(peak_s=ONSET_S + 60, end_s=ONSET_S + 72))
    assert texts(plan)["<at:0>"].startswith("14:14:20")
    assert texts(plan)["<for:0>"] == "12 s"


def test_what_has_no_peak_value_is_told_with_its_onset() -> None:
    plan = plan_of(anomaly(peak_s=ONSET_S + 60, observed=None, baseline=None))
    assert texts(plan)["<at:0>"].startswith("14:13:20")
    shift = plan_of(anomaly(kind="shift", peak_s=ONSET_S + 60))
    assert texts(shift)["<at:0>"].startswith("14:13:20")


def test_order_and_relation_are_those_of_the_times_told() -> None:
    late_peak = anomaly("p/a", peak_s=ONSET_S + 60)
    silence = anomaly("p/b", "silence", onset_s=ONSET_S + 30)
    (chunk,) = plan_of(late_peak, silence).chunks
    assert chunk.relation == "then"
    assert [s.kind for s in chunk.subjects] == ["silence", "spike"]
    (same,) = plan_of(late_peak, anomaly("p/b", "stuck", onset_s=ONSET_S + 60)).chunks
    assert same.relation == "together"


def test_peaks_far_apart_are_no_group_though_they_began_together() -> None:
    plan = plan_of(anomaly("p/a"), anomaly("p/b", peak_s=ONSET_S + 60))
    assert [len(c.subjects) for c in plan.chunks] == [2]
    assert plan.chunks[0].relation == "then"
