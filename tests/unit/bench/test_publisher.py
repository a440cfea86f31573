"""The load generator against a real broker: everything it says it sent arrives, at both levels of service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.bench import publisher
from edge_agent.bench.baseline import count
from tests.mosquitto import Mosquitto


def test_every_message_is_encoded_once_and_a_second_flood_goes_on_where_the_first_stopped() -> None:
    whole = b"".join(publisher.encode(7, 250, 1))
    assert whole == b"".join(publisher.encode(7, 100, 1)) + b"".join(publisher.encode(7, 150, 1, first=100))
    assert whole.count(b"bench/asset-0/s0") == -(-250 // 7)


def test_streams_of_one_asset_are_ten() -> None:
    assert publisher.topic_of(39) == "bench/asset-3/s9"


@pytest.mark.parametrize("qos", [0, 1])
def test_the_process_delivers_all_it_encoded(tmp_path: Path, qos: int) -> None:
    with Mosquitto(tmp_path) as broker:
        command = [sys.executable, "-m", "edge_agent.bench.publisher", "--port", str(broker.port), "--streams", "10"]
        process = subprocess.Popen(
            [*command, "--messages", "550", "--qos", str(qos)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "encoded\n"
            subscriber = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "edge_agent.bench.baseline",
                    "--port",
                    str(broker.port),
                    "--messages",
                    "550",
                    "--qos",
                    str(qos),
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert subscriber.stdout is not None
            assert subscriber.stdout.readline() == "subscribed\n"
            said, _ = process.communicate("go\n", timeout=30)
            assert float(said) > 0
            rate, _ = subscriber.communicate(timeout=30)
            assert float(rate) > 0
            assert subscriber.returncode == 0
        finally:
            process.kill()
            process.wait()


def test_a_given_rate_is_kept(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        chunks = publisher.encode(10, 400, 0)
        # The pace is kept after each chunk, so 400 messages at 2,000 a second take at least 0.2 s.
        assert publisher.flood(broker.port, chunks, rate_hz=2000.0) >= 0.2


def test_messages_that_never_come_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.bench.baseline.GIVE_UP_S", 0.3)
    with Mosquitto(tmp_path) as broker:
        came, _ = count(broker.port, 5, 0)
    assert came == 0
