"""Links as tests want them: short waits, and always stopped again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edge_agent.clock import SystemClock
from edge_agent.config.settings import MqttSettings
from edge_agent.mqtt import MqttLink, Request
from edge_agent.values import Arrival, Message
from tests.mqtt_client import WAIT_S, wait_until

STATUS = "edge/gw/status"
WILL = Message(topic=STATUS, payload=b"offline", retain=True)
ONLINE = Message(topic=STATUS, payload=b"online", retain=True)
STOPPED = Message(topic=STATUS, payload=b"stopped", retain=True)


def settings_for(port: int, **changes: Any) -> MqttSettings:
    """Settings with waits of a tenth of a second; `changes` are fields of MqttSettings."""
    return MqttSettings(**{"port": port, "backoff_min_s": 0.05, "backoff_max_s": 0.2, **changes})


def new_link(
    settings: MqttSettings,
    subscriptions: Sequence[tuple[str, int]] = (("plant/#", 1),),
    birth: Callable[[], Sequence[Message]] = lambda: (ONLINE,),
    farewell: Callable[[], Sequence[Message]] = lambda: (STOPPED,),
    gateway: str = "gw",
) -> MqttLink:
    """A link that is not started."""
    return MqttLink(settings, gateway, subscriptions, WILL, birth, SystemClock(), random.Random(1), farewell)


@contextmanager
def running(link: MqttLink, connect: bool = True) -> Iterator[MqttLink]:
    """The link, started and, unless told otherwise, connected, until the block ends."""
    link.start()
    try:
        assert not connect or link.wait_connected(WAIT_S), f"not connected: {link.counters}"
        yield link
    finally:
        link.stop(5.0)


def drain_until(link: MqttLink, count: int, timeout_s: float = WAIT_S) -> list[Arrival]:
    """At least `count` arrivals; fails when they do not come in time."""
    got: list[Arrival] = []

    def enough() -> bool:
        got.extend(link.drain(1_000, 0.05))
        return len(got) >= count

    wait_until(enough, timeout_s, f"{count} arrivals (have {[item.topic for item in got[:5]]}...)")
    return got


def requests_until(link: MqttLink, count: int = 1) -> list[Request]:
    """At least `count` requests; fails when they do not come in time."""
    got: list[Request] = []

    def enough() -> bool:
        got.extend(link.requests())
        return len(got) >= count

    wait_until(enough, what=f"{count} requests")
    return got
