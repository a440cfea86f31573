"""From an arrived message to its readings: which route takes a topic, and the decoder that is kept for it.

Rules: the first route that fits a topic takes all its messages. A decoder is made once a topic and kept in a bounded
cache, so that an arrival costs one dict look-up; a topic that no route takes, or whose stream cannot be named, is
remembered too. A filter that begins with a wildcard never takes the agent's own topics, or `#` would feed the agent
its own words. One owner: the screen worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

from edge_agent.config.settings import RouteSettings
from edge_agent.config.topics import filter_levels, matches
from edge_agent.decode.family import MAX_PAYLOAD_BYTES, Ledger
from edge_agent.decode.table import DECODERS
from edge_agent.errors import DecodeError
from edge_agent.values import Arrival, Reading

MAX_TOPICS = 32_768
"""Topics whose decoders are kept, about 1 KB each. When there are more, all are forgotten and made again as messages come."""

Decode: TypeAlias = Callable[[bytes, float], list[Reading]]


class Router:
    """Decodes arrivals by the routes of the configuration. `own_root` is the first levels of the agent's own topics."""

    def __init__(self, routes: Sequence[RouteSettings], own_root: str = "", max_topics: int = MAX_TOPICS) -> None:
        self._routes = tuple((filter_levels(route.topic), route) for route in routes)
        self._own = f"{own_root}/" if own_root else ""
        self._max_topics = max_topics
        self._ledger = Ledger()
        self._decode: dict[str, Decode] = {}

    def decode(self, arrival: Arrival) -> list[Reading]:
        """The readings of a message, one at least. Raises DecodeError, and nothing else."""
        try:
            decode = self._decode[arrival.topic]
        except KeyError:
            decode = self._add(arrival.topic)
        payload = arrival.payload
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise DecodeError("too-large", f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are read")
        return decode(payload, arrival.arrived_s)

    def take_notes(self) -> dict[str, int]:
        """By reason, what was set aside since the last call within messages that did give readings."""
        return self._ledger.take()

    def route_of(self, topic: str) -> RouteSettings | None:
        """The route that takes a topic's messages."""
        levels = tuple(topic.split("/"))
        own = bool(self._own) and topic.startswith(self._own)
        for wanted, route in self._routes:
            if matches(wanted, levels) and not (own and wanted[0] in ("+", "#")):
                return route
        return None

    def _add(self, topic: str) -> Decode:
        decode = self._make(topic)
        if len(self._decode) >= self._max_topics or self._ledger.is_full:
            self._decode.clear()
            self._ledger.forget()
        self._decode[topic] = decode
        return decode

    def _make(self, topic: str) -> Decode:
        route = self.route_of(topic)
        if route is None:
            return _refusing("no-route", "no route takes this topic")
        try:
            return DECODERS[type(route)](route, topic, self._ledger).decode
        except DecodeError as problem:
            return _refusing(problem.reason, problem.detail)


def _refusing(reason: str, detail: str) -> Decode:
    def refuse(payload: bytes, arrived_s: float) -> NoReturn:
        raise DecodeError(reason, detail)

    return refuse
