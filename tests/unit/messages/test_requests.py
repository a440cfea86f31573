"""Requests: what is read, and what is refused in which words."""

from __future__ import annotations

import pytest

from edge_agent.errors import RequestError
from edge_agent.messages.requests import MAX_REQUEST_BYTES, CloseRequest, RequestBody, parse_close, parse_request


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
