"""No text of a sensor or an operator leaves, whatever is allowed; no number and no time leaves unless it is allowed."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Collection
from datetime import timedelta, timezone, tzinfo
from typing import get_args
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import convert

from edge_agent.clock import SystemClock
from edge_agent.config.settings import Allowed, Settings
from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.egress.question import Question, document, question_of
from edge_agent.egress.units import REVIEWED_UNITS
from edge_agent.escalate.table import BACKENDS, Needs, open_backend
from edge_agent.messages import Health
from edge_agent.messages.telemetry import telemetry_body, telemetry_of
from edge_agent.pipeline import plan_of
from edge_agent.plan import MAX_SUBJECTS
from edge_agent.values import KINDS, Anomaly, Evidence, Incident, Message
from tests.canaries import PROMPTS, TELLTALES, WORDS, found
from tests.writing import ENDINGS

ALLOWED: tuple[Allowed, ...] = get_args(Allowed)
EVERY_CHOICE = [choice for count in range(len(ALLOWED) + 1) for choice in itertools.combinations(ALLOWED, count)]
NAMES = Pseudonyms(bytes(range(32)))

ONSET_S = 1_783_337_831.0
"""2026-07-06 11:37:11 UTC: no other number of these incidents has these digits."""
TIMES = ("11:37:11", "11:37", "6 July 2026", "2026", "July", "1783337831", "178333783")
OBSERVED, BASELINE, SEVERITY = 7_351_928.0, 4_826_617.0, 0.8713
NUMBERS = ("7351928", "4826617", "7.351", "4.826", "0.871", "8713")

hostile = st.builds(str.format, st.sampled_from(("{}", *PROMPTS)), st.sampled_from(WORDS), st.sampled_from(WORDS))
units = st.one_of(hostile, st.sampled_from(("°C", "mm/s", "", "%", "furlongs")))


@st.composite
def anomalies(draw: st.DrawFn) -> Anomaly:
    onset_s = ONSET_S + draw(st.integers(0, 2))
    ending = draw(st.sampled_from(ENDINGS))
    return Anomaly(
        stream=draw(hostile),
        kind=draw(st.sampled_from(KINDS)),
        direction=draw(st.sampled_from(("up", "down", "none"))),
        onset_s=onset_s,
        peak_s=onset_s,
        end_s=None if ending == "ongoing" else onset_s + 4_242,
        ending=ending,
        score=draw(st.floats(0.5, 1)),
        observed=draw(st.sampled_from((OBSERVED, BASELINE, None))),
        baseline=draw(st.sampled_from((BASELINE, OBSERVED, None))),
        unit=draw(units),
        magnitude=draw(st.floats(0, 99)),
        signature=draw(hostile).encode("utf-8", "replace"),
    )


@st.composite
def incidents(draw: st.DrawFn) -> Incident:
    listed = tuple(draw(st.lists(anomalies(), min_size=1, max_size=8)))
    return Incident(
        id=draw(hostile),
        asset=draw(hostile),
        state="closed",
        revision=3,
        opened_s=ONSET_S,
        updated_s=ONSET_S,
        closed_s=ONSET_S,
        anomalies=listed,
        anomaly_count=len(listed) + draw(st.integers(0, 3)),
        stream_count=len(listed),
        severity=SEVERITY,
    )


evidences = st.one_of(
    st.none(),
    st.builds(Evidence, incident_id=hostile, asset=hostile, opened_s=st.just(ONSET_S), cause=hostile, similarity=st.just(0.97)),
)
zones = st.builds(timezone, st.just(timedelta()), hostile)


def unused(message: Message) -> None:
    raise AssertionError(f"encoding queued something on {message.topic}")


def asked(incident: Incident, past: Evidence | None, zone: tzinfo, allow: Collection[Allowed]) -> Question:
    return question_of(
        plan_of(incident, past, zone),
        id=NAMES.request_id(incident.id, incident.revision),
        severity=incident.severity,
        allow=allow,
        pseudonyms=NAMES,
    )


@given(incidents(), evidences, zones, st.sampled_from(EVERY_CHOICE))
@settings(max_examples=120, deadline=None)
def test_no_canary_leaves_whatever_is_allowed(
    incident: Incident, past: Evidence | None, zone: tzinfo, allow: tuple[Allowed, ...]
) -> None:
    sent = document(asked(incident, past, zone, allow))
    assert found(WORDS, sent) == []
    assert [part for part in TELLTALES if part in sent.decode().lower()] == []


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@given(incident=incidents(), past=evidences, zone=zones, allow=st.sampled_from(EVERY_CHOICE))
@settings(max_examples=40, deadline=None)
def test_no_canary_leaves_by_any_backend(
    backend: str, incident: Incident, past: Evidence | None, zone: tzinfo, allow: tuple[Allowed, ...]
) -> None:
    names_of_the_plant = {
        "gateway": {"id": WORDS[0].lower()},
        "mqtt": {"root": WORDS[1], "host": WORDS[2], "client_id": WORDS[3], "username": WORDS[4]},
        "routes": [{"format": "number", "topic": WORDS[5], "stream": WORDS[0]}],
        "state_dir": f"/{WORDS[1]}",
        "escalation": {"backend": backend, "allow": list(allow), "openai": {"url": "https://models.example/v1", "model": "m"}},
    }
    opened = open_backend(Needs(settings=convert(names_of_the_plant, Settings), queue=unused, clock=SystemClock()))
    sent, _ = opened.encode(asked(incident, past, zone, allow))
    assert found(WORDS, sent) == []
    assert [part for part in TELLTALES if part in sent.decode().lower()] == []


hostile_counts = st.dictionaries(
    st.builds(str.__add__, st.sampled_from(("", "summaries_by_", "summaries_because_", "escalations_refused_")), hostile),
    st.integers(0, 5),
)


@given(hostile, hostile, hostile_counts, hostile_counts, hostile_counts)
@settings(max_examples=60, deadline=None)
def test_no_canary_leaves_by_telemetry(
    version: str, name: str, drops: dict[str, int], counts: dict[str, int], kinds: dict[str, int]
) -> None:
    health = Health(
        version=version,
        release=name,
        boot_id=name,
        started_s=ONSET_S,
        time_s=ONSET_S,
        drops=drops,
        counts=counts,
        problems=(name,),
    )
    sent = telemetry_body(telemetry_of(health, uptime_s=1.0, kinds=kinds, latency_s={name: (0.1, 0.2, 0.3)}))
    assert found(WORDS, sent) == []
    assert [part for part in TELLTALES if part in sent.decode().lower()] == []
    assert [text for text in TIMES if text in sent.decode()] == []


@given(incidents(), evidences, st.sampled_from(EVERY_CHOICE))
@settings(max_examples=120, deadline=None)
def test_numbers_times_units_and_severity_leave_only_where_they_are_allowed(
    incident: Incident, past: Evidence | None, allow: tuple[Allowed, ...]
) -> None:
    question = asked(incident, past, timezone.utc, allow)  # noqa: UP017 - it has the name UTC, as a zone has
    sent = document(question).decode()
    without_ids = re.sub("[qs]-[0-9a-f]{16,24}", "", sent)
    if "values" not in allow:
        assert [text for text in NUMBERS if text in without_ids] == []
        assert not re.search(r'"(rose|fell)"', sent)
    if "times" not in allow:
        assert [text for text in TIMES if text in without_ids] == []
    if "units" not in allow:
        assert "furlongs" not in sent
        assert not any(f'"{unit}"' in sent for unit in REVIEWED_UNITS)
    if "identifiers" not in allow:
        assert "s-" not in sent.replace(question.id, "")
    assert (question.severity is None) == ("severity" not in allow)
    assert "UTC" not in sent


@given(incidents(), evidences, zones, st.sampled_from(EVERY_CHOICE))
@settings(max_examples=60, deadline=None)
def test_without_facts_a_question_is_one_of_few_forms(
    incident: Incident, past: Evidence | None, zone: tzinfo, allow: tuple[Allowed, ...]
) -> None:
    """Nothing but kinds, endings and which slots there are decides it: two incidents alike in these give the same bytes."""
    bare = {**json.loads(document(asked(incident, past, zone, ()))), "id": ""}
    more = {**json.loads(document(asked(incident, past, zone, allow))), "id": "", "facts": [], "severity": None}
    assert bare == more
    assert len(bare["chunks"]) <= MAX_SUBJECTS
    tokens = set(re.findall(r"<[^>]*>", json.dumps(bare)))
    assert all(re.fullmatch(r"<(stream|streams|moved|lead|peak|base|at|for):[0-5]>", token) for token in tokens)


@given(incidents(), st.sampled_from(EVERY_CHOICE))
@settings(max_examples=50, deadline=None)
def test_two_devices_give_one_incident_nothing_in_common(incident: Incident, allow: tuple[Allowed, ...]) -> None:
    def pseudonyms_of(key: bytes) -> set[str]:
        names = Pseudonyms(key)
        question = question_of(
            plan_of(incident, None),
            id=names.request_id(incident.id, incident.revision),
            severity=incident.severity,
            allow=allow,
            pseudonyms=names,
        )
        return set(re.findall("[qs]-[0-9a-f]{16,24}", document(question).decode()))

    assert pseudonyms_of(bytes(32)) & pseudonyms_of(bytes(range(32))) == set()


@pytest.mark.parametrize("canary", WORDS)
def test_the_search_finds_a_canary_in_any_form(canary: str) -> None:
    data = canary.encode()
    for form in (data, data.upper(), data[::-1], data.hex().encode(), data.hex().upper().encode(), quote(canary).encode()):
        assert found(WORDS, b"\x00 before" + form + b"after") == [canary]
    for lead in range(3):
        assert found(WORDS, base64.b64encode(b"x" * lead + data + b" and more")) == [canary]
        assert found(WORDS, base64.urlsafe_b64encode(b"x" * lead + data)) == [canary]
    assert found(WORDS, b"nothing of the kind") == []
