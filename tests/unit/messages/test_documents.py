"""The JSON documents: their keys, their order, and what stands for the unknown."""

from __future__ import annotations

import json

from msgspec.structs import replace

from edge_agent.messages.documents import (
    anomaly_document,
    drops_document,
    encode,
    escalation_document,
    event_document,
    explanation_document,
    health_document,
    incident_document,
    summary_document,
)
from edge_agent.values import Drop
from tests.unit.messages.values import ANOMALY, ESCALATION, HEALTH, INCIDENT, SUMMARY


def test_an_event_has_the_documented_keys_and_the_times_of_the_input() -> None:
    event = event_document(ANOMALY, lambda time_s: f"row {time_s:.0f}")
    assert list(event) == ["stream", "kind", "direction", "onset", "peak", "end", "score", "observed", "baseline", "unit"]
    assert (event["onset"], event["end"]) == ("row 1795341600", "row 1795341660")
    assert event_document(replace(ANOMALY, end_s=None))["end"] is None


def test_an_anomaly_is_its_event_and_what_the_models_know() -> None:
    document = anomaly_document(ANOMALY)
    assert dict(list(document.items())[:10]) == event_document(ANOMALY)
    assert (document["peak"], document["ending"], document["magnitude"]) == ("2026-11-22T10:00:02.5Z", "adopted", 9.5)
    assert document["signature"] == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert anomaly_document(replace(ANOMALY, end_s=None))["ending"] == "ongoing"


def test_an_incident_carries_all_its_fields() -> None:
    document = incident_document(INCIDENT)
    assert set(document) == {name.removesuffix("_s") for name in INCIDENT.__struct_fields__}
    assert (document["closed"], document["updated"]) == (None, "2026-11-22T10:01:01Z")
    assert document["anomalies"] == [anomaly_document(ANOMALY)]


def test_a_summary_is_its_explanation_and_where_it_belongs() -> None:
    document = summary_document(SUMMARY)
    assert list(document) == [
        *("incident", "revision", "asset", "state"),
        *("text", "skeleton", "facts", "confidence", "outcome", "route", "reasons", "release"),
        *("evidence", "revised", "model", "written"),
    ]
    assert document["facts"] == [{"token": "<peak:1>", "role": "peak", "text": "7.25 mm/s"}]
    assert (document["outcome"], document["route"]) == ("local", "writer")
    evidence = document["evidence"]
    assert isinstance(evidence, dict)
    assert (evidence["cause"], evidence["similarity"]) == ("bearing wear", 0.93)
    assert summary_document(replace(SUMMARY, evidence=None))["evidence"] is None


def test_an_escalation_says_how_it_stands_and_why() -> None:
    assert escalation_document(ESCALATION) == {
        "incident": INCIDENT.id,
        "revision": 2,
        "id": "q-0123456789abcdef01234567",
        "state": "refused",
        "outcome": "role-wrong",
        "reasons": ["low-confidence"],
        "severity": 0.8,
        "attempts": 1,
        "queued": "2026-11-22T10:01:02Z",
        "changed": "2026-11-22T10:01:05Z",
    }


def test_drops_are_listed_by_reason_with_their_times() -> None:
    dropped = Drop(reason="too-old", count=3, bytes=40, first_s=0.0, last_s=1795341600.0)
    assert drops_document([dropped]) == {
        "drops": [{"reason": "too-old", "count": 3, "bytes": 40, "first": "1970-01-01T00:00:00Z", "last": "2026-11-22T10:00:00Z"}]
    }
    assert drops_document([]) == {"drops": []}


def test_an_explanation_does_not_depend_on_when_it_was_written() -> None:
    assert explanation_document(SUMMARY) == explanation_document(replace(SUMMARY, written_s=0.0))


def test_health_is_degraded_by_any_problem_and_counts_are_in_order() -> None:
    document = health_document(HEALTH)
    assert (document["status"], document["problems"]) == ("ok", [])
    assert list(json.loads(encode(document))["queues"]) == ["arrivals", "outbox"]
    assert health_document(replace(HEALTH, problems=("the disk is full",)))["status"] == "degraded"


def test_the_heads_of_the_logs_are_told_where_there_are_any() -> None:
    document = health_document(replace(HEALTH, heads={"egress": "cd" * 32, "audit": "ab" * 32}))
    assert list(json.loads(encode(document))["heads"].items()) == [("audit", "ab" * 32), ("egress", "cd" * 32)]
    assert health_document(HEALTH)["heads"] == {}


def test_a_certificate_of_another_machine_is_told_and_is_no_problem() -> None:
    document = health_document(replace(HEALTH, certificate="measured elsewhere"))
    assert (document["certificate"], document["status"]) == ("measured elsewhere", "ok")
    assert health_document(HEALTH)["certificate"] == ""


def test_a_name_that_is_no_utf_8_is_still_published() -> None:
    payload = encode(anomaly_document(replace(ANOMALY, stream="half\ud800/x")))
    assert json.loads(payload)["stream"] == "half\ud800/x"
