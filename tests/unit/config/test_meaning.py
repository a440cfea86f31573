"""The whole of the settings: each finding that no single type could make."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edge_agent.config.meaning import Meaning
from edge_agent.config.settings import Settings
from edge_agent.config.yaml_tree import Place

Finding = tuple[str, str]
NUMBER: dict[str, Any] = {"format": "number"}
JSON: dict[str, Any] = {"format": "json"}


def look(values: dict[str, Any]) -> tuple[list[Finding], list[Finding]]:
    """(problems, warnings) of settings given as plain values, each as (key, text)."""
    settings = msgspec.convert({"routes": [{"topic": "quiet", **NUMBER}], **values}, Settings)
    meaning = Meaning(lambda key: Place("f", 1, 1))
    meaning.look_at(settings, list(enumerate(settings.routes)))
    return [(one.key, one.text) for one in meaning.problems], [(one.key, one.text) for one in meaning.warnings]


def test_settings_that_are_in_order() -> None:
    assert look({}) == ([], [])


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        ({"mqtt": {"host": " "}}, "mqtt.host", "is empty"),
        ({"mqtt": {"host": "mqtt://broker"}}, "mqtt.host", "is a URL"),
        ({"mqtt": {"root": "a/+"}}, "mqtt.root", "wildcard"),
        ({"mqtt": {"root": ""}}, "mqtt.root", "is empty"),
        ({"mqtt": {"root": "a//b"}}, "mqtt.root", "empty level"),
        ({"mqtt": {"root": "$edge"}}, "mqtt.root", "begins with `$`"),
        ({"mqtt": {"backoff_min_s": 9, "backoff_max_s": 3}}, "mqtt.backoff_min_s", "is more than `backoff_max_s`, 3"),
        ({"mqtt": {"tls": {"cert_file": "c"}}}, "mqtt.tls.cert_file", "without `key_file`"),
        ({"mqtt": {"tls": {"key_file": "k"}}}, "mqtt.tls.key_file", "without `cert_file`"),
        ({"writer": {"timezone": "Europe/Berln"}}, "writer.timezone", "did you mean `Europe/Berlin`?"),
        ({"writer": {"timezone": "../etc/passwd"}}, "writer.timezone", "no time zone"),
        ({"writer": {"timezone": ""}}, "writer.timezone", "write a name such as `Europe/Berlin`"),
        ({"state_dir": ""}, "state_dir", "is empty"),
        ({"routes": [{"topic": "a/#/b", **NUMBER}]}, "routes[0].topic", "`a/#/b` has `#`"),
        ({"routes": [{"topic": "edge/#", **NUMBER}]}, "routes[0].topic", "its own messages"),
        ({"routes": [{"topic": "edge/gateway-1/health", **JSON}]}, "routes[0].topic", "its own messages"),
        ({"routes": [{"topic": "a/+", "stream": "{3}", **NUMBER}]}, "routes[0].stream", "have 2 levels"),
        ({"routes": [{"topic": "a", "stream": "{x}", **JSON}]}, "routes[0].stream", "unknown placeholder `{x}`"),
        ({"routes": [{"topic": "a", "value": ["v", "v"], **JSON}]}, "routes[0].value[1]", "stands twice"),
        ({"routes": [{"topic": "a", "value": ["a..b"], **JSON}]}, "routes[0].value[0]", "empty step"),
        ({"routes": [{"topic": "a", "time": ".t", **JSON}]}, "routes[0].time", "empty step"),
        ({"routes": [{"topic": "a", "timezone": "Mars", **JSON}]}, "routes[0].timezone", "no time zone `Mars`"),
        (
            {"mqtt": {"protocol": "3.1.1"}, "routes": [{"topic": "$share/g/a", **NUMBER}]},
            "routes[0].topic",
            "which MQTT 3.1.1 does not have",
        ),
    ],
)
def test_problems(values: dict[str, Any], key: str, said: str) -> None:
    problems, _ = look(values)
    assert [one[0] for one in problems] == [key]
    assert said in problems[0][1]


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        ({"routes": []}, "routes", "nothing is listened to"),
        ({"mqtt": {"port": 8883}}, "mqtt.port", "no `tls:`"),
        ({"mqtt": {"password_file": "p"}}, "mqtt.password_file", "without `username`"),
        ({"mqtt": {"host": "10.0.0.1", "username": "u", "password_file": "p"}}, "mqtt.password_file", "unencrypted"),
        ({"mqtt": {"tls": {"insecure_skip_hostname": True}}}, "mqtt.tls.insecure_skip_hostname", "believed"),
        ({"routes": [{"topic": "a/+", "stream": "x", **NUMBER}]}, "routes[0].stream", "mixed"),
        ({"routes": [{"topic": "a", "value": ["temp"], "units": {"tmp": "K"}, **JSON}]}, "routes[0].units.tmp", "`temp`"),
        (
            {"routes": [{"topic": "a/#", **NUMBER}, {"topic": "b", **NUMBER}, {"topic": "a/+/c", **NUMBER}]},
            "routes[2].topic",
            "routes[0] takes them all",
        ),
    ],
)
def test_warnings(values: dict[str, Any], key: str, said: str) -> None:
    problems, warnings = look(values)
    assert problems == []
    assert [one[0] for one in warnings] == [key]
    assert said in warnings[0][1]


@pytest.mark.parametrize(
    "values",
    [
        {"mqtt": {"host": "::1", "username": "u", "password_file": "p"}},
        {"mqtt": {"host": "localhost", "username": "u", "password_file": "p"}},
        {"mqtt": {"host": "b.example", "port": 8883, "username": "u", "password_file": "p", "tls": {"ca_file": "c"}}},
        {"routes": [{"topic": "#", **NUMBER}, {"topic": "$SYS/#", **NUMBER}]},
        {"routes": [{"topic": "edge/other/#", **NUMBER}]},
        {"routes": [{"topic": "a/b", **NUMBER}, {"topic": "a/+", **NUMBER}]},
        {"writer": {"timezone": "America/Argentina/Buenos_Aires"}},
    ],
)
def test_what_is_allowed(values: dict[str, Any]) -> None:
    assert look(values) == ([], [])


def test_several_findings_come_together() -> None:
    problems, warnings = look(
        {"mqtt": {"host": " ", "root": "", "port": 8883}, "routes": [{"topic": "##", **JSON}, {"topic": "a+", **JSON}]}
    )
    assert [key for key, _ in problems] == ["mqtt.host", "mqtt.root", "routes[0].topic", "routes[1].topic"]
    assert [key for key, _ in warnings] == ["mqtt.port"]
