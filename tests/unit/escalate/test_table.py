"""The family: opened by name, told apart by what a person can change, and not imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from msgspec import convert

from edge_agent.clock import SystemClock
from edge_agent.config.settings import EscalationSettings, Settings
from edge_agent.errors import ConfigError
from edge_agent.escalate.contract import Request
from edge_agent.escalate.mqtt import MqttBackend
from edge_agent.escalate.openai import OpenAiBackend
from edge_agent.escalate.spool import SpoolBackend
from edge_agent.escalate.table import BACKENDS, Needs, bodies, destination, envelope, fingerprint, open_backend
from edge_agent.values import Message
from tests.escalation.questions import asked

OPENAI: dict[str, Any] = {"url": "https://me.example:8443/v1?key=secret-1", "model": "m"}


def settings(state_dir: Path, **escalation: Any) -> Settings:
    return convert({"state_dir": str(state_dir), "escalation": escalation}, Settings)


def needs(given: Settings, queued: list[Message] | None = None) -> Needs:
    return Needs(settings=given, queue=(queued if queued is not None else []).append, clock=SystemClock())


def test_the_table_holds_every_backend_that_can_be_configured() -> None:
    assert ["none", *BACKENDS] == list(get_args(get_type_hints(EscalationSettings)["backend"]))


@pytest.mark.parametrize(("name", "kind"), [("openai", OpenAiBackend), ("mqtt", MqttBackend), ("spool", SpoolBackend)])
def test_each_is_opened_by_its_name_without_touching_anything(tmp_path: Path, name: str, kind: type) -> None:
    assert isinstance(open_backend(needs(settings(tmp_path, backend=name, openai=OPENAI))), kind)
    assert list(tmp_path.iterdir()) == []


def test_none_is_no_backend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of openai, mqtt, spool"):
        open_backend(needs(settings(tmp_path)))


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        open_backend(needs(settings(tmp_path, backend="openai")))


@pytest.mark.parametrize(
    ("escalation", "expected"),
    [
        ({"backend": "openai", "openai": OPENAI}, "me.example:8443"),
        ({"backend": "openai", "openai": {"url": "http://[::1]/v1", "model": "m"}}, "[::1]:80"),
        ({"backend": "mqtt"}, "edge/gateway-1/question"),
        ({"backend": "mqtt", "mqtt": {"topic": "up/q"}}, "up/q"),
        ({"backend": "spool"}, "/var/spool-test/spool"),
        ({"backend": "spool", "spool": {"folder": "/media/stick"}}, "/media/stick"),
    ],
)
def test_where_questions_go_is_told_without_secrets(escalation: dict[str, Any], expected: str) -> None:
    assert destination(settings(Path("/var/spool-test"), **escalation)) == expected


def test_what_goes_with_a_body_is_told_without_secrets_and_without_touching_anything(tmp_path: Path) -> None:
    request = Request(id="q-0123456789abcdef01234567", body=b"{}")
    head = envelope(needs(settings(tmp_path, backend="openai", openai={**OPENAI, "key_file": "/no/key"})), request)
    assert head.startswith("POST /v1/chat/completions?(query from the configuration) HTTP/1.1\r\n")
    assert "Authorization: Bearer (from key_file)" in head
    assert f"Idempotency-Key: {request.id}" in head
    assert "secret" not in head
    publish = envelope(needs(settings(tmp_path, backend="mqtt")), request)
    assert publish == "PUBLISH edge/gateway-1/question\nQoS 1, not retained"
    assert envelope(needs(settings(tmp_path, backend="spool")), request) == (
        f"file {tmp_path}/spool/questions/{request.id}.question.json"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "count"), [("openai", 16), ("mqtt", 1), ("spool", 1)])
def test_every_body_that_may_leave_for_a_question_is_told(tmp_path: Path, name: str, count: int) -> None:
    own, question = needs(settings(tmp_path, backend=name, openai=OPENAI)), asked().question
    told = bodies(own, question)
    assert told[0] == open_backend(own).encode(question)[0]
    assert len(set(told)) == len(told) == count
    assert all(question.id.encode() in body for body in told)


def test_a_fingerprint_changes_with_settings_and_with_secrets(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("first")

    def of(**more: Any) -> str:
        return fingerprint(settings(tmp_path, backend="openai", openai={**OPENAI, "key_file": str(key), **more}))

    first = of()
    assert of() == first
    assert of(model="n") != first
    key.write_text("second")
    second = of()
    assert second != first
    key.unlink()
    assert of() not in (first, second)
    assert "first" not in first


def test_a_fingerprint_does_not_change_with_what_other_backends_have(tmp_path: Path) -> None:
    assert fingerprint(settings(tmp_path, backend="mqtt", openai=OPENAI)) == fingerprint(settings(tmp_path, backend="mqtt"))
    assert fingerprint(settings(tmp_path, backend="mqtt")) != fingerprint(settings(tmp_path, backend="spool"))


def test_the_http_library_is_loaded_only_where_it_is_chosen() -> None:
    program = """
import sys
from edge_agent.clock import SystemClock
from edge_agent.config.settings import EscalationSettings, Settings
from edge_agent.escalate.table import Needs, open_backend
chosen = Settings(escalation=EscalationSettings(backend="spool"))
open_backend(Needs(settings=chosen, queue=print, clock=SystemClock()))
print("urllib3" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout == "False\n"
