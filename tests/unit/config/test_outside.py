"""The settings by which anything leaves: each contradiction, each risk, and what is in order."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.config.outside import zone_problem
from tests.unit.config.test_meaning import look

OPENAI: dict[str, Any] = {"url": "https://models.example/v1", "model": "m"}


def escalation(**values: Any) -> dict[str, Any]:
    return {"escalation": values}


def openai(**values: Any) -> dict[str, Any]:
    return escalation(backend="openai", openai={**OPENAI, **values})


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        (openai(url=""), "openai.url", "is missing"),
        (openai(model=""), "openai.model", "is missing"),
        (openai(url="models.example"), "openai.url", "begins neither"),
        (openai(url="http://models.example/v1"), "openai.url", "has no TLS"),
        (openai(url="https://me:word@models.example/v1"), "openai.url", "key_file"),
        (openai(url="https://models.example/v1#x"), "openai.url", "`#`"),
        (escalation(openai={"url": "http://models.example", "model": "m"}, backend="spool"), "openai.url", "has no TLS"),
        (openai(headers={"Authorization": "Bearer x"}), "openai.headers.Authorization", "key_file"),
        (openai(headers={"Host": "x"}), "openai.headers.Host", "writes itself"),
        (openai(headers={"content-type": "x"}), "openai.headers.content-type", "writes itself"),
        (openai(headers={"a b": "x"}), "openai.headers.a b", "no header's name"),
        (openai(headers={"x": "ä"}), "openai.headers.x", "no header may have"),
        (openai(headers={"x": ""}), "openai.headers.x", "no header may have"),
        (openai(headers={f"x-{number}": "1" for number in range(33)}), "openai.headers", "at most 32"),
        (openai(tls={"cert_file": "c"}), "openai.tls.cert_file", "without `key_file`"),
        (openai(tls={"key_file": "k"}), "openai.tls.key_file", "without `cert_file`"),
        (escalation(backoff_min_s=10, backoff_max_s=9), "backoff_min_s", "is more than `backoff_max_s`, 9"),
        (escalation(timezone="Mars"), "timezone", "no time zone `Mars`"),
        (escalation(windows=["22:00-06:00", "25:00-26:00"]), "windows[1]", "after 24:00"),
        (escalation(windows=["24:01-03:00"]), "windows[0]", "after 24:00"),
        (escalation(backend="mqtt", mqtt={"topic": "a/+"}), "mqtt.topic", "wildcard"),
        (escalation(backend="mqtt", mqtt={"topic": "a/#"}), "mqtt.topic", "wildcard"),
        (escalation(mqtt={"topic": "a//b"}), "mqtt.topic", "empty level"),
        (escalation(mqtt={"topic": "$SYS/a"}), "mqtt.topic", "begins with `$`"),
        (escalation(mqtt={"topic": "edge/gateway-1"}), "mqtt.topic", "edge/gateway-1/question"),
        (escalation(mqtt={"topic": "edge/gateway-1/request/answer"}), "mqtt.topic", "means something else"),
        (escalation(mqtt={"topic": "edge/gateway-1/summary"}), "mqtt.topic", "means something else"),
        (escalation(mqtt={"topic": "edge/gateway-1/telemetry"}), "mqtt.topic", "means something else"),
        (escalation(backend="spool", spool={"folder": "spool"}), "spool.folder", "no absolute path"),
    ],
)
def test_problems(values: dict[str, Any], key: str, said: str) -> None:
    problems, _ = look(values)
    assert [one[0] for one in problems] == [f"escalation.{key}"]
    assert said in problems[0][1]


def test_a_route_that_takes_the_questions_is_a_problem() -> None:
    routes = [{"topic": "q/#", "format": "number"}]
    problems, _ = look({"routes": routes, **escalation(backend="mqtt", mqtt={"topic": "q/up"})})
    assert [one[0] for one in problems] == ["routes[0].topic"]
    assert "its own questions" in problems[0][1]
    assert look({"routes": routes, **escalation(backend="spool", mqtt={"topic": "q/up"})}) == ([], [])


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        (escalation(allow=["values", "times", "values"]), "allow[2]", "stands twice"),
        (escalation(openai=OPENAI), "openai.url", "backend: openai"),
        (openai(url="http://10.0.0.9/v1", allow_http=True, key_file="k"), "openai.key_file", "unencrypted"),
        (openai(url="http://127.0.0.1:8080/v1", tls={"ca_file": "c"}), "openai.tls", "counts for nothing"),
        (openai(tls={"insecure_skip_hostname": True}), "openai.tls.insecure_skip_hostname", "believed"),
        (escalation(backend="spool", requests_per_day=0), "requests_per_day", "no question ever leaves"),
        (escalation(backend="mqtt", bytes_per_day=0), "bytes_per_day", "no question ever leaves"),
        (escalation(backend="openai", openai=OPENAI, tokens_per_day=511), "tokens_per_day", "max_answer_tokens"),
        (
            escalation(backend="openai", openai={**OPENAI, "price_out_per_million": 2}, money_per_day=0),
            "money_per_day",
            "no question ever leaves",
        ),
    ],
)
def test_warnings(values: dict[str, Any], key: str, said: str) -> None:
    problems, warnings = look(values)
    assert problems == []
    assert [one[0] for one in warnings] == [f"escalation.{key}"]
    assert said in warnings[0][1]


@pytest.mark.parametrize(
    "values",
    [
        openai(),
        openai(url="http://127.0.0.1:8080/v1", key_file="k"),
        openai(url="http://10.0.0.9/v1", allow_http=True),
        openai(headers={"api-version": "2", "X-Team": "plant 4"}),
        openai(tls={"ca_file": "c", "cert_file": "c", "key_file": "k"}),
        escalation(backend="openai", openai=OPENAI, money_per_day=0),
        escalation(backend="spool", spool={"folder": "/media/stick"}, tokens_per_day=0, money_per_day=0),
        escalation(backend="mqtt", mqtt={"topic": "edge/gateway-1/question"}),
        escalation(backend="mqtt", mqtt={"topic": "edge/gateway-1/questions/up"}),
        escalation(backend="mqtt", mqtt={"topic": "edge/other/summary"}),
        {**escalation(backend="mqtt", mqtt={"topic": "edge/q"}), "routes": [{"topic": "#", "format": "number"}]},
        escalation(windows=["22:00-06:00", "12:00-24:00", "00:00-00:00"], timezone="Europe/Berlin"),
        escalation(requests_per_day=0, bytes_per_day=0),
    ],
)
def test_what_is_allowed(values: dict[str, Any]) -> None:
    assert look(values) == ([], [])


def test_time_zones() -> None:
    assert zone_problem("UTC") == zone_problem("Asia/Kathmandu") == ""
    assert "did you mean `Europe/Berlin`?" in zone_problem("Europe/Berln")
