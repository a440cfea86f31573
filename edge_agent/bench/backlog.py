"""A broker that is dead for long: what it costs to queue, how fast the backlog is delivered afterwards, and memory meanwhile.

Rules: journal, deliver worker and link are the agent's own, alone in a process of their own (`queuer`), so that its memory is
theirs; the folder is on the disk that TMPDIR names. Queueing is timed one incident at a time, each durable when its time is
taken, and each beside an append and sync of the same bytes to a plain file at the same moment. Delivery is compared with a
bare paho client that publishes as many bytes at QoS 1 through the same broker and stores nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from edge_agent.bench.harness import child, read_line
from edge_agent.bench.report import Figure
from edge_agent.demo.broker import Broker

BACKLOG = 100_000
AIM_MB = 5.0


def measure(broker: Broker, backlog: int, samples: int) -> Iterator[Figure]:
    """Figures of a backlog of so many incidents, with `samples` timed ones at each of four sizes up to it."""
    arguments = ("--port", str(broker.port), "--backlog", str(backlog), "--samples", str(samples))
    with child("edge_agent.bench.queuer", *arguments) as queuer:
        while (said := json.loads(read_line(queuer)))["what"] != "end":
            yield from _figures(said)


def _figures(said: dict[str, Any]) -> Iterator[Figure]:
    match said["what"]:
        case "queued":
            for rank in ("p50", "p99"):
                yield Figure(
                    part="backlog",
                    name=f"queue one incident, {said['backlog']:,} waiting, {rank}",
                    value=said[rank],
                    unit="ms",
                    n=said["n"],
                    against="append and sync of a plain file",
                    against_value=said[f"plain_{rank}"],
                    aim="as at 0" if said["backlog"] and rank == "p99" else "",
                )
        case "memory":
            yield Figure(
                part="backlog",
                name=f"{said['when']}, growth of PSS",
                value=said["pss_mb"] - said["pss_before_mb"],
                unit="MB",
                n=said["n"],
                aim=f"{AIM_MB:.0f} MB",
                note=f"RSS {said['rss_before_mb']:.1f} MB before, {said['rss_mb']:.1f} MB then",
            )
        case "file":
            yield Figure(
                part="backlog", name="file with all waiting", value=said["bytes"] / said["n"], unit="bytes each", n=said["n"]
            )
        case "delivered":
            yield Figure(
                part="backlog",
                name="delivered after the reconnect",
                value=said["per_s"],
                unit="msg/s",
                n=said["n"],
                against="bare paho loop, QoS 1",
                against_value=said["plain_per_s"],
                note=f"{said['per_s'] / said['plain_per_s']:.2f} of it; {said['lost']} lost",
            )
