"""The command: which parts run, what is written where, and what becomes of a part that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.bench import run
from edge_agent.bench.harness import BenchError
from edge_agent.bench.report import Figure
from edge_agent.demo.broker import Broker


def works(_broker: Broker, quick: bool) -> Iterator[Figure]:
    yield Figure(part="works", name="quick" if quick else "long", value=1.0, unit="s", n=1)


def fails(_broker: Broker, _quick: bool) -> Iterator[Figure]:
    yield Figure(part="fails", name="first", value=2.0, unit="s", n=1)
    raise BenchError("the agent did not become ready")


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PARTS", {"works": works, "fails": fails})


def test_a_part_that_fails_is_reported_and_what_it_took_is_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert run.main(["--json", str(path), "--quick"]) == 1
    shown = capsys.readouterr().out
    assert "did not become ready" in shown
    assert "quick" in shown
    figures = json.loads(path.read_text())["figures"]
    assert [figure["name"] for figure in figures] == ["quick", "first", "failed"]


def test_only_the_parts_asked_for_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["works", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"][0]["name"] == "long"


def test_a_part_that_there_is_not_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["wroks"])
    assert "there are works, fails" in capsys.readouterr().err


def test_the_machine_is_described() -> None:
    assert "cores" in run.machine()
    assert "Python" in run.machine()
