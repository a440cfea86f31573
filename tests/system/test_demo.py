"""The whole demo as a user runs it: it shows incidents and true sentences, compares with the truth, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

COMMAND = (sys.executable, "-m", "edge_agent", "demo", "--plain")


def run_demo(*arguments: str, timeout_s: float = 100.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*COMMAND, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)


@pytest.mark.parametrize("broker", ["mosquitto", "embedded"])
def test_it_shows_incidents_and_sentences_and_finds_the_faults(broker: str) -> None:
    done = run_demo("--duration", "36", "--seed", "3", "--broker", broker)
    assert done.returncode == 0, done.stderr
    assert re.search(r"pump-1: incident \S+ opened", done.stdout)
    assert "mm/s" in done.stdout, "a sentence states the spike with its unit"
    assert "route" in done.stdout
    found = re.search(r"(\d+) of (\d+) faults found", done.stdout)
    assert found, done.stdout
    assert int(found[1]) >= int(found[2]) - 1 >= 3


def test_ctrl_c_ends_it_with_the_comparison_and_every_process_with_it() -> None:
    demo = subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        while "online" not in (line := demo.stdout.readline()):
            assert line, "the demo ended before the agent was online"
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) >= 2, "a broker and an agent"
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=30)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 0, err
    assert "let it run for longer" in out
    until_s = time.monotonic() + 40
    while any(child.is_running() for child in children) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not [child for child in children if child.is_running()]


def test_a_recording_is_played_through_the_broker(tmp_path: Path) -> None:
    path = tmp_path / "motor.csv"
    rows = [f"{row},{20 + (row * 7919 % 100) / 100:.2f}" for row in range(600)]
    rows[450] = "450,60.0"
    path.write_text("time,winding temperature\n" + "\n".join(rows) + "\n")
    done = run_demo("--replay", str(path), "--speed", "100")
    assert done.returncode == 0, done.stderr
    assert "motor/winding-temperature" in done.stdout
    assert "60" in done.stdout
    assert "1 incidents" in done.stdout
