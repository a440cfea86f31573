"""Latency as a subscriber sees it: a spike published until its anomaly is heard; an incident heard until its sentence is.

Rules: both ends are in this process, on one clock, and everything between is real: broker, agent, journal, broker. Other
streams keep publishing meanwhile. The comparison of the first is a bare round trip through the same broker, of the
second the same agent without its language model.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

from edge_agent.bench.harness import GATEWAY, ROOT, Agent, BenchError, child, connected, go, read_line, running, taken
from edge_agent.bench.publisher import topic_of
from edge_agent.bench.report import Figure, percentile
from edge_agent.demo.broker import Broker
from edge_agent.messages import Topics, unescape_stream
from edge_agent.mqtt import MqttLink
from edge_agent.values import Message

STREAMS = 200
BACKGROUND_HZ = 1000.0
WARM_S = 20.0
SPIKE_VALUE = b'{"value": 90.0}'
GAP_S = 0.25
SETTLE_S = 5.0
TOPICS = Topics(ROOT, GATEWAY)
ECHO = "echo/bench"


def measure(broker: Broker, spikes: int) -> Iterator[Figure]:
    """Latencies with the writer and without it, over `spikes` spikes on as many streams (at most one an asset)."""
    spikes = min(spikes, STREAMS // 10)
    echo_ms = _round_trips(broker, 200)
    with_writer = _run(broker, spikes, writer=True)
    without = _run(broker, spikes, writer=False)
    for percent in (50, 95, 99):
        yield Figure(
            part="latency",
            name=f"spike published to anomaly heard, p{percent}",
            value=percentile(with_writer.anomalies_ms, percent),
            unit="ms",
            n=len(with_writer.anomalies_ms),
            against="round trip through the broker alone",
            against_value=percentile(echo_ms, percent),
            note="" if len(with_writer.anomalies_ms) == spikes else f"{spikes - len(with_writer.anomalies_ms)} were not heard",
        )
    for percent in (50, 95):
        yield Figure(
            part="latency",
            name=f"incident heard to sentence heard, p{percent}",
            value=percentile(with_writer.sentences_ms, percent),
            unit="ms",
            n=len(with_writer.sentences_ms),
            against="template only",
            against_value=percentile(without.sentences_ms, percent),
        )


class _Heard:
    """What one run heard, in milliseconds. One owner."""

    def __init__(self) -> None:
        self.anomalies_ms: list[float] = []
        self.sentences_ms: list[float] = []
        self._published_s: dict[str, float] = {}
        self._opened_s: dict[str, float] = {}

    def published(self, stream: str, now_s: float) -> None:
        """A spike of a stream was published."""
        self._published_s[stream] = now_s

    def take(self, topic: str, payload: bytes, now_s: float) -> None:
        """One message of the agent. Each stream and each incident counts once."""
        head, _, rest = topic.removeprefix(TOPICS.base + "/").partition("/")
        if head == "anomaly":
            since_s = self._published_s.pop(unescape_stream(rest), None)
            if since_s is not None:
                self.anomalies_ms.append((now_s - since_s) * 1e3)
        elif head == "incident" and payload and json.loads(payload)["revision"] == 1:
            self._opened_s[rest] = now_s
        elif head == "summary" and rest:
            since_s = self._opened_s.pop(rest, None)
            if since_s is not None:
                self.sentences_ms.append((now_s - since_s) * 1e3)


def _run(broker: Broker, spikes: int, *, writer: bool) -> _Heard:
    heard = _Heard()
    background = int(BACKGROUND_HZ * (WARM_S + spikes * GAP_S + SETTLE_S))
    arguments = ("--messages", str(background), "--streams", str(STREAMS), "--rate-hz", str(BACKGROUND_HZ))
    with contextlib.ExitStack() as stack:
        agent = stack.enter_context(running(broker, writer=writer))
        viewer = stack.enter_context(connected(broker, "bench-viewer", [(TOPICS.base + "/#", 0)]))
        speaker = stack.enter_context(connected(broker, "bench-speaker"))
        publisher = stack.enter_context(child("edge_agent.bench.publisher", "--port", str(broker.port), *arguments))
        read_line(publisher)
        go(publisher)
        _warm(agent)
        taken(viewer, 0.0)
        for number in range(spikes):
            # One stream an asset, so that each spike is an incident of its own.
            topic = topic_of(number * 10)
            heard.published(topic.removeprefix("bench/"), time.monotonic())
            speaker.publish(Message(topic=topic, payload=SPIKE_VALUE, qos=0))
            _listen(viewer, heard, GAP_S)
        _listen(viewer, heard, SETTLE_S)
    return heard


def _warm(agent: Agent) -> None:
    needed = int(STREAMS * 80)
    if not agent.wait_for_readings(needed, WARM_S * 3):
        raise BenchError(f"the agent did not screen {needed} readings at {BACKGROUND_HZ:.0f} a second")


def _listen(viewer: MqttLink, heard: _Heard, for_s: float) -> None:
    until_s = time.monotonic() + for_s
    while (left_s := until_s - time.monotonic()) > 0:
        for arrival in viewer.drain(1, left_s):
            heard.take(arrival.topic, arrival.payload, time.monotonic())


def _round_trips(broker: Broker, count: int) -> list[float]:
    took_ms = []
    with connected(broker, "bench-echo", [(ECHO, 0)]) as viewer, connected(broker, "bench-caller") as speaker:
        for number in range(count):
            started_s = time.monotonic()
            speaker.publish(Message(topic=ECHO, payload=b"%d" % number, qos=0))
            heard = viewer.drain(1, 5.0)
            if heard and heard[0].payload == b"%d" % number:
                took_ms.append((time.monotonic() - started_s) * 1e3)
            taken(speaker, 0.0)
    return took_ms
