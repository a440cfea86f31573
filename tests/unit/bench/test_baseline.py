"""The bare paho loop says how many came, and fails when some did not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_agent.bench import baseline, publisher
from tests.mosquitto import Mosquitto


def test_it_counts_each_message_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Mosquitto(tmp_path) as broker:
        codes: list[int] = []
        arguments = ["--port", str(broker.port), "--messages", "250", "--qos", "1"]
        counting = threading.Thread(target=lambda: codes.append(baseline.main(arguments)))
        counting.start()
        while counting.is_alive() and not codes:
            # Until the subscription stands nothing arrives: flooding again until the count is full needs no guess.
            publisher.flood(broker.port, publisher.encode(3, 100, 1), confirm=100)
            counting.join(0.05)
        counting.join(30)
    assert codes == [0]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "subscribed"
    assert float(said[1]) > 0


def test_it_fails_when_not_all_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(baseline, "GIVE_UP_S", 0.2)
    with Mosquitto(tmp_path) as broker:
        assert baseline.main(["--port", str(broker.port), "--messages", "5"]) == 1
    assert capsys.readouterr().out
