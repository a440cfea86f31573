"""A run of the real agent at a real broker under load, while their processes are killed: who sends, who listens, who kills.

`Sensors` send bursts that each end in an incident, `Listener` is the persistent subscriber that must hear everything, the
`Operator` closes incidents, and `BrokerRecord` tells from the broker's own log what the agent acknowledged to it. None of
them stops when a process is killed: they connect again by themselves.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.agent import BASE, eventually, quiet_values

AGENT_CLIENT: Final = "edge-agent-gw-1"
BROKER_SETTINGS: Final = (
    "log_type all",
    # Sessions are on the disk early, and no message is given up for its number. What is queued comes to the disk now and
    # then: a broker that is killed forgets a little of it, so that it also sends again what was confirmed.
    "autosave_on_changes true",
    "autosave_interval 200",
    "max_inflight_messages 0",
    "max_queued_messages 0",
)
BURST_READINGS: Final = 75
SPIKE_AT: Final = 66
"""Behind the detector's warm-up; with quiet readings after it, so that the anomaly ends and the incident closes."""
BACKLOG: Final = 6
"""Bursts that are sent ahead of what the agent confirmed: it dies so often that it falls behind otherwise, ever further."""
FOREVER_S: Final = 0xFFFFFFFE


class Line:
    """A client with a session that outlives its connections. It connects again by itself."""

    def __init__(self, port: int, client_id: str, filters: tuple[str, ...] = ()) -> None:
        self._filters = filters
        self.connected = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_connect = self._connected
        self.client.on_disconnect = lambda *_: self.connected.clear()
        self.client.on_message = lambda client, userdata, message: self.heard(message)
        self.client.on_subscribe = lambda *_: self.connected.set()
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(1000)
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho left it without types
        session.SessionExpiryInterval = FOREVER_S
        self.client.connect("127.0.0.1", port, clean_start=False, properties=session)
        self.client.loop_start()
        eventually(self.connected.is_set, f"{client_id} is connected")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def heard(self, message: MQTTMessage) -> None:
        """A message came."""

    def _connected(self, client: Client, userdata: object, flags: ConnectFlags, *_: object) -> None:
        if self._filters and not flags.session_present:
            client.subscribe([(each, 1) for each in self._filters])
        else:
            self.connected.set()


class Heard(Struct, frozen=True, dict=True):
    """A message of the agent."""

    topic: str
    """Without the agent's own base."""
    payload: bytes

    @cached_property
    def document(self) -> dict[str, Any]:
        """The payload as JSON."""
        found: dict[str, Any] = json.loads(self.payload)
        return found


class Listener(Line):
    """Hears everything that the agent publishes, each as often as it comes; or, `retained`, only what is kept for newcomers."""

    def __init__(self, port: int, name: str = "listener", *, retained: bool = False) -> None:
        self._lock = threading.Lock()
        self._messages: list[Heard] = []
        self._retained = retained
        super().__init__(port, name, (f"{BASE}/#",))

    def heard(self, message: MQTTMessage) -> None:
        """Keep it."""
        if message.retain == self._retained:
            with self._lock:
                self._messages.append(Heard(message.topic.removeprefix(BASE + "/"), bytes(message.payload)))

    def messages(self, start: str) -> list[Heard]:
        """What came on topics that begin so."""
        with self._lock:
            return [each for each in self._messages if each.topic.startswith(start)]


class Sensors(Line):
    """Sends burst after burst from a thread of its own, each from a machine of its own, until `stop`."""

    def __init__(self, port: int, pause_s: float) -> None:
        super().__init__(port, "sensors")
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self.bursts = 0
        self.allowed = BACKLOG
        """How many may be sent by now."""
        self._confirmed = 0
        self.client.on_publish = self._count
        self._thread = threading.Thread(target=self._send_all, daemon=True)
        self._thread.start()

    @property
    def machine(self) -> str:
        """The machine whose burst is being sent, or was sent last."""
        return f"machine-{self.bursts}"

    def stop(self) -> None:
        """End the burst that was begun, send one more, and then no more: when that one was taken in, all were."""
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        eventually(self._is_confirmed, "the broker confirmed the last burst")
        self._send()
        eventually(self._is_confirmed, "the broker confirmed one more burst")

    def calm(self, machine: str) -> None:
        """Send quiet readings once more, in the place of those after a spike that a broker forgot."""
        for value in quiet_values(BURST_READINGS - SPIKE_AT, time.time()):
            self.client.publish(f"sensors/{machine}/level", json.dumps(value), qos=1)

    def _send_all(self) -> None:
        while not self._stopping.wait(self._pause_s):
            if self.bursts < self.allowed and self._is_confirmed():
                self._send()

    def _send(self) -> None:
        self.bursts += 1
        values = quiet_values(BURST_READINGS, time.time() - BURST_READINGS)
        values[SPIKE_AT]["value"] = 500.0
        # What is published while there is no connection is kept by the client and sent on the next one.
        for value in values:
            self.client.publish(f"sensors/{self.machine}/level", json.dumps(value), qos=1)

    def _is_confirmed(self) -> bool:
        """Whether the broker confirmed all that was sent. While it is down for long, nothing more is sent."""
        return self._confirmed >= self.bursts * BURST_READINGS

    def _count(self, *_: object) -> None:
        self._confirmed += 1


