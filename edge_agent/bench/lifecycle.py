"""Start and memory of the agent's process: to READY with and without models; idle, under load, after an hour's worth.

Rules: starts take turns and the median counts; the first one, which reads files from the disk, is thrown away. An hour's
worth is an hour of readings at one a second of each stream, sent as fast as they are taken; growth is what was added
after its first quarter, when every buffer has been filled once.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from edge_agent.bench.harness import Agent, BenchError, MemoryUse, child, cpu_s_of, go, memory_of, read_line, running
from edge_agent.bench.report import Figure
from edge_agent.demo.broker import Broker

HOUR_S = 3600
HOUR_STREAMS = 100
IDLE_S = 5.0
GIVE_UP_S = 300.0


def measure_start(broker: Broker, runs: int) -> Iterator[Figure]:
    """Start to READY, with models and without."""
    took: dict[bool, list[float]] = {True: [], False: []}
    for run in range(runs + 1):
        for writer in (True, False):
            with running(broker, writer=writer) as agent:
                if run:
                    took[writer].append(agent.started_in_s * 1e3)
    bare = [_bare_start_ms() for _ in range(runs + 1)][1:]
    for writer, name in ((True, "start to READY, with the language model"), (False, "start to READY, without it")):
        yield Figure(
            part="start",
            name=name,
            value=statistics.median(took[writer]),
            unit="ms",
            n=runs,
            against="a Python process that imports numpy",
            against_value=statistics.median(bare),
        )


def _bare_start_ms() -> float:
    started_s = time.monotonic()
    subprocess.run((sys.executable, "-c", "import numpy"), check=True, timeout=60)
    return (time.monotonic() - started_s) * 1e3


def measure_memory(broker: Broker, hour_s: int = HOUR_S) -> Iterator[Figure]:
    """Memory idle, under load, and after an hour's worth of readings; processor time of the hour."""
    bare = _bare_memory()
    with running(broker) as agent:
        time.sleep(IDLE_S)
        yield from _figures("idle", memory_of(agent.pid), bare, 1)
        under_load: list[MemoryUse] = []
        started_cpu_s = cpu_s_of(agent.pid)
        quarter = hour_s // 4 * HOUR_STREAMS
        after: list[MemoryUse] = []
        for part in range(4):
            _replay(agent, broker, quarter, part * quarter, under_load)
            after.append(memory_of(agent.pid))
        cpu_s = cpu_s_of(agent.pid) - started_cpu_s
        most = max(under_load, key=lambda use: use.pss_mb) if under_load else after[-1]
        yield from _figures("under load", most, bare, len(under_load))
        readings = 4 * quarter
        yield from _figures(f"after an hour of {HOUR_STREAMS} streams at 1 Hz", after[-1], bare, readings)
        yield Figure(
            part="memory",
            name="growth after the first quarter, PSS",
            value=after[-1].pss_mb - after[0].pss_mb,
            unit="MB",
            n=readings - quarter,
            aim="0",
            note="PSS after each quarter: " + ", ".join(f"{use.pss_mb:.1f}" for use in after) + " MB",
        )
        yield Figure(part="memory", name="processor time of that hour", value=cpu_s, unit="s", n=readings)


def _figures(when: str, use: MemoryUse, bare: MemoryUse, n: int) -> Iterator[Figure]:
    for kind, value, against in (("RSS", use.rss_mb, bare.rss_mb), ("PSS", use.pss_mb, bare.pss_mb)):
        yield Figure(
            part="memory",
            name=f"{when}, {kind}",
            value=value,
            unit="MB",
            n=n,
            against="a bare Python process",
            against_value=against,
        )


def _bare_memory() -> MemoryUse:
    with subprocess.Popen(
        (sys.executable, "-c", "print(flush=True); input()"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as bare:
        if bare.stdout:
            bare.stdout.readline()
        use = memory_of(bare.pid)
        bare.kill()
    return use


def _replay(agent: Agent, broker: Broker, messages: int, first: int, seen: list[MemoryUse]) -> None:
    arguments = ("--messages", str(messages), "--streams", str(HOUR_STREAMS), "--first", str(first))
    before = agent.readings()
    with child("edge_agent.bench.publisher", "--port", str(broker.port), *arguments) as publisher:
        read_line(publisher)
        go(publisher)
        give_up_s = time.monotonic() + GIVE_UP_S
        while agent.readings() < before + messages:
            seen.append(memory_of(agent.pid))
            time.sleep(0.1)
            if time.monotonic() > give_up_s:
                raise BenchError(f"{messages} readings were not screened within {GIVE_UP_S:.0f} s")
