"""Questions as CloudEvents, queued and nothing else."""

from __future__ import annotations

import json

import pytest

from edge_agent.egress.question import document
from edge_agent.errors import EgressError, StorageError, TryLaterError
from edge_agent.escalate.contract import Request
from edge_agent.escalate.mqtt import PACKET_BYTES, MqttBackend
from edge_agent.values import Message
from tests.escalation.questions import asked

QUESTION = asked().question


def test_a_question_is_a_cloud_event_whose_data_is_the_document() -> None:
    body, usage = MqttBackend("edge/gw/question", lambda _: None).encode(QUESTION)
    event = json.loads(body)
    assert list(event) == ["specversion", "id", "source", "type", "datacontenttype", "data"]
    assert (event["specversion"], event["id"], event["datacontenttype"]) == ("1.0", QUESTION.id, "application/json")
    assert event["data"] == json.loads(document(QUESTION))
    assert usage.bytes == len(body) + len("edge/gw/question") + PACKET_BYTES
    assert (usage.tokens, usage.money) == (0, 0.0)


def test_nothing_in_the_event_names_the_gateway() -> None:
    body, _ = MqttBackend("edge/gw-canary/question", lambda _: None).encode(QUESTION)
    assert b"canary" not in body


def test_what_the_schema_does_not_allow_is_not_encoded() -> None:
    with pytest.raises(EgressError):
        MqttBackend("t", lambda _: None).encode(asked().question.__class__(id="pump-3", chunks=()))


def test_it_is_queued_as_it_is_and_must_not_be_given_up_lightly() -> None:
    queued: list[Message] = []
    assert MqttBackend("edge/gw/question", queued.append).send(Request(id=QUESTION.id, body=b"{}")) is None
    assert queued == [Message(topic="edge/gw/question", payload=b"{}", qos=1, retain=False, supersedes=False, priority=1)]


def test_a_journal_that_refuses_is_asked_again_later() -> None:
    def refuse(message: Message) -> None:
        raise StorageError("no room")

    with pytest.raises(TryLaterError, match="journal: no room"):
        MqttBackend("t", refuse).send(Request(id=QUESTION.id, body=b"{}"))


def test_nothing_is_collected() -> None:
    assert MqttBackend("t", lambda _: None).collect() == []
