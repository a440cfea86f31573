"""What the audit log says of a decision and of a fate: all of it, deterministic, canonical, without the time of writing."""

from __future__ import annotations

import hashlib
import json

import pytest
from msgspec.structs import replace

import edge_agent
from edge_agent.errors import InputError
from edge_agent.messages import encode, incident_document
from edge_agent.messages.decisions import (
    DECISION_SCHEMA,
    FATE_SCHEMA,
    DecisionEntry,
    EvidenceEntry,
    FateEntry,
    decision_entry,
    differences,
    escalation_entry,
    read_entry,
    text_digest,
)
from edge_agent.values import Summary
from tests.unit.messages.values import ESCALATION, INCIDENT, SUMMARY


def test_an_entry_names_the_input_the_release_the_evidence_and_what_was_decided() -> None:
    entry = json.loads(decision_entry(INCIDENT, SUMMARY))
    assert entry == {
        "schema": DECISION_SCHEMA,
        "incident": INCIDENT.id,
        "revision": 2,
        "input": hashlib.sha256(encode(incident_document(INCIDENT))).hexdigest(),
        "agent": edge_agent.__version__,
        "release": "factory-1",
        "evidence": {"incident": "pump-3-old", "similarity": 0.93},
        "route": "writer",
        "verdict": "local",
        "reasons": [],
        "confidence": 0.9,
        "text": hashlib.sha256(SUMMARY.text.encode()).hexdigest(),
        "skeleton": hashlib.sha256(SUMMARY.skeleton.encode()).hexdigest(),
        "revised": False,
        "model": "",
    }


def test_bytes_are_canonical_json_with_sorted_keys_and_no_spaces() -> None:
    for body in (decision_entry(INCIDENT, SUMMARY), escalation_entry(ESCALATION)):
        assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()


def test_when_it_was_written_makes_no_difference() -> None:
    assert decision_entry(INCIDENT, replace(SUMMARY, written_s=0.0)) == decision_entry(INCIDENT, SUMMARY)
    later = replace(ESCALATION, queued_s=0.0, changed_s=9e9)
    assert escalation_entry(later) == escalation_entry(ESCALATION)


@pytest.mark.parametrize(
    "other",
    [
        replace(SUMMARY, text="pump-3/vibration rose to 7.26 mm/s."),
        replace(SUMMARY, skeleton="<stream:1> <moved:1> from <base:1>."),
        replace(SUMMARY, release="factory-2"),
        replace(SUMMARY, evidence=None),
        replace(SUMMARY, route="mixed"),
        replace(SUMMARY, verdict="escalate"),
        replace(SUMMARY, reasons=("storm",)),
        replace(SUMMARY, confidence=0.8),
        replace(SUMMARY, revised=True),
        replace(SUMMARY, model="openai:m"),
    ],
)
def test_whatever_else_differs_gives_another_entry(other: Summary) -> None:
    assert decision_entry(INCIDENT, other) != decision_entry(INCIDENT, SUMMARY)


def test_another_input_gives_another_entry() -> None:
    assert decision_entry(replace(INCIDENT, severity=0.81), SUMMARY) != decision_entry(INCIDENT, SUMMARY)


def test_an_entry_holds_digests_of_what_was_said_and_not_the_words() -> None:
    body = decision_entry(INCIDENT, SUMMARY)
    for words in (b"rose", b"7.25", b"bearing", b"<stream", b"mm/s"):
        assert words not in body


def test_a_fate_names_the_question_its_outcome_and_how_often_it_was_asked() -> None:
    assert json.loads(escalation_entry(ESCALATION)) == {
        "schema": FATE_SCHEMA,
        "incident": INCIDENT.id,
        "revision": 2,
        "id": ESCALATION.id,
        "state": "refused",
        "outcome": "role-wrong",
        "reasons": ["low-confidence"],
        "attempts": 1,
    }


def test_entries_are_read_back_as_what_they_are() -> None:
    decision = read_entry(decision_entry(INCIDENT, SUMMARY))
    assert isinstance(decision, DecisionEntry)
    assert decision.evidence == EvidenceEntry(incident="pump-3-old", similarity=0.93)
    assert decision.text == text_digest(SUMMARY.text)
    fate = read_entry(escalation_entry(ESCALATION))
    assert isinstance(fate, FateEntry)
    assert fate.outcome == "role-wrong"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"schema":"edge-agent-decision/2"}',
        escalation_entry(ESCALATION).replace(b'"attempts":1', b'"attempts":1,"cost":1'),
        decision_entry(INCIDENT, SUMMARY).replace(b'"writer"', b'"oracle"'),
        b'{"schema":"edge-agent-escalation/1"}',
    ],
)
def test_what_is_no_entry_is_refused(body: bytes) -> None:
    with pytest.raises(InputError, match="bad-entry"):
        read_entry(body)


def test_half_of_a_surrogate_pair_in_a_name_has_a_digest_too() -> None:
    text = "pump\ud800 rose."
    assert text_digest(text) == hashlib.sha256(b"pump\xed\xa0\x80 rose.").hexdigest()
    entry = read_entry(decision_entry(replace(INCIDENT, asset="pump\ud800"), replace(SUMMARY, text=text)))
    assert isinstance(entry, DecisionEntry)
    assert entry.text == text_digest(text)


def test_differences_say_first_what_they_mean_and_then_what_they_are() -> None:
    one, other = read_entry(decision_entry(INCIDENT, SUMMARY)), read_entry(decision_entry(INCIDENT, SUMMARY))
    assert differences(one, other) == ()
    text = read_entry(decision_entry(INCIDENT, replace(SUMMARY, text="another")))
    meaning, part = differences(one, text)
    assert meaning.startswith("the same words with facts printed otherwise")
    assert part.startswith(f'text: recorded "{text_digest(SUMMARY.text)}", now ')
    release = read_entry(decision_entry(INCIDENT, replace(SUMMARY, text="another", release="factory-2")))
    assert differences(one, release)[0] == "another release spoke"
    fate = read_entry(escalation_entry(ESCALATION))
    assert differences(one, fate)[0] == "another kind of entry"
    late = read_entry(escalation_entry(replace(ESCALATION, attempts=2)))
    assert differences(fate, late) == ("another decision", "attempts: recorded 1, now 2")
