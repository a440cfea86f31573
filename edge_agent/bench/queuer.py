"""The process in which a backlog builds up and is delivered: a journal, and later a link and a deliver worker.

Rules: what it measures is said as one JSON object a line (`what`), as soon as it is known, `end` last. Started by the bench as
`python -m edge_agent.bench.queuer`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_agent.bench.harness import BenchError, memory_of
from edge_agent.bench.report import percentile
from edge_agent.clock import SystemClock
from edge_agent.config.settings import JournalSettings, MqttSettings
from edge_agent.journal import Journal
from edge_agent.messages import Topics, incident_messages
from edge_agent.metrics import Metrics
from edge_agent.mqtt import MqttLink
from edge_agent.values import Anomaly, Incident, Message
from edge_agent.workers.deliver import DeliverWorker

TOPICS = Topics("edge", "bench")
LEVELS = (0.0, 0.1, 0.5, 1.0)
"""Parts of the backlog at which queueing is timed."""
GROUP = 500
WARM = 500
IN_FLIGHT = 20
"""What mosquitto takes unconfirmed unless told otherwise; also the default of paho."""
GIVE_UP_S = 600.0


def incident(number: int) -> Incident:
    """An incident of one anomaly; its document takes about 700 bytes."""
    onset_s = 1.8e9 + number
    anomaly = Anomaly(
        stream=f"pump-{number % 97}/vibration",
        kind="spike",
        direction="up",
        onset_s=onset_s,
        peak_s=onset_s + 0.5,
        score=0.91,
        observed=7.25,
        baseline=2.125,
        unit="mm/s",
        magnitude=11.5,
        kind_confidence=0.9375,
        signature=bytes(128),
    )
    return Incident(
        id=f"pump-{number % 97}-{number:08x}",
        asset=f"pump-{number % 97}",
        state="open",
        revision=1,
        opened_s=onset_s,
        updated_s=onset_s + 1.0,
        anomalies=(anomaly,),
        anomaly_count=1,
        stream_count=1,
        severity=0.91,
    )


def settings_of(backlog: int) -> JournalSettings:
    """Caps that such a backlog does not reach."""
    return JournalSettings(
        max_bytes=max(1 << 26, 8_192 * backlog), max_outbox=2 * backlog + 10_000, keep_incidents=2 * backlog + 10_000,
        max_write_bytes_per_day=0,
    )  # fmt: skip


class Queuer:
    """A journal that fills up. One owner."""

    def __init__(self, journal: Journal, plain: Path) -> None:
        self.queued = 0
        self._journal = journal
        self._plain = os.open(plain, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def close(self) -> None:
        """Close the plain file."""
        os.close(self._plain)

    def fill(self, backlog: int) -> None:
        """Queue until so many wait."""
        while self.queued < backlog:
            numbers = range(self.queued, min(backlog, self.queued + GROUP))
            incidents = [incident(number) for number in numbers]
            self._journal.record(incidents, [message for each in incidents for message in incident_messages(TOPICS, each)])
            self.queued += len(incidents)

    def timed(self, samples: int) -> tuple[list[float], list[float]]:
        """Milliseconds of queueing one incident, and of appending its message to a plain file, taken in turns."""
        ours_ms, plain_ms = [], []
        for _ in range(samples):
            each = incident(self.queued)
            messages = incident_messages(TOPICS, each)
            ours_ms.append(_took_ms(self._journal.record, [each], messages))
            plain_ms.append(_took_ms(self._append, messages[0].payload))
            self.queued += 1
        return ours_ms, plain_ms

    def _append(self, payload: bytes) -> None:
        os.write(self._plain, payload)
        os.fdatasync(self._plain)


def _took_ms(call: Callable[..., object], *arguments: object) -> float:
    started_s = time.perf_counter()
    call(*arguments)
    return (time.perf_counter() - started_s) * 1e3


def run(port: int, backlog: int, samples: int) -> Iterator[dict[str, Any]]:
    """Everything that is measured, in order. Raises BenchError when the backlog is not delivered."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-agent-bench-")))
        journal = stack.enter_context(Journal.open(folder / "journal.db", settings_of(backlog), SystemClock()))
        queuer = Queuer(journal, folder / "plain")
        stack.callback(queuer.close)
        link = MqttLink(
            MqttSettings(port=port, session_expiry_s=0), "bench", [], Message(topic=TOPICS.status, payload=b"offline"), tuple,
            SystemClock(), random.Random(),
        )  # fmt: skip
        metrics = Metrics()
        worker = DeliverWorker(link=link, journal=journal, wake=threading.Event(), metrics=metrics, clock=SystemClock())
        queuer.fill(WARM)
        _forget(journal)
        queuer.queued = 0
        before = _memory("before")
        for level in LEVELS:
            queuer.fill(round(level * backlog))
            ours_ms, plain_ms = queuer.timed(samples)
            yield _quantiles(round(level * backlog), ours_ms, plain_ms)
        yield _growth("with all waiting", before, queuer.queued)
        yield {"what": "file", "bytes": journal.counts().file_bytes, "n": queuer.queued}
        link.start()
        stack.callback(link.stop)
        per_s = _delivered(worker, link, metrics, queuer.queued)
        yield _growth("after delivery", before, queuer.queued)
        lost = metrics.flow.get("messages_resent")
        yield {"what": "delivered", "per_s": per_s, "n": queuer.queued, "plain_per_s": _bare(port, queuer.queued), "lost": lost}


