"""The stage of the demo: its configuration is one that the agent takes, and an agent that ends says why."""

from __future__ import annotations

import sys

import pytest

from edge_agent.config.load import load_text
from edge_agent.decode.router import Router
from edge_agent.demo import stage as stage_module
from edge_agent.demo.broker import Broker
from edge_agent.demo.stage import AgentEndedError, Stage, configuration
from edge_agent.values import Arrival


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
