"""What is published where, with which QoS and retain, and what may replace what while it waits."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from edge_agent.messages.outgoing import (
    Status,
    anomaly_message,
    drops_message,
    escalation_message,
    health_message,
    incident_messages,
    info_message,
    outcome_message,
    response_message,
    status_message,
    summary_messages,
    update_message,
)
from edge_agent.messages.topics import Topics
from edge_agent.messages.updates import UpdateOutcome, UpdateState
from edge_agent.values import Drop
from tests.unit.messages.values import ANOMALY, AT_S, ESCALATION, HEALTH, INCIDENT, SUMMARY

TOPICS = Topics("edge", "gw-1")


@pytest.mark.parametrize("status", ["online", "stopped", "offline"])
def test_a_status_is_one_retained_word(status: Status) -> None:
    message = status_message(TOPICS, status)
    assert (message.topic, message.payload, message.qos, message.retain) == ("edge/gw-1/status", status.encode(), 1, True)


def test_what_tells_only_the_newest_state_is_retained_and_may_be_superseded() -> None:
    for message, topic in (
        (health_message(TOPICS, HEALTH), "health"),
        (info_message(TOPICS, {"gateway": {"id": "gw-1"}}, {"type": "object"}), "info"),
        (update_message(TOPICS, UpdateState(gateway="gateway-1", release="factory-1")), "update"),
    ):
        assert (message.topic, message.qos, message.retain, message.supersedes) == (f"edge/gw-1/{topic}", 1, True, True)
        assert isinstance(json.loads(message.payload), dict)


def test_an_anomaly_is_published_on_its_stream_and_never_superseded() -> None:
    message = anomaly_message(TOPICS, replace(ANOMALY, stream="a+b/c"))
    assert (message.topic, message.qos, message.retain, message.supersedes) == ("edge/gw-1/anomaly/a%2Bb/c", 1, False, False)


def test_an_open_incident_is_retained_and_a_closed_one_is_published_and_cleared() -> None:
    (opened,) = incident_messages(TOPICS, INCIDENT)
    assert (opened.retain, opened.supersedes) == (True, True)
    closed, cleared = incident_messages(TOPICS, replace(INCIDENT, state="closed", closed_s=AT_S + 99))
    assert opened.topic == closed.topic == cleared.topic == f"edge/gw-1/incident/{INCIDENT.id}"
    assert (json.loads(closed.payload)["state"], closed.retain, closed.supersedes) == ("closed", False, False)
    assert (cleared.payload, cleared.retain, cleared.supersedes) == (b"", True, False)


def test_a_summary_is_the_latest_and_its_incidents_own() -> None:
    latest, own = summary_messages(TOPICS, SUMMARY)
    assert (latest.topic, latest.retain) == ("edge/gw-1/summary", True)
    assert (own.topic, own.retain) == (f"edge/gw-1/summary/{INCIDENT.id}", False)
    assert latest.payload == own.payload


def test_a_late_answer_does_not_pass_for_the_latest_summary() -> None:
    (own,) = summary_messages(TOPICS, SUMMARY, is_latest=False)
    assert (own.topic, own.retain) == (f"edge/gw-1/summary/{INCIDENT.id}", False)


def test_how_an_update_ended_is_told_once_and_kept_longer_than_most() -> None:
    outcome = UpdateOutcome(release="r", counter=1, manifest_sha256="00", outcome="committed", reason="", at_s=AT_S)
    message = outcome_message(TOPICS, outcome)
    assert (message.topic, message.retain, message.supersedes) == ("edge/gw-1/update/outcome", False, False)
    assert message.priority > incident_messages(TOPICS, INCIDENT)[0].priority
    assert json.loads(message.payload)["gateway"] == "gw-1"


def test_an_escalation_is_told_on_its_incidents_topic() -> None:
    message = escalation_message(TOPICS, ESCALATION)
    assert (message.topic, message.retain, message.qos) == (f"edge/gw-1/escalation/{INCIDENT.id}", False, 1)
    assert json.loads(message.payload)["state"] == "refused"


def test_what_a_person_must_see_outlives_what_is_routine() -> None:
    assert incident_messages(TOPICS, INCIDENT)[0].priority > anomaly_message(TOPICS, ANOMALY).priority
    assert anomaly_message(TOPICS, ANOMALY).priority > health_message(TOPICS, HEALTH).priority
    assert drops_message(TOPICS, []).priority > incident_messages(TOPICS, INCIDENT)[0].priority


def test_the_report_of_drops_is_retained_and_only_the_newest_counts() -> None:
    message = drops_message(TOPICS, [Drop(reason="outbox-full", count=2, bytes=300, first_s=0.0, last_s=AT_S)])
    assert (message.topic, message.retain, message.supersedes) == ("edge/gw-1/drops", True, True)
    assert json.loads(message.payload)["drops"][0]["count"] == 2


def test_a_response_says_how_it_went_and_copies_what_identifies_the_request() -> None:
    good = response_message("answers/1", {"open": 2}, "t-1", correlation=b"c")
    assert (good.topic, good.response_correlation, good.retain) == ("answers/1", b"c", False)
    assert json.loads(good.payload) == {"status": "ok", "data": {"open": 2}, "transaction": "t-1"}
    bad = response_message("answers/1", None, error="no such incident")
    assert json.loads(bad.payload) == {"status": "error", "error": "no such incident", "data": None, "transaction": None}
