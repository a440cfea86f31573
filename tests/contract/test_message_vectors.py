"""The test vectors of docs/formats/messages.md, run against the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert

from edge_agent.egress.question import Question
from edge_agent.errors import IncidentFormatError
from edge_agent.escalate.mqtt import MqttBackend
from edge_agent.messages import (
    encode,
    escalation_document,
    escape_stream,
    format_time,
    incident_document,
    parse_answer_request,
    parse_close,
    parse_incident,
    parse_request,
    parse_time,
    unescape_stream,
)
from edge_agent.values import Escalation

DOCUMENT = Path(__file__).parents[2] / "docs" / "formats" / "messages.md"
BLOCK = re.compile(r"^```json vectors:(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VECTORS: dict[str, list[dict[str, Any]]] = {name: json.loads(body) for name, body in BLOCK.findall(DOCUMENT.read_text("utf-8"))}


def vectors(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[name])


def test_every_block_of_vectors_is_run() -> None:
    assert sorted(VECTORS) == sorted(
        [
            "stream-topics",
            "times",
            "other-times",
            "incident-files",
            "refused-files",
            "escalations",
            "questions",
            "close-requests",
            "answer-requests",
        ]
    )


@vectors("stream-topics")
def test_stream_names_in_topics(vector: dict[str, Any]) -> None:
    assert escape_stream(vector["stream"]) == vector["levels"]
    assert unescape_stream(vector["levels"]) == vector["stream"]


@vectors("times")
def test_times(vector: dict[str, Any]) -> None:
    assert format_time(vector["seconds"]) == vector["text"]
    assert parse_time(vector["text"]) == pytest.approx(vector["seconds"], abs=1e-6)


@vectors("other-times")
def test_other_ways_to_write_times(vector: dict[str, Any]) -> None:
    assert format_time(parse_time(vector["read"])) == vector["text"]


@vectors("incident-files")
def test_incident_files(vector: dict[str, Any]) -> None:
    read = parse_incident(encode(vector["file"]), "i.json")
    assert list(incident_document(read)) == list(vector["document"])
    assert incident_document(read) == vector["document"]
    assert incident_document(parse_incident(encode(vector["document"]), "i.json")) == vector["document"]


@vectors("refused-files")
def test_refused_files(vector: dict[str, Any]) -> None:
    with pytest.raises(IncidentFormatError) as caught:
        parse_incident(encode(vector["file"]), "i.json")
    assert caught.value.detail == f"i.json: {vector['problem']}"


@vectors("close-requests")
def test_close_requests(vector: dict[str, Any]) -> None:
    request = parse_close(parse_request(encode(vector["request"])))
    assert (request.incident_id, request.cause, request.note) == (vector["incident"], vector["cause"], vector["note"])


@vectors("answer-requests")
def test_answer_requests(vector: dict[str, Any]) -> None:
    request = parse_answer_request(parse_request(encode(vector["request"])))
    assert (request.question_id, list(request.sentences), request.model) == (vector["id"], vector["sentences"], vector["model"])


@vectors("escalations")
def test_escalations(vector: dict[str, Any]) -> None:
    document = escalation_document(convert(vector["escalation"], Escalation))
    assert json.loads(encode(document)) == vector["document"]
    assert list(document) == list(vector["document"])


@vectors("questions")
def test_question_events(vector: dict[str, Any]) -> None:
    body, _ = MqttBackend("t", lambda message: None).encode(convert(vector["data"], Question))
    assert json.loads(body) == vector
    assert list(json.loads(body)) == list(vector)
