"""The bar on a terminal, the lines anywhere else, and what both show."""

from __future__ import annotations

import io
import os
import pty
import termios
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.commands.update_bar import WIDTH, Bar, _line, standing
from edge_agent.messages import UpdateState
from edge_agent.update.record import Candidate, Held, Record
from tests.update.whole_updates import Fleet, Gateway


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def state(stage: str = "fetching", candidate: str = "fleet-1") -> UpdateState:
    return UpdateState(gateway="gw", release="", state=stage, candidate=candidate)


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()], ids=["file", "dumb-terminal"])
def test_what_no_line_can_be_taken_back_on_gets_one_for_each_change_and_none_twice(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb" if out.isatty() else "xterm")
    bar = Bar(out)
    bar.show(state("idle", ""), 0, 0)
    for done in range(5):
        bar.show(state(), done, 5)
    bar.show(state("verified"), 5, 5)
    bar.close()
    assert out.getvalue() == "fetching  fleet-1\nverified  fleet-1\n"


def test_a_terminal_gets_one_line_that_grows_and_goes() -> None:
    out = Terminal()
    bar = Bar(out)
    bar.show(state("idle", ""), 0, 0)
    assert out.getvalue() == ""
    bar.show(state(), 1_000_000, 2_000_000)
    shown = out.getvalue()
    assert shown == f"\r\x1b[Kfetching  fleet-1 [{'#' * (WIDTH // 2)}{'.' * (WIDTH // 2)}] 1.0 of 2.0 MB"
    bar.show(state(), 1_000_000, 2_000_000)
    assert out.getvalue() == shown
    bar.show(state(), 3_000_000, 2_000_000)
    assert f"[{'#' * WIDTH}] 3.0" in out.getvalue()
    bar.close()
    bar.close()
    assert out.getvalue().endswith("MB\r\x1b[K")
    assert "\n" not in out.getvalue()


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_what_it_waits_for_is_said_once_on_a_line_of_its_own(out: io.StringIO) -> None:
    bar = Bar(out)
    waits = replace(state(), reason="disk: make room")
    for each in (state("idle", ""), state(), waits, state(), waits, replace(state("idle", ""), reason="a person asked for it")):
        bar.show(each, 0, 0)
    bar.close()
    assert out.getvalue().count("fetching  fleet-1: disk: make room\n") == out.getvalue().count("\n") - (not out.isatty()) == 1
    assert "a person" not in out.getvalue()


def test_a_reader_that_has_enough_does_not_end_what_is_shown() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as out:
        bar = Bar(out)
        bar.show(state(), 0, 0)
        bar.show(state("verified"), 0, 0)
        print("committed", file=out, flush=True)


@pytest.mark.parametrize("columns", [1, 8, 20, 30, 40, 60, 80, 200])
@pytest.mark.parametrize("total_bytes", [0, 135_000_000])
def test_a_bar_keeps_to_one_line_of_the_terminal(columns: int, total_bytes: int) -> None:
    line = _line(f"fetching  {'f' * 40}", 40_000_000, total_bytes, columns)
    assert len(line) < columns or line == ""
    assert columns < 30 or not total_bytes or "40.0 of 135.0 MB" in line
    assert columns < 80 or not total_bytes or "[#" in line


def test_a_terminal_says_how_wide_it_is() -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 30))
    with open(follower, "w") as out:
        Bar(out).show(state(), 1_000_000, 2_000_000)
        shown = os.read(leader, 1_000).decode()
    os.close(leader)
    assert shown == "\r\x1b[Kfetching  fleet 1.0 of 2.0 MB"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    fleet.publish(1)
    return fleet


def test_what_stands_grows_to_the_whole_release(fleet: Fleet, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, fleet.settings(), live=False)
    assert standing(gateway.keeper.folder, gateway.record) == (0, 0)
    gateway.until(lambda record: record.stage == "fetching")
    done, total = standing(gateway.keeper.folder, gateway.record)
    assert 0 <= done <= total
    gateway.until(lambda record: record.stage == "verified")
    assert standing(gateway.keeper.folder, gateway.record) == (total, total)
    gateway.stop()


def test_a_candidate_of_which_nothing_stands_yet_shows_no_bar(tmp_path: Path) -> None:
    held = Held(release="fleet-1", counter=1, manifest_sha256="a" * 64)
    record = Record(stage="fetching", candidate=Candidate(held=held, source="repository"))
    assert standing(tmp_path, record) == (0, 0)
