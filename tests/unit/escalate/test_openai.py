"""The backend against a server with every fault, over real sockets: each fault ends in a named reason, within its bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from edge_agent import __version__
from edge_agent.clock import SystemClock
from edge_agent.config.settings import OpenAiSettings, TlsSettings
from edge_agent.egress.question import Question
from edge_agent.errors import BackendRefusalError, ConfigError, EgressError, TryLaterError
from edge_agent.escalate.chat import Dialect
from edge_agent.escalate.contract import Reply, Request
from edge_agent.escalate.openai import MAX_KEY, OpenAiBackend
from tests.escalation.certificates import Authority
from tests.escalation.questions import ALL, TWO_CHUNKS, asked
from tests.escalation.server import FaultServer

SPIKE, FULL = asked(), asked(TWO_CHUNKS, ALL)
KEY = "sk-canary-0123456789"


def backend(url: str, **fields: Any) -> OpenAiBackend:
    return OpenAiBackend(OpenAiSettings(**{"url": url, "model": "large", "timeout_s": 5.0, **fields}), SystemClock())


def ask(asking: OpenAiBackend, question: Question = SPIKE.question) -> Reply:
    body, _ = asking.encode(question)
    return asking.send(Request(id=question.id, body=body))


def sentences(reply: Reply) -> object:
    return json.loads(reply.text)["sentences"]


def test_a_question_is_asked_and_answered() -> None:
    with FaultServer() as server:
        asking = backend(server.url, headers={"X-Team": "pumps"}, price_in_per_million=1.0, price_out_per_million=10.0)
        reply = ask(asking, FULL.question)
        (seen,) = server.seen
    assert (reply.id, reply.model) == (FULL.question.id, "fake-large")
    assert sentences(reply) == FULL.examples
    assert reply.usage is not None
    assert reply.usage.tokens == 760
    assert reply.usage.money == pytest.approx((700 + 600) / 1e6)
    assert seen.target == "/v1/chat/completions"
    assert seen.headers["idempotency-key"] == FULL.question.id
    assert seen.headers["user-agent"] == f"edge-agent/{__version__}"
    assert seen.headers["x-team"] == "pumps"
    assert seen.headers["content-type"] == "application/json"
    assert "authorization" not in seen.headers
    assert "cookie" not in seen.headers
    assert msgspec.convert(seen.question, Question) == FULL.question
    assert asking.collect() == []


def test_what_is_encoded_is_what_is_sent_and_the_most_that_it_can_take() -> None:
    with FaultServer() as server:
        asking = backend(server.url, price_in_per_million=1.0, headers={"X-Long": "x" * 1_000})
        body, most = asking.encode(FULL.question)
        assert asking.encode(FULL.question) == (body, most)
        reply = asking.send(Request(id="q-1", body=body))
        assert server.seen[0].body == body
        assert reply.usage is not None
        assert len(server.received) <= reply.usage.bytes + 200
        assert len(server.received) <= most.bytes
        assert reply.usage.tokens <= most.tokens
        assert reply.usage.money <= most.money


def test_the_key_is_read_for_each_request_and_stands_in_no_error(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with FaultServer("good", "good", "echo:500", "echo:401") as server:
        asking = backend(server.url, key_file=str(path))
        with pytest.raises(TryLaterError, match="credentials") as missing:
            ask(asking)
        assert str(path) in missing.value.detail
        assert server.connections == 0
        for key in (KEY, "another-key"):
            path.write_text(key + "\n")
            ask(asking)
        assert [seen.headers["authorization"] for seen in server.seen] == [f"Bearer {KEY}", "Bearer another-key"]
        path.write_text(KEY)
        for kind in (TryLaterError, BackendRefusalError):
            with pytest.raises(kind) as caught:
                ask(asking)
            assert KEY not in str(caught.value)
            assert "[key]" in str(caught.value)


def test_the_head_that_is_shown_is_the_one_that_is_sent_without_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with FaultServer() as server:
        asking = backend(server.url + "?tenant=secret-tenant", key_file=str(path), headers={"X-Api-Key": "secret-header"})
        body, _ = asking.encode(FULL.question)
        request = Request(id=FULL.question.id, body=body)
        head = asking.head(request)
        assert server.connections == 0
        path.write_text(KEY)
        asking.send(request)
        sent = server.received.partition(b"\r\n\r\n")[0].decode()
    assert "secret" not in head
    shown = head.replace("(from key_file)", KEY).replace("(from the configuration)", "secret-header")
    assert shown.replace("(query from the configuration)", "tenant=secret-tenant") == sent


@pytest.mark.parametrize("text", ["", "\n", "two\nlines", "with blank", "ключ", "x" * (MAX_KEY + 1), "a\rX: y"])
def test_a_file_that_holds_no_key_is_never_sent(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with FaultServer() as server:
        with pytest.raises(TryLaterError, match="credentials"):
            ask(backend(server.url, key_file=str(path)))
        assert server.connections == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("status:408", "status-408"),
        ("status:409", "status-409"),
        ("status:425", "status-425"),
        ("status:429", "status-429"),
        ("status:500", "status-500"),
        ("status:503", "status-503"),
        ("status:202", "bad-answer"),
        ("echo:502", "status-502"),
        ("cut-json", "bad-answer"),
        ("html", "bad-answer"),
        ("nan", "bad-answer"),
        ("deep", "bad-answer"),
        ("not-utf-8", "bad-answer"),
        ("lone-surrogate", "bad-answer"),
        ("empty", "bad-answer"),
        ("no-choices", "bad-answer"),
        ("choices-wrong", "bad-answer"),
        ("error-in-200", "bad-answer"),
        ("content-list", "bad-answer"),
        ("gzip-bomb", "bad-answer"),
        ("not-http", "bad-answer"),
        ("huge", "too-long"),
        ("promised-huge", "too-long"),
        ("cut-body", "reset"),
        ("reset", "reset"),
        ("close", "reset"),
    ],
)
def test_faults_after_which_the_question_may_be_asked_again(fault: str, reason: str) -> None:
    with FaultServer(fault) as server:
        asking = backend(server.url)
        with pytest.raises(TryLaterError) as caught:
            ask(asking)
        assert caught.value.reason == reason
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable()
        assert sentences(ask(asking)) == SPIKE.examples


@pytest.mark.parametrize(
    ("fault", "reason", "breaks"),
    [
        ("status:400", "status-400", True),
        ("status:401", "status-401", True),
        ("status:403", "status-403", True),
        ("status:404", "status-404", True),
        ("status:422", "status-422", False),
        ("status:413", "question-too-long", False),
        ("error:429:insufficient_quota", "insufficient-quota", True),
        ("error:400:context_length_exceeded", "question-too-long", False),
        ("redirect:https://elsewhere.example/v1", "redirect", True),
        ("length", "answer-cut", False),
        ("filtered", "content-filter", False),
        ("refused", "model-refused", False),
        ("null", "answer-empty", False),
        ("blank", "answer-empty", False),
    ],
)
def test_faults_that_are_final(fault: str, reason: str, breaks: bool) -> None:
    with FaultServer(fault) as server:
        with pytest.raises(BackendRefusalError) as caught:
            ask(backend(server.url))
        assert (caught.value.reason, caught.value.breaks) == (reason, breaks)
        assert server.connections == 1


def test_a_storm_of_429_says_when_to_come_back() -> None:
    storm = [
        "status:429:Retry-After=30",
        "status:429:Retry-After=Sun, 06 Nov 1994 08:50:37 GMT;Date=Sun, 06 Nov 1994 08:49:37 GMT",
    ]
    with FaultServer(*storm, "status:429:Retry-After=-1", "status:429:Retry-After=99999999") as server:
        asking = backend(server.url)
        pauses = []
        for _ in range(4):
            with pytest.raises(TryLaterError) as caught:
                ask(asking)
            pauses.append(caught.value.retry_after_s)
    assert pauses == [30.0, 60.0, None, 86_400.0]


@pytest.mark.parametrize(
    ("fault", "dialect", "attempts"),
    [
        ("no-patterns", Dialect(patterns=False), 2),
        ("no-schema", Dialect(format="json_object", patterns=False), 3),
        ("no-format", Dialect(format="plain", patterns=False), 4),
        ("no-max-tokens", Dialect(limit="max_completion_tokens"), 2),
        ("no-temperature", Dialect(temperature=False), 2),
    ],
)
def test_what_a_server_does_not_take_is_found_out_once(fault: str, dialect: Dialect, attempts: int) -> None:
    with FaultServer(*[fault] * 5) as server:
        asking = backend(server.url)
        bodies = []
        while True:
            body, _ = asking.encode(SPIKE.question)
            bodies.append(body)
            try:
                reply = asking.send(Request(id="q-1", body=body))
            except TryLaterError as error:
                assert (error.reason, error.retry_after_s) == ("format-unsupported", 0.0)  # noqa: PT017 # counted below
            else:
                break
        assert sentences(reply) == SPIKE.examples
        assert asking.dialect == dialect
        assert len(bodies) == len(set(bodies)) == attempts
        assert [seen.body for seen in server.seen] == bodies, "each attempt sent what was encoded for it"
        ask(asking)
        assert server.seen[-1].body == bodies[-1]


def test_a_configured_format_is_not_given_up() -> None:
    with FaultServer("no-schema", "no-schema") as server:
        asking = backend(server.url, answer_format="json_schema")
        with pytest.raises(TryLaterError, match="format-unsupported"):  # the patterns are left out
            ask(asking)
        with pytest.raises(BackendRefusalError, match="status-400"):
            ask(asking)


@pytest.mark.parametrize(
    "fault", ["number", "foreign-slot", "missing-slot", "repeated-slot", "swapped-slots", "text:Rose <peak:0>"]
)
def test_what_an_answer_says_is_handed_on_as_it_came(fault: str) -> None:
    with FaultServer(fault) as server:
        assert ask(backend(server.url)).text != json.dumps({"sentences": SPIKE.examples})


def test_a_server_that_does_not_say_what_it_took_leaves_that_open() -> None:
    with FaultServer("no-usage") as server:
        assert ask(backend(server.url)).usage is None


def test_the_deadline_is_for_the_whole_question() -> None:
    with FaultServer("drip-body") as server, pytest.raises(TryLaterError, match="timeout"):
        ask(backend(server.url, timeout_s=0.4))


def test_tls_and_its_advice(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = TlsSettings(ca_file=str(authority.ca_file))
    with FaultServer(identity=authority.issue("server")) as server:
        assert sentences(ask(backend(server.url, tls=tls))) == SPIKE.examples
        with pytest.raises(TryLaterError, match=r"^tls: .*tls\.ca_file"):
            ask(backend(server.url))


@pytest.mark.parametrize(
    "fields",
    [{"url": ""}, {"url": "http://models.example/v1"}, {"headers": {"Host": "x"}}, {"headers": {"X": "a\r\nY: b"}}],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"escalation\.openai\."):
        OpenAiBackend(OpenAiSettings(**{"url": "https://models.example/v1", **fields}), SystemClock())


def test_a_question_that_may_not_leave_has_no_bytes() -> None:
    with pytest.raises(EgressError):
        backend("https://models.example/v1").encode(replace(SPIKE.question, id="pump-3"))
