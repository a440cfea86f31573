"""What a backend has to do, tried on the smallest ones there can be."""

from __future__ import annotations

import pytest

from edge_agent.errors import InputError, LinkError
from edge_agent.escalate import Backend


class Scripted:
    """Answers, or fails, as it was told."""

    def __init__(self, outcome: str | Exception) -> None:
        self._outcome = outcome
        self.sent: list[bytes] = []

    def ask(self, request: bytes, timeout_s: float) -> str:
        self.sent.append(request)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def test_a_backend_sends_exactly_what_it_is_given() -> None:
    scripted = Scripted("<stream:0> went silent .")
    backend: Backend = scripted
    assert backend.ask(b"request", 1.0) == "<stream:0> went silent ."
    assert scripted.sent == [b"request"]


@pytest.mark.parametrize("refusal", [LinkError("no route"), InputError("too-long")])
def test_failing_for_now_and_refusing_for_good_are_told_apart(refusal: Exception) -> None:
    backend: Backend = Scripted(refusal)
    with pytest.raises(type(refusal)):
        backend.ask(b"request", 1.0)
