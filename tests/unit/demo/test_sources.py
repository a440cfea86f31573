"""The live source gives each reading once, when it is due."""

from __future__ import annotations

from edge_agent.demo.host import HostMetrics
from edge_agent.demo.pump import PumpLine
from edge_agent.demo.sources import HOST_INTERVAL_S, RATE_HZ, LiveSource


def test_the_line_catches_up_and_the_host_is_read_once() -> None:
    source = LiveSource(PumpLine(seed=1, pumps=2), HostMetrics())
    messages = source.due(2.0)
    assert source.readings_each() == 21
    pumps = [topic for topic, _ in messages if "/pump-" in topic]
    assert len(pumps) == 10 * int(2.0 * RATE_HZ + 1)
    assert [topic for topic, _ in messages].count("sensors/host/memory") == 1
    assert source.due(2.0) == []
    later = [topic for half_s in range(5, 25) for topic, _ in source.due(half_s / 2)]
    assert later.count("sensors/host/memory") == 20
    assert later.count("sensors/host/load") == 2, "the kernel computes it every 5 s only"


def test_it_says_when_there_is_more() -> None:
    source = LiveSource(PumpLine(seed=1), HostMetrics())
    source.due(0.0)
    assert source.next_s() == 1 / RATE_HZ
    source.due(HOST_INTERVAL_S - 0.01)
    assert source.next_s() == HOST_INTERVAL_S
    assert any("/host/" in topic for topic, _ in source.due(HOST_INTERVAL_S))


def test_every_topic_has_a_unit_known() -> None:
    source = LiveSource(PumpLine(seed=1), HostMetrics())
    source.due(0.0)
    units = source.units()
    assert {topic.rpartition("/")[2] for topic, _ in source.due(1.0)} <= set(units)
    assert units["vibration"] == "mm/s"


def test_a_silent_sensor_publishes_nothing() -> None:
    line = PumpLine(seed=1, length_s=100.0)
    source = LiveSource(line, HostMetrics())
    fault = next(fault for fault in line.faults if fault.kind == "silence")
    source.due(fault.start_s)
    topics = {topic for topic, _ in source.due(fault.end_s - 0.2)}
    assert f"sensors/{fault.stream}" not in topics
    assert len(topics) > 10
