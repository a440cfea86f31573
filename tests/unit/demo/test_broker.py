"""The demonstration's broker: either kind carries messages, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edge_agent.demo import broker as module
from edge_agent.demo.broker import BrokerKind, find_mosquitto, start_broker
from edge_agent.errors import LinkError
from tests.mosquitto import free_port
from tests.mqtt_client import MqttClient, wait_until

ROOT = Path(__file__).resolve().parents[3]


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def left_behind() -> list[str]:
    return [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("edge-agent-broker-")]


@pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
def test_either_kind_carries_a_message_and_is_gone_afterwards(
    kind: BrokerKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "mosquitto" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with start_broker(kind) as broker:
        assert (broker.kind, broker.host) == (kind, "127.0.0.1")
        assert broker.protocol == ("3.1.1" if kind == "embedded" else "auto")
        with MqttClient(broker.port, ["a/b"], protocol=MQTTProtocolVersion.MQTTv311) as client:
            client.publish("a/b", b"1", qos=1)
            client.wait_for("a/b", b"1")
    assert not accepts(broker.port)
    assert left_behind() == []


def test_auto_takes_mosquitto_where_there_is_one_else_the_embedded_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_mosquitto() is not None:
        with start_broker() as broker:
            assert broker.kind == "mosquitto"
    monkeypatch.setattr(module, "find_mosquitto", lambda: None)
    with start_broker() as broker:
        assert broker.kind == "embedded"


def test_a_mosquitto_that_cannot_start_is_replaced_by_the_embedded_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "mosquitto"
    broken.write_text("#!/bin/sh\necho 'Error: no such user' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(module, "find_mosquitto", lambda: str(broken))
    with start_broker() as broker:
        assert broker.kind == "embedded"
    with pytest.raises(LinkError, match=r"mosquitto: did not start.*no such user"), start_broker("mosquitto"):
        pass


def test_a_port_that_is_taken_is_an_error_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LinkError, match=rf"no broker could be started.*port {port} is taken"), start_broker("embedded", port):
            pass


def test_a_given_port_is_used() -> None:
    port = free_port()
    with start_broker("embedded", port) as broker:
        assert broker.port == port


STARTER = """
import time
from edge_agent.demo.broker import start_broker
with start_broker("embedded") as broker:
    print(broker.port, flush=True)
    time.sleep(600)
"""


def test_the_embedded_broker_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = (sys.executable, "-c", STARTER)
    starter = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    assert starter.stdout is not None
    with starter.stdout:
        port = int(starter.stdout.readline())
        assert accepts(port)
        starter.send_signal(signal.SIGKILL)
        starter.wait(10)
    wait_until(lambda: not accepts(port), what="the end of the embedded broker")
