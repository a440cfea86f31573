"""The messages that were handed to the link and not settled: which one a token stands for, and when one may leave the outbox.

Rules: pure; one owner. A confirmed message leaves the outbox only when no older one of its topic is unsettled. A broker
confirms in order, so nothing waits for that as a rule; but where it refused an older one for now, the newer ones of the
topic are sent once more after it, so that the last word on a topic is always the newest.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from msgspec import Struct


class _State(Enum):
    FLYING = 1
    CONFIRMED = 2
    REFUSED = 3


class _Sent(Struct):
    number: int
    state: _State = _State.FLYING


class Flight:
    """Messages by token, and by topic in the order of their numbers in the outbox, which is the order of `add`."""

    def __init__(self) -> None:
        self._flying: dict[int, tuple[str, _Sent]] = {}
        self._topics: dict[str, deque[_Sent]] = {}
        self._numbers: set[int] = set()

    def __len__(self) -> int:
        """Messages whose outcome is not known."""
        return len(self._flying)

    def __contains__(self, number: int) -> bool:
        """Whether a message of the outbox was handed over and not settled."""
        return number in self._numbers

    def add(self, token: int, number: int, topic: str) -> None:
        """A message was handed over."""
        sent = _Sent(number)
        self._flying[token] = topic, sent
        self._topics.setdefault(topic, deque()).append(sent)
        self._numbers.add(number)

    def number(self, token: int) -> int | None:
        """The number that a token stands for; None for one that is not under way."""
        found = self._flying.get(token)
        return found[1].number if found is not None else None

    def confirmed(self, token: int) -> list[int]:
        """The broker has it. Returns the numbers that may leave the outbox now."""
        topic, sent = self._flying.pop(token)
        sent.state = _State.CONFIRMED
        return self._released(topic)

    def refused(self, token: int) -> None:
        """The broker may take it later: until `again` it holds the newer ones of its topic."""
        _, sent = self._flying.pop(token)
        sent.state = _State.REFUSED

    def removed(self, token: int) -> list[int]:
        """It is given up. Returns the numbers that may leave the outbox now, without its own."""
        topic, sent = self._flying.pop(token)
        self._topics[topic].remove(sent)
        self._numbers.discard(sent.number)
        return self._released(topic)

    def again(self) -> None:
        """Forget everything: what is not settled will be handed over once more, from the oldest on."""
        self._flying.clear()
        self._topics.clear()
        self._numbers.clear()

    def _released(self, topic: str) -> list[int]:
        line = self._topics[topic]
        free = []
        while line and line[0].state is _State.CONFIRMED:
            free.append(line.popleft().number)
        if not line:
            del self._topics[topic]
        self._numbers.difference_update(free)
        return free