def _forget(journal: Journal) -> None:
    """Take everything out of the outbox."""
    while rows := journal.outbox(0, GROUP):
        journal.delivered([row.number for row in rows])


def _quantiles(backlog: int, ours_ms: list[float], plain_ms: list[float]) -> dict[str, Any]:
    ranks = {"p50": percentile(ours_ms, 50), "p99": percentile(ours_ms, 99)}
    plain = {"plain_p50": percentile(plain_ms, 50), "plain_p99": percentile(plain_ms, 99)}
    return {"what": "queued", "backlog": backlog, "n": len(ours_ms), **ranks, **plain}


def _memory(suffix: str) -> dict[str, float]:
    gc.collect()
    use = memory_of(os.getpid())
    return {f"rss_{suffix}_mb": use.rss_mb, f"pss_{suffix}_mb": use.pss_mb}


def _growth(when: str, before: dict[str, float], n: int) -> dict[str, Any]:
    use = memory_of(os.getpid())
    return {"what": "memory", "when": when, "n": n, "rss_mb": use.rss_mb, "pss_mb": use.pss_mb, **before}


def _delivered(worker: DeliverWorker, link: MqttLink, metrics: Metrics, count: int) -> float:
    """Messages a second, from the connection until the last is confirmed."""
    if not link.wait_connected(30.0):
        raise BenchError("the broker accepts no connection")
    started_s = time.monotonic()
    while (delivered := metrics.flow.get("messages_delivered")) < count:
        worker.step(0.25)
        if time.monotonic() - started_s > GIVE_UP_S:
            raise BenchError(f"only {delivered} of {count} messages were delivered within {GIVE_UP_S:.0f} s")
    return count / (time.monotonic() - started_s)


def _bare(port: int, count: int) -> float:
    """Messages a second of a paho client that publishes at QoS 1 and counts the confirmations."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="bench-bare", protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages = IN_FLIGHT
    confirmed = 0

    def on_publish(*_: object) -> None:
        nonlocal confirmed
        confirmed += 1

    client.on_publish = on_publish
    client.connect("127.0.0.1", port)
    while not client.is_connected():
        client.loop(timeout=0.1)
    (message,) = incident_messages(TOPICS, incident(1))
    sent, started_s = 0, time.monotonic()
    while confirmed < count:
        while sent < count and sent - confirmed < IN_FLIGHT:
            client.publish(f"bench/{sent % 97}", message.payload, qos=1)
            sent += 1
        client.loop(timeout=0.1)
        if time.monotonic() - started_s > GIVE_UP_S:
            raise BenchError(f"only {confirmed} of {count} messages were confirmed within {GIVE_UP_S:.0f} s")
    per_s = count / (time.monotonic() - started_s)
    client.disconnect()
    return per_s


def main(argv: Sequence[str] | None = None) -> int:
    """The process: measure and say what came out."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.bench.queuer", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--backlog", type=int, required=True)
    parser.add_argument("--samples", type=int, required=True)
    options = parser.parse_args(argv)
    for said in run(options.port, options.backlog, options.samples):
        print(json.dumps(said), flush=True)
    print(json.dumps({"what": "end"}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