class Operator(Line):
    """Closes incidents with a cause; what was answered with `ok` is acknowledged."""

    def __init__(self, port: int) -> None:
        self.closed: set[str] = set()
        """Incidents whose closing was acknowledged."""
        self.causes: dict[str, set[str]] = defaultdict(set)
        """What was asked for each incident; a broker may send an older request again after a newer one."""
        self._asked: dict[str, str] = {}
        super().__init__(port, "operator", (f"{BASE}/response/close",))

    def close(self, incident_id: str) -> None:
        """Ask, and do not wait."""
        number = len(self._asked)
        self._asked[f"t-{number}"] = incident_id
        self.causes[incident_id].add(f"cause {number}")
        body = {"incident": incident_id, "cause": f"cause {number}", "transaction": f"t-{number}"}
        self.client.publish(f"{BASE}/request/close", json.dumps(body), qos=1)

    def heard(self, message: MQTTMessage) -> None:
        """Note what was acknowledged."""
        answer = json.loads(message.payload)
        if answer["status"] == "ok":
            self.closed.add(self._asked[answer["transaction"]])


class Responder(Line):
    """Answers the questions that come on the agent's topic, by requests; what was answered with `ok` is acknowledged."""

    def __init__(self, port: int) -> None:
        self.fates: dict[str, str] = {}
        """Each question whose answer was acknowledged, and what became of it."""
        super().__init__(port, "responder", (f"{BASE}/question", f"{BASE}/response/answer"))

    def heard(self, message: MQTTMessage) -> None:
        """Answer, or note what was acknowledged."""
        told = json.loads(message.payload)
        if message.topic == f"{BASE}/question":
            sentences = [chunk["example"] for chunk in told["data"]["chunks"]]
            body = {"id": told["id"], "sentences": sentences, "model": "large-1"}
            self.client.publish(f"{BASE}/request/answer", json.dumps(body), qos=1)
        elif told["status"] == "ok":
            self.fates[told["data"]["id"]] = told["data"]["state"]


class BrokerRecord:
    """What mosquitto logged, read on from where it was left."""

    _CONNECTED = re.compile(rf"New client connected from \S+ as {AGENT_CLIENT} ")
    _SENT = re.compile(rf"Sending PUBLISH to {AGENT_CLIENT} \(d(\d), q1, r\d, m(\d+), 'sensors/(machine-\d+)/level'")
    _ACKNOWLEDGED = re.compile(rf"Received PUBACK from {AGENT_CLIENT} \(Mid: (\d+)")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._under_way: dict[int, str] = {}
        self._sent: dict[str, int] = defaultdict(int)
        self._acknowledged: dict[str, int] = defaultdict(int)
        self.uncertain: set[str] = set()
        """Machines of whose readings a broker that was killed may have forgotten some, or may send some twice."""
        self.whole: set[str] = set()
        """Machines whose burst went to one process of the agent in one connection, all of it acknowledged by the agent."""
        self.newest = 0
        """Number of the newest machine of which the agent confirmed a reading."""

    def broker_ended(self, machine: str) -> None:
        """The broker's process is gone: of the burst that was being sent some readings may come twice."""
        self.uncertain.add(machine)

    def agent_ended(self) -> None:
        """The agent's process is gone: what its detectors knew of begun bursts went with it."""
        self.read()
        self._forget()

    def read(self) -> None:
        """Take in what was logged since."""
        for line in self._lines():
            if (sent := self._SENT.search(line)) is not None:
                self._under_way[int(sent[2])] = sent[3]
                self._sent[sent[3]] += 1
            elif (acknowledged := self._ACKNOWLEDGED.search(line)) is not None:
                machine = self._under_way.pop(int(acknowledged[1]), None)
                self.newest = max(self.newest, int(machine.partition("-")[2]) if machine is not None else 0)
                if machine is not None and machine not in self.uncertain:
                    self._acknowledged[machine] += 1
                    if self._acknowledged[machine] >= BURST_READINGS and self._sent[machine] == self._acknowledged[machine]:
                        self.whole.add(machine)
            elif self._CONNECTED.search(line):
                self._forget()

    def _forget(self) -> None:
        self._under_way.clear()
        self._sent.clear()
        self._acknowledged.clear()

    def _lines(self) -> Iterator[str]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        yield from data[:whole].decode(errors="replace").splitlines()


def pause(dice: random.Random, most_s: float) -> None:
    """Let things go on for a while that is drawn: the moment at which a process dies is the point."""
    time.sleep(dice.uniform(0.0, most_s))
