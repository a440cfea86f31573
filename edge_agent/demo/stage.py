"""Everything of the demo that runs: a broker, the agent as a process of its own, and a connection that sees both.

Rules: what is started here is stopped here, in the reverse order, whatever happens, and ends by itself where the demo is killed.
All files live in one folder that is removed; only a killed demo leaves it. The agent is the real one, started with the command
that an operator uses, from a configuration file.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from edge_agent.clock import SystemClock
from edge_agent.config.settings import MqttSettings
from edge_agent.demo.broker import Broker, BrokerKind, start_broker
from edge_agent.demo.leash import leashed
from edge_agent.errors import EdgeAgentError, LinkError
from edge_agent.messages import Topics
from edge_agent.mqtt import MqttLink
from edge_agent.values import Arrival, Message

GATEWAY = "demo"
AGENT = (sys.executable, "-m", "edge_agent")
"""The command `edge-agent` of this very installation."""
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
PUBLISH_TIMEOUT_S = 10.0
SHOWN_LOG_LINES = 15


class AgentEndedError(EdgeAgentError):
    """The agent's process ended by itself; the message carries the end of its log."""


def configuration(broker: Broker, units: Mapping[str, str], folder: Path) -> str:
    """The agent's configuration file. JSON is YAML, and leaves no question of quoting."""
    settings = {
        "gateway": {"id": GATEWAY},
        "mqtt": {"host": broker.host, "port": broker.port, "protocol": broker.protocol},
        "routes": [
            {"topic": f"sensors/+/{name}", "format": "number", "stream": "{2}/{3}", "unit": unit} for name, unit in units.items()
        ],
        # The demo puts into minutes what a plant has in weeks: its incidents are as short as its faults, that they come one
        # after the other is no storm, and twenty false alarms a day are one in 43,000 of its readings.
        "detect": {"silence_min_s": 3.0, "false_alarms_per_stream_day": 20.0},
        "incidents": {"join_within_s": 6.0, "close_after_s": 5.0, "storm_incidents": 30},
        "state_dir": str(folder / "state"),
        "runtime_dir": str(folder / "run"),
    }
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


class Stage:
    """The running parts. Use `build` to get one. One owner, the demo's loop."""

    def __init__(self, broker: Broker, link: MqttLink, agent: subprocess.Popen[bytes], log: Path) -> None:
        self.broker = broker
        self.topics = Topics(MqttSettings().root, GATEWAY)
        self._link = link
        self._agent = agent
        self._log = log

    @staticmethod
    @contextlib.contextmanager
    def build(
        units: Mapping[str, str], say: Callable[[str], None], kind: BrokerKind | Literal["auto"] = "auto"
    ) -> Iterator[Stage]:
        """Start everything; stop it when the block ends. Raises LinkError or AgentEndedError, with what to do."""
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-agent-demo-")))
            say("starting a broker")
            broker = stack.enter_context(start_broker(kind))
            link = _connect(broker)
            stack.callback(link.stop)
            say("starting the agent: it loads its models")
            config = folder / "edge-agent.yaml"
            config.write_text(configuration(broker, units, folder), encoding="utf-8")
            stage = Stage(broker, link, _start_agent(stack, config, folder / "agent.log"), folder / "agent.log")
            yield stage

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish one reading; waits for the broker where too much is under way. Raises LinkError when it takes nothing."""
        message = Message(topic=topic, payload=payload, qos=0)
        give_up_s = time.monotonic() + PUBLISH_TIMEOUT_S
        while self._link.publish(message) is None:
            self._link.published(0.05)
            if time.monotonic() > give_up_s:
                raise LinkError(f"the broker on port {self.broker.port} took nothing for {PUBLISH_TIMEOUT_S:.0f} s")

    def listen(self, timeout_s: float) -> list[Arrival]:
        """What the agent published; waits up to `timeout_s` for something. Raises AgentEndedError when it is gone."""
        arrivals = self._link.drain(500, timeout_s)
        self._link.published()
        self._link.lost()
        if not arrivals and self._agent.poll() is not None:
            lines = self._log.read_text("utf-8", "replace").strip().splitlines()[-SHOWN_LOG_LINES:]
            raise AgentEndedError("\n  ".join([f"the agent ended with code {self._agent.returncode}; its last words:", *lines]))
        return arrivals


def _connect(broker: Broker) -> MqttLink:
    settings = MqttSettings(host=broker.host, port=broker.port, protocol=broker.protocol, session_expiry_s=0)
    viewer = f"{GATEWAY}-viewer"
    will = Message(topic=f"{settings.root}/{viewer}/status", payload=b"offline", retain=True)
    everything = Topics(settings.root, GATEWAY).base + "/#"
    link = MqttLink(settings, viewer, [(everything, 0)], will, tuple, SystemClock(), random.Random())
    link.start()
    if not link.wait_connected(READY_TIMEOUT_S):
        link.stop()
        raise LinkError(f"the broker on port {broker.port} accepts no connection")
    return link


def _start_agent(stack: contextlib.ExitStack, config: Path, log: Path) -> subprocess.Popen[bytes]:
    output = stack.enter_context(log.open("wb"))
    command = leashed((*AGENT, "run", "--config", str(config)))
    # A session of its own, so that Ctrl-C in the terminal reaches the demo alone, which then stops the agent in order.
    agent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    stack.callback(_stop_agent, agent)
    return agent


def _stop_agent(agent: subprocess.Popen[bytes]) -> None:
    agent.terminate()
    try:
        agent.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait()
