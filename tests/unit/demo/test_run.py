"""The demo's own decisions: its options, what it says when it cannot begin, and its progress."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edge_agent.demo import run
from edge_agent.demo.host import HostMetrics
from edge_agent.demo.pump import PumpLine
from edge_agent.demo.show import Board
from edge_agent.demo.sources import LiveSource
from edge_agent.demo.stage import Stage
from edge_agent.errors import LinkError


def test_a_recording_that_is_not_there_is_said_and_nothing_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stage, "build", lambda *_: pytest.fail("started a stage"))
    assert run.main(["--replay", str(tmp_path / "no.csv")]) == 1
    assert "no.csv" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--speed", "0"], ["--broker", "other"], ["--duration", "long"]])
def test_wrong_options_are_usage_errors(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(arguments)
    assert ended.value.code == 2


def test_a_part_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise LinkError("no broker could be started; install mosquitto")

    monkeypatch.setattr(Stage, "build", refuse)
    assert run.main(["--plain"]) == 1
    assert "install mosquitto" in capsys.readouterr().err


def test_sigterm_ends_it_as_ctrl_c_does_and_the_handler_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Stage, "build", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert run.main(["--plain"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_progress_counts_the_warm_up_and_then_what_was_seen() -> None:
    source = LiveSource(PumpLine(seed=1), HostMetrics())
    board = Board("edge/demo", 0.0)
    source.due(1.0)
    fine, coarse = run._progress(source, board, 1.0)
    assert "11 of 64" in fine
    assert "11" not in coarse
    source.due(10.0)
    fine, coarse = run._progress(source, board, 10.0)
    assert "0 incidents" in fine
    assert coarse == "watching"
