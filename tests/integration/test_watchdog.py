"""A worker that hangs in a real process: the watchdog starves, the log names the worker, and a stop still ends it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.agent import AgentProcess, eventually
from tests.mosquitto import Mosquitto

HANGING = """
import os, sys, threading
from edge_agent.workers import deliver, loop

step = deliver.DeliverWorker.step

def hang_when_told(worker, timeout_s):
    if os.path.exists(os.environ["HANG_WHEN_THERE"]):
        threading.Event().wait()
    return step(worker, timeout_s)

loop.MAX_PAUSE_S = 0.1
deliver.DeliverWorker.max_step_s = 0.3
deliver.DeliverWorker.step = hang_when_told

from edge_agent.cli import main
sys.exit(main(sys.argv[1:]))
"""
PERIOD_S = 0.2
"""A third of the watchdog's interval below."""


def test_pings_stop_when_a_worker_hangs(tmp_path: Path, mosquitto: Mosquitto) -> None:
    told = tmp_path / "hang-now"
    environ = {"WATCHDOG_USEC": "600000", "HANG_WHEN_THERE": str(told)}
    with AgentProcess(tmp_path / "agent", mosquitto.port, environ=environ, entry=("-c", HANGING)) as agent:
        agent.start()
        eventually(lambda: agent.notifications().count("WATCHDOG=1") >= 3, "pings while all is well")
        told.touch()
        eventually(lambda: "no progress in: deliver" in agent.log(), "the log names the worker")
        fed = agent.notifications().count("WATCHDOG=1")
        time.sleep(5 * PERIOD_S)
        assert agent.notifications().count("WATCHDOG=1") == fed
        assert agent.stop() == 1
        assert "deliver does not stop" in agent.log()


def test_a_second_signal_ends_at_once_what_the_first_cannot(tmp_path: Path, mosquitto: Mosquitto) -> None:
    told = tmp_path / "hang-now"
    told.touch()
    environ = {"HANG_WHEN_THERE": str(told)}
    with AgentProcess(tmp_path / "agent", mosquitto.port, environ=environ, entry=("-c", HANGING)) as agent:
        agent.start()
        assert agent.process is not None
        agent.process.send_signal(signal.SIGTERM)
        eventually(lambda: "STOPPING=1" in agent.notifications(), "it is stopping")
        assert agent.stop(signal.SIGTERM) == 128 + signal.SIGTERM
