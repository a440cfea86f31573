"""Telemetry holds counts under our own words and nothing else: whatever the agent's figures are called, and whoever made them."""

from __future__ import annotations

import json
from typing import Any, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.errors import EgressError
from edge_agent.journal import DropReason
from edge_agent.messages import Health, Topics
from edge_agent.messages.telemetry import (
    DROPS,
    MAX_BYTES,
    OTHER,
    REASONS,
    QuantilesMs,
    Telemetry,
    telemetry_body,
    telemetry_message,
    telemetry_of,
)
from tests.unit.messages.values import AT_S

HEALTH = Health(
    version="0.2.0",
    release="factory-1",
    boot_id="canary-boot",
    started_s=AT_S,
    time_s=AT_S + 7_200,
    streams=12,
    open_incidents=1,
    drops={"bad-json": 3, "outbox-full": 2},
    counts={
        "readings": 12_345,
        "anomaly_messages": 9,
        "incidents_opened": 2,
        "summaries_by_writer": 4,
        "summaries_by_template": 1,
        "summaries_because_low-confidence": 1,
        "escalations_queued": 3,
        "escalations_sent": 2,
        "escalations_refused_role-wrong": 1,
        "escalations_refused_too-long": 1,
        "escalations_dropped_superseded": 1,
        "escalations_later_status-503": 7,
        "errors_in_explain": 1,
    },
    problems=("release: canary problem",),
)
LATENCY_S = {"arrival_to_anomaly": (0.0123, 0.0456, 1.2345), "incident_to_summary": (0.0004, 12.7, 99_999.0)}


def made(health: Health = HEALTH, **figures: Any) -> Telemetry:
    return telemetry_of(health, **{"uptime_s": 7_000.0, "kinds": {"spike": 2, "silence": 1}, "latency_s": LATENCY_S, **figures})


def test_counts_are_under_their_words_and_nothing_else_is_there() -> None:
    assert json.loads(telemetry_body(made())) == {
        "schema": "edge-agent-telemetry/1",
        "agent": "0.2.0",
        "release": "factory-1",
        "uptime_hours": 2,
        "readings": 12_345,
        "anomalies": {"spike": 2, "silence": 1},
        "incidents": 2,
        "summaries": {"writer": 4, "template": 1},
        "reasons": {"low-confidence": 1},
        "escalations": {"queued": 3, "sent": 2, "refused": 2, "dropped": 1},
        "drops": {"bad-json": 3, "outbox-full": 2},
        "latency_ms": {
            "arrival_to_anomaly": {"p50": 12, "p95": 46, "p99": 1_200},
            "incident_to_summary": {"p50": 0, "p95": 13_000, "p99": 100_000_000},
        },
    }


def test_bytes_are_canonical() -> None:
    body = telemetry_body(made())
    assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()


def test_words_that_are_in_no_list_are_counted_as_other() -> None:
    health = replace(
        HEALTH,
        version="0.2.0+customer-acme",
        release="acme-plant-7",
        drops={"pump-3": 2, "bad-json": 1, "boiler": 3},
        counts={"summaries_by_oracle": 2, "summaries_because_acme": 5, "escalations_acme": 4, "acme": 9},
    )
    document = json.loads(telemetry_body(made(health, kinds={"explosion": 3}, latency_s={"acme": (1.0, 2.0, 3.0)})))
    assert (document["agent"], document["release"]) == (OTHER, OTHER)
    assert document["drops"] == {"bad-json": 1, OTHER: 5}
    assert document["summaries"] == {OTHER: 2}
    assert document["reasons"] == {OTHER: 5}
    assert document["anomalies"] == {OTHER: 3}
    assert document["escalations"] == {}
    assert document["latency_ms"] == {}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=20), st.integers(-5, 1 << 60), max_size=6),
    st.text(max_size=20),
    st.text(max_size=20),
    st.floats(),
)
def test_no_label_no_version_and_no_release_of_any_kind_leaves_as_it_is(
    labels: dict[str, int], version: str, release: str, seconds: float
) -> None:
    canary = "CANARY"
    counts = {
        f"{prefix}{label}{canary}": n for prefix in ("summaries_by_", "summaries_because_", "") for label, n in labels.items()
    }
    health = replace(
        HEALTH,
        version=version + canary,
        release=release + canary,
        drops={k + canary: n for k, n in labels.items()},
        counts=counts,
    )
    body = telemetry_body(made(health, kinds=counts, latency_s={"arrival_to_anomaly": (seconds, seconds, seconds)}))
    assert canary.encode() not in body
    assert len(body) < MAX_BYTES


@pytest.mark.parametrize(
    "bad",
    [
        replace(made(), agent="acme"),
        replace(made(), release="plant-7"),
        replace(made(), readings=-1),
        replace(made(), readings=1 << 60),
        replace(made(), readings=cast("int", 1.5)),
        replace(made(), uptime_hours=cast("int", "2")),
        replace(made(), anomalies={"pump-3": 1}),
        replace(made(), summaries={"writer": cast("int", "pump-3")}),
        replace(made(), reasons={"pump-3": 1}),
        replace(made(), escalations={"pump-3": 1}),
        replace(made(), drops={"pump-3": 1}),
        replace(made(), latency_ms={"pump-3": QuantilesMs(p50=1, p95=1, p99=1)}),
        replace(made(), schema=cast("Any", "edge-agent-telemetry/2")),
        cast("Telemetry", {"schema": "edge-agent-telemetry/1", "pump": 3}),
    ],
)
def test_what_does_not_fit_the_schema_does_not_leave_and_is_not_repeated(bad: Telemetry) -> None:
    with pytest.raises(EgressError, match="it did not leave") as refused:
        telemetry_body(bad)
    assert not any(word in str(refused.value) for word in ("pump-3", "plant-7", "acme"))


def test_every_reason_of_the_journal_for_a_drop_is_a_word_of_the_list() -> None:
    assert set(get_args(DropReason)) <= set(DROPS)


def test_the_lists_have_each_word_once_and_are_our_own_form() -> None:
    for words in (DROPS, REASONS):
        assert len(set(words)) == len(words)
        assert all(word.replace("-", "").isalpha() and word == word.lower() for word in words)


def test_the_body_travels_on_the_gateways_topic_and_gives_way_to_everything_else() -> None:
    message = telemetry_message(Topics("edge", "gw-1"), b"{}")
    assert (message.topic, message.payload, message.retain, message.priority) == ("edge/gw-1/telemetry", b"{}", False, 0)
