"""What the measurements run on: a real broker, the real agent as a process, its memory, its start, and questions to it.

Rules: everything that is started is stopped when its block ends. The agent is asked over MQTT as anyone may ask it
(`request/status`), and tells its readiness as it tells systemd (a datagram to NOTIFY_SOCKET).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from edge_agent.clock import SystemClock
from edge_agent.config.settings import MqttSettings
from edge_agent.demo.broker import Broker
from edge_agent.errors import EdgeAgentError, LinkError
from edge_agent.messages import Topics
from edge_agent.mqtt import MqttLink
from edge_agent.values import Arrival, Message

GATEWAY = "bench"
ROOT = "edge"
READY_TIMEOUT_S = 60.0
ASK_AGAIN_S = 15.0
ANSWER_TIMEOUT_S = 60.0
"""A question stands in line behind the flood: it is answered when all that was published before it has been received."""
STOP_TIMEOUT_S = 10.0


class BenchError(EdgeAgentError):
    """A measurement could not be taken; the message says why."""


class MemoryUse(Struct, frozen=True):
    """Memory of a process in MB (10^6 bytes). PSS counts shared pages by the share."""

    rss_mb: float
    pss_mb: float


def memory_of(pid: int) -> MemoryUse:
    """Memory of the process now. Raises OSError where the kernel does not tell."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * 1024 / 1e6
    return MemoryUse(sizes["Rss"], sizes["Pss"])


def cpu_s_of(pid: int) -> float:
    """Processor seconds that the process used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def connected(broker: Broker, name: str, subscriptions: Sequence[tuple[str, int]] = ()) -> Iterator[MqttLink]:
    """A connection to the broker for as long as the block lasts. Raises LinkError."""
    settings = MqttSettings(host=broker.host, port=broker.port, protocol=broker.protocol, session_expiry_s=0)
    will = Message(topic=f"{ROOT}/{name}/status", payload=b"offline")
    link = MqttLink(settings, name, subscriptions, will, tuple, SystemClock(), random.Random())
    link.start()
    try:
        if not link.wait_connected(READY_TIMEOUT_S):
            raise LinkError(f"the broker on port {broker.port} accepts no connection")
        yield link
    finally:
        link.stop()


def configuration(broker: Broker, folder: Path, *, qos: int, writer: bool) -> str:
    """The agent's configuration: JSON readings of `bench/<asset>/<stream>`. JSON is YAML too."""
    settings = {
        "gateway": {"id": GATEWAY},
        "mqtt": {
            "host": broker.host,
            "port": broker.port,
            "protocol": broker.protocol,
            "root": ROOT,
            "max_queued_arrivals": 400_000,
        },
        "routes": [{"topic": "bench/+/+", "format": "json", "value": ["value"], "stream": "{2}/{3}", "qos": qos}],
        "incidents": {"storm_incidents": 1000},  # each spike of the latency part shall be an incident of its own
        "writer": {"enabled": writer},
        "state_dir": str(folder / "state"),
        "runtime_dir": str(folder / "run"),
        "log_level": "info",
    }
    return json.dumps(settings)


class Agent:
    """The agent's process. Use `running`. One owner."""

    def __init__(self, process: subprocess.Popen[bytes], started_in_s: float, link: MqttLink, log: Path) -> None:
        self.pid = process.pid
        self.started_in_s = started_in_s
        """From the start of the process to READY."""
        self._process = process
        self._link = link
        self._log = log
        self._topics = Topics(ROOT, GATEWAY)

    def ask(self, command: str) -> dict[str, Any]:
        """The data of the answer to `request/<command>`. Raises BenchError when there is none."""
        topic = self._topics.response(command)
        question = Message(topic=self._topics.request(command), payload=b"{}", qos=1)
        give_up_s = time.monotonic() + ANSWER_TIMEOUT_S
        ask_again_s = 0.0
        while time.monotonic() < give_up_s and self._process.poll() is None:
            if time.monotonic() >= ask_again_s:  # a connection that was lost under load may have taken one along
                self._link.publish(question)
                ask_again_s = time.monotonic() + ASK_AGAIN_S
            for arrival in taken(self._link, 0.5):
                if arrival.topic == topic:
                    answer: dict[str, Any] = json.loads(arrival.payload)
                    return dict(answer["data"])
        raise BenchError(f"the agent does not answer {command}; its log ends with: {self._log.read_text()[-2000:]}")

    def readings(self) -> int:
        """How many readings were screened since the start."""
        return int(health_of(self.ask("status"))["counts"].get("readings", 0))

    def drops(self) -> Mapping[str, int]:
        """What was dropped or set aside since the start, by reason."""
        drops: Mapping[str, int] = health_of(self.ask("status"))["drops"]
        return drops

    def wait_for_readings(self, count: int, timeout_s: float) -> bool:
        """Wait until `count` readings were screened since the start; False if they were not in time."""
        give_up_s = time.monotonic() + timeout_s
        while time.monotonic() < give_up_s:
            if self.readings() >= count:
                return True
            time.sleep(0.05)
        return False


def health_of(status: dict[str, Any]) -> dict[str, Any]:
    """The health document within the answer to `request/status`."""
    health: dict[str, Any] = status.get("health", status)
    return health


@contextlib.contextmanager
def running(broker: Broker, *, qos: int = 0, writer: bool = True) -> Iterator[Agent]:
    """The agent, ready, for as long as the block lasts. Raises BenchError when it does not become ready."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-agent-bench-")))
        response = Topics(ROOT, GATEWAY).base + "/response/+"
        link = stack.enter_context(connected(broker, "bench-ask", [(response, 0)]))
        config = folder / "edge-agent.yaml"
        config.write_text(configuration(broker, folder, qos=qos, writer=writer), encoding="utf-8")
        notify = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)))
        notify.bind(str(folder / "notify"))
        notify.settimeout(0.2)
        log = folder / "log"
        output = stack.enter_context(log.open("wb"))
        started_s = time.monotonic()
        process = subprocess.Popen(
            (sys.executable, "-m", "edge_agent", "run", "--config", str(config)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
        )
        stack.callback(_stop, process)
        _wait_until_ready(process, notify, log)
        yield Agent(process, time.monotonic() - started_s, link, log)


def _wait_until_ready(process: subprocess.Popen[bytes], notify: socket.socket, log: Path) -> None:
    give_up_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < give_up_s and process.poll() is None:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in notify.recv(4096).split(b"\n"):
                return
    raise BenchError(f"the agent did not become ready; its log ends with: {log.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def child(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """One of the bench's own processes, ended with the block; its standard input and output are pipes."""
    process = subprocess.Popen(
        (sys.executable, "-m", module, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line a child prints. Raises BenchError when it ended instead."""
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise BenchError(f"a child process ended early: {process.args!r}")
    return line.strip()


def go(process: subprocess.Popen[str]) -> None:
    """Tell a child that waits on its standard input to begin."""
    if process.stdin:
        process.stdin.write("go\n")
        process.stdin.flush()


def taken(link: MqttLink, timeout_s: float) -> list[Arrival]:
    """What arrived on a connection; also forgets the outcomes of what was published on it."""
    arrivals = link.drain(1000, timeout_s)
    link.published()
    link.lost()
    return arrivals
