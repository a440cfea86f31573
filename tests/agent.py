"""A real agent process for tests, started as an operator starts it, and a real MQTT client that watches what it publishes.

`AgentProcess` writes its configuration under a folder and listens on a notification socket, as systemd would, so that
"ready" is what the agent itself says. `Watcher` is a paho client: it keeps every message of the agent and sends readings.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

GATEWAY = "gw-1"
BASE = f"edge/{GATEWAY}"
READY_TIMEOUT_S = 40.0
DEADLINE_S = 40.0
_POLL_S = 0.02


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
    """Wait until `condition` is true and return what it gave; fails by name at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(_POLL_S)
    return found


class AgentProcess:
    """One agent: its folder, its configuration and, while it runs, its process."""

    def __init__(
        self,
        folder: Path,
        port: int,
        environ: dict[str, str] | None = None,
        entry: tuple[str, ...] = ("-m", "edge_agent.cli"),
        **settings: Any,
    ) -> None:
        self.entry = entry
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "edge-agent.yaml"
        self.state = folder / "state"
        self.log_path = folder / "agent.log"
        self.environ = environ or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.notified: list[str] = []
        """What was told the service manager, in order, without the datagrams before the last `start`."""
        document = {
            "gateway": {"id": GATEWAY},
            "mqtt": {"host": "127.0.0.1", "port": port, "backoff_min_s": 0.1, "backoff_max_s": 0.5},
            "routes": [{"topic": "sensors/#", "format": "json", "stream": "{2}/{3}", "qos": 1}],
            "detect": {"silence_min_s": 3600.0},
            "incidents": {"join_within_s": 20.0, "close_after_s": 3.0},
            "state_dir": str(self.state),
            "runtime_dir": str(folder / "run"),
        }
        self.config.write_text(json.dumps({**document, **settings}))
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._address = f"edge-agent-test-{os.getpid()}-{id(self)}"
        self._manager.bind("\0" + self._address)
        self._manager.settimeout(0.1)

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        self._manager.close()

    def launch(self) -> None:
        """Start the process without waiting for it."""
        assert self.process is None
        self.notified = []
        environ = {**os.environ, "NOTIFY_SOCKET": "@" + self._address, **self.environ}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.entry, "run", "--config", str(self.config)],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Start the process and wait until it says that it is ready."""
        self.launch()
        eventually(lambda: "READY=1" in self.notifications(), "READY=1", READY_TIMEOUT_S)

    def notifications(self) -> list[str]:
        """Everything told the service manager so far; fails when the process has ended."""
        while True:
            try:
                self.notified.append(self._manager.recv(4096).decode())
            except TimeoutError:
                break
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the agent ended with {self.process.returncode}:\n{self.log()}")
        return self.notified

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = DEADLINE_S) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout_s)
        self.process = None
        return code

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def command(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run another command of the command line."""
        command = [sys.executable, "-m", "edge_agent.cli", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)

    def log(self) -> str:
        """What the agent wrote."""
        return self.log_path.read_text("utf-8", "replace")


class Watcher:
    """A client that hears everything below the agent's topics, and publishes readings at QoS 1, confirmed one by one."""

    def __init__(self, port: int, client_id: str = "watcher", filters: str = f"{BASE}/#") -> None:
        self.port = port
        self.messages: list[MQTTMessage] = []
        self._lock = threading.Lock()
        self.subscriptions = 0
        """How often the broker confirmed a subscription: grows with every connect and every question."""
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = self._heard
        self._client.on_connect = lambda client, *_: client.subscribe(filters, qos=1)
        self._client.on_subscribe = self._subscribed
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        eventually(lambda: self.subscriptions, "the watcher is subscribed")

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribed(self, *_: object) -> None:
        self.subscriptions += 1

    def _heard(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        with self._lock:
            self.messages.append(message)

    def on(self, topic: str) -> list[MQTTMessage]:
        """Messages on exactly this topic of the agent, in order; below it, if it ends in `/`."""
        with self._lock:
            heard = list(self.messages)
        full = f"{BASE}/{topic}"
        return [m for m in heard if (m.topic.startswith(full) if topic.endswith("/") else m.topic == full)]

    def documents(self, topic: str) -> list[dict[str, Any]]:
        """The JSON documents on a topic, without the empty messages that clear what was retained."""
        return [json.loads(message.payload) for message in self.on(topic) if message.payload]

    def first(self, topic: str) -> dict[str, Any]:
        """The first JSON document on a topic, as soon as there is one: what comes on two topics comes one after the other."""
        document: dict[str, Any] = eventually(lambda: self.documents(topic), f"a document on {topic}")[0]
        return document

    def send(self, topic: str, payload: object, qos: int = 1) -> None:
        """Publish and wait for the broker's confirmation."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(topic, data, qos=qos).wait_for_publish(20)

    def send_all(self, messages: list[tuple[str, object]], qos: int = 1) -> None:
        """Publish many and wait until the broker confirmed the last."""
        pending = [self._client.publish(topic, json.dumps(payload), qos=qos) for topic, payload in messages]
        for each in pending:
            each.wait_for_publish(60)

    def ask(self, command: str, body: object, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Send a request with an MQTT 5 response topic and return the answer that carries its correlation data."""
        answers: queue.Queue[MQTTMessage] = queue.Queue()
        topic, correlation = f"answers/{command}/{time.monotonic_ns()}", os.urandom(8)
        before = self.subscriptions
        self._client.message_callback_add(topic, lambda client, userdata, message: answers.put(message))
        self._client.subscribe(topic, qos=1)
        eventually(lambda: self.subscriptions > before, "the answer's topic is subscribed to")
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho left it without types
        properties.ResponseTopic, properties.CorrelationData = topic, correlation
        self._client.publish(f"{BASE}/request/{command}", json.dumps(body), qos=1, properties=properties)
        answer = answers.get(timeout=timeout_s)
        assert getattr(answer.properties, "CorrelationData", b"") == correlation
        document: dict[str, Any] = json.loads(answer.payload)
        return document


def quiet_values(count: int, first_s: float, *, level: float = 10.0) -> list[dict[str, float]]:
    """Samples one second apart that vary a little about `level`, dated from `first_s` on."""
    return [{"value": round(level + (place * 7 % 5) / 10, 3), "time": first_s + place} for place in range(count)]
