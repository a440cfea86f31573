"""What is asked on `request/<command>`, read strictly.

Rules: the body is a JSON object or empty; `transaction` is copied into the response and means nothing else here; keys
that a command does not know are left alone. Everything wrong raises `RequestError`, whose text goes into the response.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct

from edge_agent.errors import RequestError
from edge_agent.messages import strict_json

MAX_REQUEST_BYTES = 65_536
_MAX_TRANSACTION_CHARACTERS = 128
_MAX_CAUSE_CHARACTERS = 120
_MAX_NOTE_CHARACTERS = 4_000
_MAX_MODEL_CHARACTERS = 200


class RequestBody(Struct, frozen=True):
    """The JSON of a request: the sender's `transaction`, None if there is none, and all members."""

    transaction: str | None
    members: Mapping[str, object]


class CloseRequest(Struct, frozen=True, kw_only=True):
    """`request/close`: which incident, what caused it, and a note that is kept with it."""

    incident_id: str
    cause: str
    note: str = ""


class AnswerRequest(Struct, frozen=True, kw_only=True):
    """`request/answer`, or a file of a spool: what a stronger model says to a question that went out under this id."""

    question_id: str
    sentences: tuple[str, ...]
    model: str = ""

    @property
    def text(self) -> str:
        """The answer in the form in which a model gives it: `{"sentences": [...]}`, ASCII only."""
        return json.dumps({"sentences": self.sentences})


def parse_request(payload: bytes) -> RequestBody:
    """Read a request's payload; an empty one is an empty object. Raises RequestError."""
    if not payload.strip():
        return RequestBody(None, {})
    try:
        document = strict_json.load(payload, MAX_REQUEST_BYTES)
    except ValueError as error:
        raise RequestError("bad-json", f"the request {error}") from None
    if not isinstance(document, dict):
        raise RequestError("bad-request", 'the request is no JSON object; expected such as {"transaction": "1"}')
    transaction = document.get("transaction")
    if isinstance(transaction, int) and not isinstance(transaction, bool):
        transaction = str(transaction)
    if transaction is not None and not isinstance(transaction, str):
        raise RequestError("bad-request", "transaction: expected text")
    if transaction is not None and len(transaction) > _MAX_TRANSACTION_CHARACTERS:
        raise RequestError("bad-request", f"transaction: longer than {_MAX_TRANSACTION_CHARACTERS} characters")
    return RequestBody(transaction, document)


def parse_close(body: RequestBody) -> CloseRequest:
    """Read `{"incident", "cause", "note"?}`. Raises RequestError."""
    return CloseRequest(
        incident_id=_text(body, "incident", 1, 128),
        cause=_text(body, "cause", 1, _MAX_CAUSE_CHARACTERS),
        note=_text(body, "note", 0, _MAX_NOTE_CHARACTERS, several_lines=True) if "note" in body.members else "",
    )


def parse_answer_request(body: RequestBody) -> AnswerRequest:
    """Read `{"id", "sentences", "model"?}`, or a CloudEvent (1.0, structured) whose `data` is that. Raises RequestError.

    What the sentences say is not looked at here.
    """
    if "specversion" in body.members:
        data = body.members.get("data")
        if body.members["specversion"] != "1.0":
            raise RequestError("bad-request", 'specversion: expected "1.0", of CloudEvents')
        if not isinstance(data, dict):
            raise RequestError("bad-request", 'data: expected an object, {"id", "sentences"}; `data_base64` is not read')
        body = RequestBody(body.transaction, data)
    sentences = body.members.get("sentences")
    if not isinstance(sentences, list) or not sentences or not all(isinstance(sentence, str) for sentence in sentences):
        raise RequestError("bad-request", "sentences: expected a list of texts, one for each chunk of the question")
    return AnswerRequest(
        question_id=_text(body, "id", 1, 128),
        sentences=tuple(sentences),
        model=_text(body, "model", 0, _MAX_MODEL_CHARACTERS) if body.members.get("model") is not None else "",
    )


def _text(body: RequestBody, key: str, least: int, most: int, *, several_lines: bool = False) -> str:
    value = body.members.get(key)
    if not isinstance(value, str):
        raise RequestError("bad-request", f"{key}: expected text, {least} to {most} characters")
    text = value.strip()
    if not least <= len(text) <= most:
        raise RequestError("bad-request", f"{key}: has {len(text)} characters; expected {least} to {most}")
    checked = text.replace("\n", " ").replace("\t", " ") if several_lines else text
    bad = strict_json.bad_character(checked)
    if bad:
        raise RequestError("bad-request", f"{key}: contains the control character {bad}; remove it")
    return text
