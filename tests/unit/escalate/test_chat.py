"""What is said to a server for chat completions and what its answers mean, without a server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.settings import OpenAiSettings
from edge_agent.egress.instructions import INSTRUCTIONS
from edge_agent.errors import BackendRefusalError, TryLaterError
from edge_agent.escalate.chat import (
    MAX_TOKENS_TOLD,
    Dialect,
    Problem,
    body_of,
    dialects,
    first_dialect,
    money_of,
    outside_text,
    read_completion,
    read_problem,
    refusal,
    simpler,
)
from edge_agent.grammar import tokens_of
from tests.escalation.faults import completion
from tests.escalation.questions import ALL, TWO_CHUNKS, asked

FULL = asked(TWO_CHUNKS, ALL).question
AUTO = OpenAiSettings(model="large")


def test_a_body_holds_the_instructions_the_question_and_nothing_else() -> None:
    body = json.loads(body_of(FULL, AUTO, Dialect()))
    system, user = body.pop("messages")
    assert system == {"role": "system", "content": INSTRUCTIONS}
    assert user["role"] == "user"
    document = json.loads(user["content"])
    assert document["id"] == FULL.id
    assert len(document["chunks"]) == 2
    response_format = body.pop("response_format")
    assert response_format["type"] == "json_schema"
    assert response_format["json_schema"]["strict"] is True
    texts = response_format["json_schema"]["schema"]["properties"]["sentences"]
    assert texts["maxItems"] == texts["minItems"] == len(texts["prefixItems"]) == 2
    assert body == {"model": "large", "max_tokens": 512, "n": 1, "stream": False, "temperature": 0}


COMPLAINTS = ("use max_completion_tokens", "temperature is not supported", "response_format is not supported")


@pytest.mark.parametrize("answer_format", ["auto", "json_schema", "json_object", "plain"])
def test_whatever_servers_complain_of_leads_to_a_known_dialect(answer_format: Any) -> None:
    settings = OpenAiSettings(model="large", answer_format=answer_format)
    reached, to_do = set[Dialect](), [first_dialect(settings)]
    while to_do:
        dialect = to_do.pop()
        reached.add(dialect)
        found = (simpler(dialect, settings, 400, Problem(text=text)) for text in COMPLAINTS)
        to_do += [simple for simple in found if simple is not None and simple not in reached]
    assert reached == set(dialects(settings))
    assert dialects(settings)[0] == first_dialect(settings)
    assert len(dialects(settings)) == len(reached)


def test_a_body_is_the_same_every_time_and_as_simple_as_its_dialect() -> None:
    simplest = Dialect(format="plain", limit="max_completion_tokens", temperature=False)
    assert body_of(FULL, AUTO, simplest) == body_of(FULL, AUTO, simplest)
    body = json.loads(body_of(FULL, OpenAiSettings(max_answer_tokens=99), simplest))
    assert set(body) == {"messages", "max_completion_tokens", "n", "stream"}
    assert body["max_completion_tokens"] == 99
    assert json.loads(body_of(FULL, AUTO, Dialect(format="json_object")))["response_format"] == {"type": "json_object"}


def test_the_patterns_in_the_schema_are_those_of_the_chunks_as_a_whole() -> None:
    body = json.loads(body_of(FULL, AUTO, Dialect()))
    items = body["response_format"]["json_schema"]["schema"]["properties"]["sentences"]["prefixItems"]
    for item, chunk in zip(items, FULL.chunks, strict=True):
        wording = " ".join(tokens_of(chunk.example) or [])
        assert re.search(item["pattern"], wording)
        assert not re.search(item["pattern"], f"{wording} and more")
    body = json.loads(body_of(FULL, AUTO, Dialect(patterns=False)))
    assert "pattern" not in json.dumps(body["response_format"])


def test_what_is_configured_is_tried_first_and_alone() -> None:
    assert first_dialect(AUTO).format == "json_schema"
    schema = OpenAiSettings(answer_format="json_schema")
    without = simpler(first_dialect(schema), schema, 400, Problem(text="response_format: no"))
    assert without == Dialect(patterns=False)
    assert simpler(without, schema, 400, Problem(text="response_format: no")) is None
    fixed = OpenAiSettings(answer_format="json_object")
    assert first_dialect(fixed).format == "json_object"
    assert simpler(first_dialect(fixed), fixed, 400, Problem(parameter="response_format", text="response_format: no")) is None


def test_money_is_counted_by_the_million() -> None:
    settings = OpenAiSettings(price_in_per_million=2.0, price_out_per_million=8.0)
    assert money_of(settings, 500_000, 250_000) == 3.0


@pytest.mark.parametrize(
    ("status", "problem", "change"),
    [
        (400, Problem(parameter="response_format", text="no"), {"patterns": False}),
        (400, Problem(text="Invalid schema for response_format 'sentences'"), {"patterns": False}),
        (404, Problem(text="No endpoints found that support structured output"), {"patterns": False}),
        (422, Problem(text="json_schema: extra fields not permitted"), {"patterns": False}),
        (500, Problem(text="failed to parse grammar"), {"patterns": False}),
        (501, Problem(text="JSON schema is not implemented"), {"patterns": False}),
        (400, Problem(text="Use 'max_completion_tokens' instead."), {"limit": "max_completion_tokens"}),
        (400, Problem(parameter="temperature", text="no"), {"temperature": False}),
        (400, Problem(text="'temperature' does not support 0 with this model"), {"temperature": False}),
    ],
)
def test_a_part_that_a_server_does_not_take_is_left_out(status: int, problem: Problem, change: dict[str, Any]) -> None:
    assert simpler(Dialect(), AUTO, status, problem) == Dialect(**change)


@pytest.mark.parametrize(
    ("status", "text"),
    [(400, "the prompt is too long"), (401, "response_format"), (429, "response_format"), (503, "json_schema"), (413, "grammar")],
)
def test_another_complaint_changes_nothing(status: int, text: str) -> None:
    assert simpler(Dialect(), AUTO, status, Problem(text=text)) is None


def test_the_simplest_dialect_is_the_end() -> None:
    dialect: Dialect | None = Dialect()
    text = "response_format, max_completion_tokens and temperature are not supported"
    steps = 0
    while dialect is not None:
        last, dialect = dialect, simpler(dialect, AUTO, 400, Problem(text=text))
        steps += 1
    assert last == Dialect(format="plain", patterns=False, limit="max_completion_tokens", temperature=False)
    assert steps == 6


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529, 599])
def test_busy_and_broken_servers_may_be_asked_again(status: int) -> None:
    error = refusal(status, {"retry-after": "7"}, Problem(text="busy"), "", 0.0)
    assert isinstance(error, TryLaterError)
    assert (error.reason, error.detail, error.retry_after_s) == (f"status-{status}", "busy", 7.0)


@pytest.mark.parametrize(
    ("status", "problem", "reason", "breaks"),
    [
        (400, Problem(), "status-400", True),
        (401, Problem(), "status-401", True),
        (402, Problem(), "status-402", True),
        (403, Problem(), "status-403", True),
        (404, Problem(), "status-404", True),
        (405, Problem(), "status-405", True),
        (410, Problem(), "status-410", True),
        (413, Problem(), "question-too-long", False),
        (422, Problem(), "status-422", False),
        (400, Problem(code="context_length_exceeded"), "question-too-long", False),
        (400, Problem(kind="exceed_context_size_error"), "question-too-long", False),
        (400, Problem(code="content_filter"), "content-filter", False),
        (429, Problem(code="insufficient_quota"), "insufficient-quota", True),
        (429, Problem(kind="insufficient_quota"), "insufficient-quota", True),
        (403, Problem(kind="insufficient_quota"), "insufficient-quota", True),
    ],
)
def test_final_refusals_and_whether_they_would_meet_every_question(
    status: int, problem: Problem, reason: str, breaks: bool
) -> None:
    error = refusal(status, {}, problem, "", 0.0)
    assert isinstance(error, BackendRefusalError)
    assert (error.reason, error.breaks) == (reason, breaks)


@pytest.mark.parametrize(
    ("location", "named"),
    [("https://evil.example/v1?x=\x1b[31m", "evil.example"), ("/v2", "another path"), ("", "another path"), ("//[", "nowhere")],
)
def test_a_redirect_is_final_and_names_the_host(location: str, named: str) -> None:
    error = refusal(307, {"location": location}, Problem(), "", 0.0)
    assert isinstance(error, BackendRefusalError)
    assert (error.reason, error.breaks) == ("redirect", True)
    assert named in error.detail


@pytest.mark.parametrize("status", [99, 101, 103, 201, 202, 204, 206])
def test_a_status_that_is_neither_yes_nor_no(status: int) -> None:
    error = refusal(status, {}, Problem(), "", 0.0)
    assert isinstance(error, TryLaterError)
    assert error.reason == "bad-answer"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            b'{"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}',
            Problem(text="m", kind="t", parameter="p", code="c"),
        ),
        (b'{"error": {"message": "m", "code": 400}}', Problem(text="m")),
        (b'{"error": "m"}', Problem(text='{"error": "m"}')),
        (b'{"detail": "m"}', Problem(text="m")),
        (b'{"message": "m", "type": "t"}', Problem(text="m", kind="t")),
        (b"<html>", Problem(text="<html>")),
        (b"", Problem()),
        (b"\xff", Problem(text="�")),
    ],
)
def test_every_shape_of_an_error_is_read(body: bytes, problem: Problem) -> None:
    assert read_problem(body) == problem


def test_what_a_server_says_is_shown_short_printable_and_without_the_key() -> None:
    error = refusal(401, {}, Problem(text="wrong key sk-secret-1\r\n\x1b[31m" + "x" * 500), "sk-secret-1", 0.0)
    assert isinstance(error, BackendRefusalError)
    assert error.detail.startswith("wrong key [key]")
    assert len(error.detail) == 120
    assert error.detail.isprintable()


def test_a_completion_is_read_with_its_usage() -> None:
    found = read_completion(completion(["One."]))
    assert found.text == '{"sentences": ["One."]}'
    assert (found.model, found.prompt_tokens, found.answer_tokens) == ("fake-large", 700, 60)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": -5, "completion_tokens": 2}, (0, 2)),
        ({"prompt_tokens": 10**30, "completion_tokens": 1e300}, (MAX_TOKENS_TOLD, MAX_TOKENS_TOLD)),
        ({"prompt_tokens": "7", "completion_tokens": None}, (None, None)),
        ({"prompt_tokens": True}, (None, None)),
        ("none", (None, None)),
        (None, (None, None)),
    ],
)
def test_usage_is_never_negative_and_never_believed_without_bound(usage: object, tokens: tuple[int | None, int | None]) -> None:
    document = json.loads(completion(["One."]))
    document["usage"] = usage
    found = read_completion(json.dumps(document).encode())
    assert (found.prompt_tokens, found.answer_tokens) == tokens


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"finish": "length"}, "answer-cut"),
        ({"finish": "content_filter"}, "content-filter"),
        ({"refusal": "no"}, "model-refused"),
        ({"content": None}, "answer-empty"),
        ({"content": "  "}, "answer-empty"),
    ],
)
def test_an_answer_without_an_answer_is_a_refusal_of_that_question_alone(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BackendRefusalError) as caught:
        read_completion(completion(["One."], **changes))
    assert (caught.value.reason, caught.value.breaks) == (reason, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"choices": {}}',
        b'{"choices": []}',
        b'{"choices": [1]}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": "x"}]}',
        b'{"choices": [{"message": {"content": ["x"]}}]}',
        b'{"choices": [{"message": {"content": {"a": 1}}}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": NaN}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b'{"choices": [{"message": {"content": "x"}}]',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_completion_may_be_asked_for_again(body: bytes) -> None:
    with pytest.raises(TryLaterError, match="bad-answer"):
        read_completion(body)


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner)).map(json.dumps).map(str.encode)
)
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    read_problem(body)
    with pytest.raises((TryLaterError, BackendRefusalError)):
        read_completion(body)


@given(st.text(), st.text(min_size=1))
def test_outside_text_is_always_short_and_printable(text: str, secret: str) -> None:
    shown = outside_text(text, secret)
    assert len(shown) <= 120
    assert shown.isprintable()
