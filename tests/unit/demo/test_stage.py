"""The stage of the demo: its configuration is one that the agent takes, and an agent that ends says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edge_agent.config.load import load_text
from edge_agent.decode.router import Router
from edge_agent.demo import stage as stage_module
from edge_agent.demo.broker import Broker
from edge_agent.demo.stage import AgentEndedError, Stage, configuration
from edge_agent.values import Arrival
from tests.mqtt_client import wait_until

ROOT = Path(__file__).resolve().parents[3]


def test_the_configuration_gives_each_topic_its_stream_and_unit(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("demo")
    broker = Broker(host="127.0.0.1", port=1234, kind="embedded")
    settings = load_text(configuration(broker, {"vibration": "mm/s", "temperature": "°C"}, folder))
    assert (settings.mqtt.port, settings.mqtt.protocol) == (1234, "3.1.1")
    assert settings.state_dir.startswith(str(folder))
    router = Router(settings.routes)
    (reading,) = router.decode(Arrival("sensors/pump-1/temperature", b"62.5", 10.0))
    assert (reading.stream, reading.value, reading.unit) == ("pump-1/temperature", 62.5, "°C")


def listen_for_long(stage: Stage) -> None:
    for _ in range(200):
        stage.listen(0.1)


def test_an_agent_that_ends_by_itself_is_reported_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "AGENT", (sys.executable, "-c", "import sys; sys.exit('no space on the disk')"))
    said: list[str] = []
    with Stage.build({"+": ""}, said.append) as stage, pytest.raises(AgentEndedError, match=r"code 1(.|\n)*no space on the disk"):
        listen_for_long(stage)
    assert said == ["starting a broker", "starting the agent: it loads its models"]


def test_what_is_published_reaches_the_broker_and_an_agent_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    monkeypatch.setattr(stage_module, "AGENT", (sys.executable, "-c", ignore))
    monkeypatch.setattr(stage_module, "STOP_TIMEOUT_S", 0.5)
    with Stage.build({"+": ""}, lambda _: None) as stage:
        for number in range(300):  # more than may be under way at once
            stage.publish(f"edge/demo/incident/{number}", b"{}")
        heard = [arrival.topic for _ in range(50) for arrival in stage.listen(0.1)]
        assert stage.broker.port > 0
    assert set(heard) <= {f"edge/demo/incident/{number}" for number in range(300)}


STARTER = """
import signal, sys
from edge_agent.demo import stage
stage.AGENT = (sys.executable, "-c", "import time; time.sleep(600)")
with stage.Stage.build({"": ""}, lambda _: None):
    print("staged", flush=True)
    signal.pause()
"""


def test_where_the_demo_is_killed_its_broker_and_its_agent_end(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen((sys.executable, "-c", STARTER), cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    assert demo.stdout is not None
    with demo.stdout:
        assert demo.stdout.readline() == "staged\n"
        children = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(signal.SIGKILL)
        demo.wait(10)
    assert len(children) == 2, "a broker and an agent"
    wait_until(lambda: not any(map(runs, children)), what="the end of the broker and of the agent")


def runs(process: psutil.Process) -> bool:
    """A process that ended and that nobody has asked after yet does not run."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
