"""Ingest from end to end: MQTT through detection, beside a bare paho loop on the same broker; and bursts.

Rules: both sides get the same flood from the same process and are timed by the same clock, from the word to begin until
the last message is counted. The agent's streams are warm before its clock starts. Runs take turns, and the median counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from edge_agent.bench.baseline import PROTOCOLS
from edge_agent.bench.harness import Agent, child, go, read_line, running
from edge_agent.bench.report import Figure
from edge_agent.demo.broker import Broker

STREAMS = 1000
WARM_READINGS = 80
"""A stream's readings before the clock starts: more than the detectors' warm-up."""
BURST_MESSAGES = 1000
BURST_S = 0.2
GIVE_UP_S = 180.0


def measure(broker: Broker, messages: int, runs: int) -> Iterator[Figure]:
    """Ingest at QoS 0 and QoS 1, and bursts."""
    for qos in (0, 1):
        bare: dict[str, list[float]] = {protocol: [] for protocol in PROTOCOLS}
        ours: list[float] = []
        with running(broker, qos=qos) as agent:
            first = _warm_up(agent, broker, qos)
            for _ in range(runs):
                for protocol, rates in bare.items():
                    rates.append(_bare(broker, messages, qos, protocol))
                ours.append(_ours(agent, broker, messages, qos, first))
                first += messages
            drops = sum(agent.drops().values())
            for protocol, rates in bare.items():
                yield _figure(qos, ours, rates, protocol, messages * runs, drops)
            if qos == 0:
                yield _bursts(agent, broker, first)


def _figure(qos: int, ours: list[float], bare: list[float], protocol: str, n: int, drops: int) -> Figure:
    acknowledged = ", acknowledged after screening" if qos else ""
    return Figure(
        part="ingest",
        name=f"QoS {qos}, {STREAMS:,} streams, JSON, MQTT 5{acknowledged}",
        value=statistics.median(ours),
        unit="msg/s",
        n=n,
        against=f"bare paho loop, MQTT {protocol}",
        against_value=statistics.median(bare),
        aim="0.8 of it" if qos == 0 and protocol == "5" else "",
        note=f"{statistics.median(ours) / statistics.median(bare):.2f} of it; {drops} dropped; median of {len(ours)} runs",
    )


def _warm_up(agent: Agent, broker: Broker, qos: int) -> int:
    count = STREAMS * WARM_READINGS
    _flood(agent, broker, count, qos, 0)
    return count


def _bare(broker: Broker, messages: int, qos: int, protocol: str) -> float:
    """Messages a second of the bare loop."""
    arguments = ("--port", str(broker.port), "--messages", str(messages), "--qos", str(qos))
    with (
        child("edge_agent.bench.baseline", *arguments, "--protocol", protocol) as counting,
        child("edge_agent.bench.publisher", *arguments, "--streams", str(STREAMS)) as publisher,
    ):
        read_line(counting)
        read_line(publisher)
        started_s = time.monotonic()
        go(publisher)
        read_line(counting)
        return messages / (time.monotonic() - started_s)


def _ours(agent: Agent, broker: Broker, messages: int, qos: int, first: int) -> float:
    """Messages a second of the agent."""
    return messages / _flood(agent, broker, messages, qos, first)


def _flood(agent: Agent, broker: Broker, messages: int, qos: int, first: int, rate_hz: float = 0.0) -> float:
    """Seconds from the word to begin until the agent has screened all. Raises BenchError when it never has."""
    before = agent.readings()
    arguments = ("--port", str(broker.port), "--messages", str(messages), "--qos", str(qos), "--rate-hz", str(rate_hz))
    with child("edge_agent.bench.publisher", *arguments, "--streams", str(STREAMS), "--first", str(first)) as publisher:
        read_line(publisher)
        started_s = time.monotonic()
        go(publisher)
        read_line(publisher)
        agent.wait_for_readings(before + messages, GIVE_UP_S)
        return time.monotonic() - started_s


def _bursts(agent: Agent, broker: Broker, first: int, bursts: int = 5) -> Figure:
    before, dropped = agent.readings(), sum(agent.drops().values())
    for burst in range(bursts):
        _flood(agent, broker, BURST_MESSAGES, 0, first + burst * BURST_MESSAGES, BURST_MESSAGES / BURST_S)
    missing = bursts * BURST_MESSAGES - (agent.readings() - before)
    counted = sum(agent.drops().values()) - dropped
    return Figure(
        part="ingest",
        name=f"dropped in {bursts} bursts of {BURST_MESSAGES:,} in {BURST_S * 1000:.0f} ms",
        value=float(missing),
        unit="messages",
        n=bursts * BURST_MESSAGES,
        aim="0",
        note=f"{counted} counted as dropped by the agent",
    )
