"""Requests: what is read, and what is refused in which words."""

from __future__ import annotations

import json

import pytest

from edge_agent.errors import RequestError
from edge_agent.messages.requests import (
    MAX_REQUEST_BYTES,
    AnswerRequest,
    CloseRequest,
    RequestBody,
    parse_answer_request,
    parse_close,
    parse_request,
)


def test_an_empty_request_is_an_empty_object() -> None:
    assert parse_request(b"") == parse_request(b" ") == RequestBody(None, {})


@pytest.mark.parametrize(("given", "read"), [('"a-1"', "a-1"), ("17", "17"), ("null", None)])
def test_a_transaction_is_text_or_a_whole_number(given: str, read: str | None) -> None:
    assert parse_request(b'{"transaction": %s}' % given.encode()).transaction == read


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"status", "the request is no JSON at line 1, column 1"),
        (b"[]", "the request is no JSON object"),
        (b'{"transaction": true}', "transaction: expected text"),
        (b'{"transaction": "%s"}' % (b"x" * 129), "transaction: longer than 128"),
        (b"x" * (MAX_REQUEST_BYTES + 1), "bytes long"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(payload: bytes, expected: str) -> None:
    with pytest.raises(RequestError, match=expected):
        parse_request(payload)


def test_a_close_request_names_incident_and_cause() -> None:
    body = parse_request(b'{"incident": "pump-1-x", "cause": " bearing wear ", "note": "Replaced.\\nSee log."}')
    assert parse_close(body) == CloseRequest(incident_id="pump-1-x", cause="bearing wear", note="Replaced.\nSee log.")
    assert parse_close(RequestBody(None, {"incident": "i", "cause": "c"})).note == ""


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "incident: expected text"),
        ({"incident": "i"}, "cause: expected text"),
        ({"incident": "i", "cause": "  "}, "cause: has 0 characters"),
        ({"incident": "i", "cause": "c" * 121}, "cause: has 121 characters"),
        ({"incident": "i", "cause": "a\nb"}, r"cause: contains the control character U\+000A"),
        ({"incident": "i", "cause": "c", "note": 7}, "note: expected text"),
        ({"incident": "i", "cause": "c", "note": "\x1b[31m"}, r"note: contains the control character U\+001B"),
    ],
)
def test_a_close_request_that_is_wrong_is_refused(members: dict[str, object], expected: str) -> None:
    with pytest.raises(RequestError, match=expected):
        parse_close(RequestBody(None, members))


ID = "q-0123456789abcdef01234567"
ANSWER = {"id": ID, "sentences": ["<stream:0> went silent at <at:0> ."]}


def test_an_answer_names_its_question_and_has_a_text_for_each_chunk() -> None:
    read = parse_answer_request(parse_request(json.dumps({**ANSWER, "model": "large-1"}).encode()))
    assert read == AnswerRequest(question_id=ID, sentences=("<stream:0> went silent at <at:0> .",), model="large-1")
    assert parse_answer_request(RequestBody(None, ANSWER)).model == ""
    assert parse_answer_request(RequestBody(None, {**ANSWER, "model": None})).model == ""


def test_an_answer_may_come_as_a_cloud_event() -> None:
    event = {"specversion": "1.0", "id": "event-7", "source": "/models", "type": "answer", "data": ANSWER, "time": "x"}
    assert parse_answer_request(RequestBody(None, event)) == parse_answer_request(RequestBody(None, ANSWER))


def test_the_text_is_what_a_model_answers_and_always_ascii() -> None:
    text = AnswerRequest(question_id="q", sentences=("a\ud800", "ä\n")).text
    assert text.isascii()
    assert json.loads(text) == {"sentences": ["a\ud800", "ä\n"]}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "sentences: expected a list"),
        ({"id": "q-1", "sentences": "text"}, "sentences: expected a list"),
        ({"id": "q-1", "sentences": []}, "sentences: expected a list"),
        ({"id": "q-1", "sentences": ["a", 7]}, "sentences: expected a list"),
        ({"sentences": ["a"]}, "id: expected text"),
        ({"id": "", "sentences": ["a"]}, "id: has 0 characters"),
        ({"id": "q" * 129, "sentences": ["a"]}, "id: has 129 characters"),
        ({"id": "q\n1", "sentences": ["a"]}, "id: contains"),
        ({**ANSWER, "model": 7}, "model: expected text"),
        ({**ANSWER, "model": "m" * 201}, "model: has 201"),
        ({**ANSWER, "model": "\x1b[31m"}, "model: contains"),
        ({"specversion": "0.3", "data": ANSWER}, "specversion: expected"),
        ({"specversion": "1.0", "data_base64": "e30="}, "data: expected an object"),
        ({"specversion": "1.0", "data": {"sentences": ["a"]}, "id": "q-1"}, "id: expected text"),
    ],
)
def test_an_answer_that_is_wrong_is_refused(members: dict[str, object], expected: str) -> None:
    with pytest.raises(RequestError, match=expected):
        parse_answer_request(RequestBody(None, members))
