"""The family of backends: by the name in the configuration, what opens one and where its questions go.

A backend's module is imported when it is opened and not before: the HTTP library alone takes 14 MB of memory.

Rules: opening does no I/O and asks nobody; `fingerprint` reads the files that the settings name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.config.endpoint import parse_endpoint
from edge_agent.config.settings import EscalationSettings, Settings
from edge_agent.egress.question import Question
from edge_agent.errors import ConfigError
from edge_agent.escalate import breaker
from edge_agent.escalate.contract import Backend, Request
from edge_agent.messages import Topics
from edge_agent.values import Message

SPOOL_NAME = "spool"
"""The spool's folder in the state folder."""
MAX_SECRET_BYTES = 65_536


class Needs(Struct, frozen=True, kw_only=True):
    """What backends need of the agent. `queue` puts a message into the journal's outbox; it is on disk when it returns."""

    settings: Settings
    queue: Callable[[Message], None]
    clock: Clock

    @property
    def escalation(self) -> EscalationSettings:
        """The section of the settings that is about them."""
        return self.settings.escalation


class Member(Struct, frozen=True, kw_only=True):
    """One of the family."""

    open: Callable[[Needs], Backend]
    """May raise ConfigError."""
    destination: Callable[[Settings], str]
    """Where questions go, in words without secrets: a host with its port, a topic, or a folder."""
    envelope: Callable[[Needs, Request], str]
    """What goes with a request's body, in lines for people, without secrets. Nothing is sent. May raise ConfigError."""
    bodies: Callable[[Needs, Question], Sequence[bytes]]
    """Every body that `encode` may give for a question, the first one in front. May raise ConfigError, EgressError."""


def _open_openai(needs: Needs) -> Backend:
    from edge_agent.escalate.openai import OpenAiBackend

    return OpenAiBackend(needs.escalation.openai, needs.clock)


def _open_mqtt(needs: Needs) -> Backend:
    from edge_agent.escalate.mqtt import MqttBackend

    return MqttBackend(_topic(needs.settings), needs.queue)


def _open_spool(needs: Needs) -> Backend:
    from edge_agent.escalate.spool import SpoolBackend

    owned = not needs.escalation.spool.folder
    return SpoolBackend(_folder(needs.settings), needs.clock, owned=owned, max_questions=needs.escalation.max_waiting)


def _http_head(needs: Needs, request: Request) -> str:
    from edge_agent.escalate.openai import OpenAiBackend

    return OpenAiBackend(needs.escalation.openai, needs.clock).head(request)


def _http_bodies(needs: Needs, question: Question) -> Sequence[bytes]:
    from edge_agent.escalate.openai import OpenAiBackend

    return OpenAiBackend(needs.escalation.openai, needs.clock).bodies(question)


def _one_body(needs: Needs, question: Question) -> Sequence[bytes]:
    return (open_backend(needs).encode(question)[0],)


def _publish(needs: Needs, request: Request) -> str:
    return f"PUBLISH {_topic(needs.settings)}\nQoS 1, not retained"


def _file(needs: Needs, request: Request) -> str:
    from edge_agent.escalate.spool import question_path

    return f"file {question_path(_folder(needs.settings), request.id)}"


def _server(settings: Settings) -> str:
    endpoint = parse_endpoint(settings.escalation.openai.url)
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}"


def _topic(settings: Settings) -> str:
    return settings.escalation.mqtt.topic or Topics(settings.mqtt.root, settings.gateway.id).question


def _folder(settings: Settings) -> Path:
    return Path(settings.escalation.spool.folder or Path(settings.state_dir) / SPOOL_NAME)


BACKENDS: Mapping[str, Member] = {
    "openai": Member(open=_open_openai, destination=_server, envelope=_http_head, bodies=_http_bodies),
    "mqtt": Member(open=_open_mqtt, destination=_topic, envelope=_publish, bodies=_one_body),
    "spool": Member(open=_open_spool, destination=lambda settings: str(_folder(settings)), envelope=_file, bodies=_one_body),
}


def open_backend(needs: Needs) -> Backend:
    """The backend that is configured. Raises ConfigError where none is, or where its settings cannot work."""
    member = BACKENDS.get(needs.escalation.backend)
    if member is None:
        raise ConfigError((f"escalation.backend: is {needs.escalation.backend}; one of {', '.join(BACKENDS)} is needed",))
    return member.open(needs)


def destination(settings: Settings) -> str:
    """Where questions go, in words without secrets; settings that `check` accepts have one unless the backend is none."""
    return BACKENDS[settings.escalation.backend].destination(settings)


def bodies(needs: Needs, question: Question) -> Sequence[bytes]:
    """Every body that may leave for a question by the backend that is configured, the one that is tried first in front."""
    return BACKENDS[needs.escalation.backend].bodies(needs, question)


def envelope(needs: Needs, request: Request) -> str:
    """What would go with the body of a request to the backend that is configured, in lines for people, without secrets."""
    return BACKENDS[needs.escalation.backend].envelope(needs, request)


def fingerprint(settings: Settings) -> str:
    """One word for everything a person can change so that a backend that refused answers again: its settings and its secrets.

    A file that cannot be read counts as an empty one.
    """
    escalation = settings.escalation
    tls = escalation.openai.tls
    files = (escalation.openai.key_file, *((tls.ca_file, tls.cert_file, tls.key_file) if tls is not None else ()))
    own = {"openai": escalation.openai, "mqtt": escalation.mqtt, "spool": escalation.spool}.get(escalation.backend)
    parts = (escalation.backend.encode(), msgspec.json.encode(own), *(_content(file) for file in files if file))
    return breaker.fingerprint(parts)


def _content(file: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MAX_SECRET_BYTES)
    except OSError:
        return b""
