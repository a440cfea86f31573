"""The `mqtt` backend: questions as CloudEvents on a topic of the agent's own broker; answers come as requests.

A question is an event in JSON (CloudEvents 1.0, JSON format, structured mode). Its `id` is that of the question, the same
however often it is asked, so that whoever answers can tell a repetition. `source` names no gateway: the topic tells whom the
event is from, and whoever passes it on outside of the broker need not. There is no `time`: the same question always gives the
same bytes.

Rules: `send` only queues; the journal's outbox keeps the message until the broker confirmed it, over outages and restarts.
Answers come on `request/answer` and are handed to the escalate worker by the one for requests, never through here.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from edge_agent.egress.question import Question, document
from edge_agent.errors import StorageError, TryLaterError
from edge_agent.escalate.contract import Reply, Request, Usage
from edge_agent.values import Message

SOURCE = "edge-agent"
EVENT_TYPE = "edge-agent.question.v1"
PACKET_BYTES = 64
"""At most taken by what stands around topic and payload in a PUBLISH packet."""


class MqttBackend:
    """Publishes questions on `topic`, through `queue`, which returns once a message is on disk. See `contract.Backend`."""

    def __init__(self, topic: str, queue: Callable[[Message], None]) -> None:
        self._topic = topic
        self._queue = queue

    def encode(self, question: Question) -> tuple[bytes, Usage]:
        """See `contract.Backend.encode`: the event. What it takes is bytes only, one delivery of it. Raises EgressError."""
        event = {
            "specversion": "1.0",
            "id": question.id,
            "source": SOURCE,
            "type": EVENT_TYPE,
            "datacontenttype": "application/json",
            "data": msgspec.Raw(document(question)),
        }
        body = msgspec.json.encode(event)
        return body, Usage(bytes=len(body) + len(self._topic.encode()) + PACKET_BYTES)

    def send(self, request: Request) -> Reply | None:
        """See `contract.Backend.send`: None, because every answer comes later. Raises TryLaterError (`journal`)."""
        try:
            self._queue(Message(topic=self._topic, payload=request.body))
        except StorageError as error:
            raise TryLaterError("journal", str(error)) from error
        return None

    def collect(self) -> list[Reply]:
        """See `contract.Backend.collect`: nothing comes this way."""
        return []
