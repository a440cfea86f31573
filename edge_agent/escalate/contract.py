"""What a backend is: something that takes a question off the device and, now or later, brings an answer back.

Rules: `encode` is pure and gives the exact bytes that `send` will put on the wire or into a file, so that they can be shown,
counted and logged before they leave; `send` sends these bytes and no others about the incident. Nothing an answer says is
believed here: it is handed on as it came, within its size limit.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from edge_agent.egress.question import Question


class Request(Struct, frozen=True, kw_only=True):
    """A question that is about to leave."""

    id: str
    """The pseudonym of incident and revision; the same for every attempt, so that the other side can tell a repetition."""
    body: bytes
    """What `encode` gave for it."""


class Usage(Struct, frozen=True, kw_only=True):
    """What one question took. Before it is sent: at most this; afterwards: as far as is known."""

    tokens: int = 0
    bytes: int = 0
    money: float = 0.0


class Reply(Struct, frozen=True, kw_only=True):
    """An answer as it came. `id` is that of the request; `text` is not parsed yet."""

    id: str
    text: str
    model: str = ""
    """Which model says that it wrote it; text from outside, at most 200 printable characters."""
    usage: Usage | None = None
    """What it took, where the other side says so."""


class Backend(Protocol):
    """A way to a stronger model. One owner: the escalate worker."""

    def encode(self, question: Question) -> tuple[bytes, Usage]:
        """The exact bytes that would leave for this question, and the most that it can take. Pure and deterministic."""

    def send(self, request: Request) -> Reply | None:
        """Send a request; its reply, or None where it comes later. Bounded in time.

        Raises TryLaterError when the same question may be asked again, BackendRefusalError when the refusal is final.
        """

    def collect(self) -> list[Reply]:
        """Replies that came by another way than `send`, also to requests of an earlier process. Does not wait.

        The call after says that what this one gave is on disk: only then is a reply removed from wherever it came from, so
        that after a kill it is given once more. What is no reply is set aside with its reason. Raises TryLaterError.
        """
