"""The sentences of a replay and its log: one line and one entry a revision, chained, dated by the row."""

from __future__ import annotations

import json
from datetime import UTC

from msgspec.structs import replace

from edge_agent.chain import first_break
from edge_agent.engines.speaking import Speaker
from edge_agent.messages.decisions import decision_entry
from edge_agent.pipeline import TEMPLATE_ONLY, explain
from edge_agent.replay.recorder import Recorder
from tests.writing import ONSET_S, anomaly, incident

FIRST = incident(anomaly())
SECOND = replace(FIRST, revision=2, state="closed", closed_s=ONSET_S + 90.0)


def recorded() -> Recorder:
    recorder = Recorder(Speaker(TEMPLATE_ONLY, None), UTC)
    recorder.revised(FIRST, ONSET_S + 30.0)
    recorder.revised(SECOND, ONSET_S + 90.0)
    return recorder


def test_every_revision_has_a_summary_dated_by_its_row() -> None:
    lines = [json.loads(line) for line in recorded().summaries]
    assert [(line["revision"], line["state"]) for line in lines] == [(1, "open"), (2, "closed")]
    assert [line["written"] for line in lines] == ["2026-09-21T14:13:50Z", "2026-09-21T14:14:50Z"]
    assert all(line["text"].startswith("pump-3/vibration rose") for line in lines)


def test_every_revision_has_an_entry_and_they_are_a_chain_to_the_head() -> None:
    recorder = recorded()
    assert first_break(recorder.log) is None
    assert recorder.log[-1].hash == recorder.head
    summary = explain(SECOND, None, None, TEMPLATE_ONLY, 0.0, UTC)
    assert recorder.log[1].body == decision_entry(SECOND, summary)


def test_no_past_incident_is_referred_to() -> None:
    assert all(json.loads(entry.body)["evidence"] is None for entry in recorded().log)
