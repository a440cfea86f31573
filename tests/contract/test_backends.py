"""What every backend has to do, over the whole table: the same questions, answers, kills, outages and lies for each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.egress.question import Question
from edge_agent.errors import BackendRefusalError, EgressError, RequestError, TryLaterError
from edge_agent.escalate.backoff import counts_as_attempt
from edge_agent.escalate.contract import Reply, Request
from edge_agent.escalate.gate import NOTHING_LEFT
from edge_agent.escalate.table import BACKENDS
from tests.canaries import PROMPTS, WORDS, found
from tests.contract.backends import HARNESSES, Harness
from tests.escalation.questions import ALL, TWO_CHUNKS, asked
from tests.writing import anomaly, incident

SPIKE, FULL = asked(), asked(replace(TWO_CHUNKS, id="i-2"), ALL)
TEXT = json.dumps({"sentences": ["<stream:0> <moved:0> sharply .", "ä \u2019"]})
MAX_BODY_BYTES = 98_304
MAX_TEXT_BYTES = 65_536 * 6
"""Of a request or a file of 64 KiB whose every byte had to be escaped."""
MAX_MODEL_CHARACTERS = 200


@pytest.fixture(params=HARNESSES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    made = HARNESSES[request.param](tmp_path)
    try:
        yield made
    finally:
        made.close()


def prepared(harness: Harness, question: Question = SPIKE.question) -> Request:
    body, _ = harness.backend.encode(question)
    return Request(id=question.id, body=body)


def outcome(call: Callable[[], list[Reply]]) -> tuple[TryLaterError | BackendRefusalError | RequestError | None, list[Reply]]:
    """What came of it: one of the errors that may, or replies."""
    try:
        return None, call()
    except (TryLaterError, BackendRefusalError, RequestError) as error:
        return error, []


def test_every_backend_is_held_to_the_contract() -> None:
    assert list(HARNESSES) == list(BACKENDS)


def test_encoding_is_pure_and_always_gives_the_same(harness: Harness) -> None:
    first = harness.backend.encode(FULL.question)
    harness.backend.encode(SPIKE.question)
    assert harness.backend.encode(FULL.question) == first
    harness.kill()
    assert harness.backend.encode(FULL.question) == first
    assert harness.arrived() == []
    assert harness.outside() == b""


def test_the_question_is_in_it_and_what_it_can_take_covers_it(harness: Harness) -> None:
    body, most = harness.backend.encode(FULL.question)
    for chunk in FULL.question.chunks:
        assert json.dumps(chunk.example).encode() in body.replace(b'\\"', b'"')
    assert len(body) <= most.bytes <= MAX_BODY_BYTES
    assert most.tokens >= 0
    assert 0.0 <= most.money < 1.0


def test_the_largest_question_is_bounded(harness: Harness) -> None:
    many = [anomaly(f"pump-{number}/flow", onset_s=1_783_337_831.0 + 300 * number) for number in range(32)]
    body, most = harness.backend.encode(asked(incident(*many), ALL).question)
    assert len(body) <= most.bytes <= MAX_BODY_BYTES


def test_no_text_of_a_sensor_is_in_it_whatever_is_allowed(harness: Harness) -> None:
    names = [f"{prompt.format(*WORDS)}/{word}" for prompt in PROMPTS for word in WORDS[:1]]
    for name in names:
        hostile = incident(anomaly(name, unit=WORDS[1]), id=f"i-{WORDS[2]}", asset=WORDS[3])
        question = asked(hostile, ALL).question
        request = prepared(harness, question)
        assert found(WORDS, request.body) == []
        harness.answered(request, TEXT)
    assert found(WORDS, harness.outside()) == []


def test_what_the_schema_does_not_allow_is_not_encoded(harness: Harness) -> None:
    for question in (Question(id="pump-3", chunks=SPIKE.question.chunks), Question(id=SPIKE.question.id, chunks=())):
        with pytest.raises(EgressError):
            harness.backend.encode(question)
    assert harness.outside() == b""


def test_exactly_what_was_encoded_is_sent(harness: Harness) -> None:
    requests = [prepared(harness, SPIKE.question), prepared(harness, FULL.question)]
    for request in requests:
        harness.answered(request, TEXT)
        assert harness.arrived()[-1] == request.body
    assert request.id.encode() in harness.outside()


def test_an_answer_comes_once_and_as_it_was_given(harness: Harness) -> None:
    request = prepared(harness)
    (reply,) = harness.answered(request, TEXT)
    assert reply.id == request.id
    assert json.loads(reply.text) == json.loads(TEXT)
    assert harness.backend.collect() == []
    assert harness.backend.collect() == []


def test_each_answer_is_that_of_its_question(harness: Harness) -> None:
    questions = [asked(incident(anomaly(), id=f"i-{number}")).question for number in range(5)]
    for number, question in enumerate(questions):
        text = json.dumps({"sentences": [f"{number}"]})
        (reply,) = harness.answered(prepared(harness, question), text)
        assert (reply.id, json.loads(reply.text)) == (question.id, {"sentences": [f"{number}"]})


def test_a_kill_before_an_answer_was_kept_does_not_lose_it(harness: Harness) -> None:
    request = prepared(harness)
    first = harness.answered(request, TEXT)
    assert harness.again(request) == first
    assert harness.backend.collect() == []


def test_a_question_may_be_sent_again_and_keeps_its_id(harness: Harness) -> None:
    request = prepared(harness)
    harness.answered(request, TEXT)
    harness.kill()
    assert prepared(harness) == request
    (reply,) = harness.answered(request, TEXT)
    assert reply.id == request.id
    assert set(harness.arrived()) == {request.body}


def test_an_outage_is_a_failure_for_now_that_costs_nothing(harness: Harness) -> None:
    request = prepared(harness)
    harness.answered(request, TEXT)
    before = harness.outside()
    harness.break_off()
    for _ in range(2):
        with pytest.raises(TryLaterError) as caught:
            harness.backend.send(request)
        assert caught.value.reason in NOTHING_LEFT
        assert not counts_as_attempt(caught.value)
        error, replies = outcome(harness.backend.collect)
        assert replies == []
        assert error is None or error.reason in NOTHING_LEFT
    harness.mend()
    assert len(harness.outside()) <= len(before)
    harness.kill()
    assert harness.answered(request, TEXT)


@pytest.mark.timeout(60)
def test_lies_end_in_a_reason_or_in_an_answer_of_bounded_size_and_in_bounded_time(harness: Harness) -> None:
    """Nothing but the reasons that the contract names comes out, whatever the other side says or leaves unsaid."""
    request = prepared(harness)
    count = 0
    for lie in harness.lies():
        count += 1
        error, replies = outcome(partial(lie, request))
        if error is not None:
            assert re.fullmatch(r"[a-z0-9-]{1,64}", error.reason)
            assert len(str(error)) <= 2_000
        for reply in replies:
            assert len(reply.text.encode("utf-8", "surrogatepass")) <= MAX_TEXT_BYTES
            assert len(reply.model) <= MAX_MODEL_CHARACTERS
            assert reply.model.isprintable()
    assert count > 10
    harness.kill()
    assert harness.answered(request, TEXT)
