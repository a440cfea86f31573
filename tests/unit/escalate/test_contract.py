"""What a backend has to do, tried on the smallest one there can be; the real ones are held to it in `tests/contract`."""

from __future__ import annotations

import pytest

from edge_agent.egress.question import Question
from edge_agent.errors import BackendRefusalError, InputError, LinkError, TryLaterError
from edge_agent.escalate.contract import Backend, Reply, Request, Usage


class Echo:
    """Answers with the id of what it was asked, or fails as it was told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    def encode(self, question: Question) -> tuple[bytes, Usage]:
        body = question.id.encode()
        return body, Usage(bytes=len(body))

    def send(self, request: Request) -> Reply | None:
        if self._failure is not None:
            raise self._failure
        return Reply(id=request.id, text=request.body.decode())

    def collect(self) -> list[Reply]:
        return []


def test_what_is_encoded_is_what_is_sent() -> None:
    backend: Backend = Echo()
    body, usage = backend.encode(Question(id="q-1", chunks=()))
    assert backend.send(Request(id="q-1", body=body)) == Reply(id="q-1", text="q-1")
    assert (usage.tokens, usage.bytes, usage.money) == (0, 3, 0.0)
    assert backend.collect() == []


@pytest.mark.parametrize(
    ("failure", "kind"), [(TryLaterError("timeout"), LinkError), (BackendRefusalError("status-401", breaks=True), InputError)]
)
def test_failing_for_now_and_refusing_for_good_are_told_apart(failure: Exception, kind: type[Exception]) -> None:
    backend: Backend = Echo(failure)
    with pytest.raises(kind):
        backend.send(Request(id="q-1", body=b""))
