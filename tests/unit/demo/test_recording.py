"""Recordings: what is read, when it is due, and what is refused in words."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from edge_agent.demo.recording import AS_FAST_AS_IT_GOES, ROWS_AT_ONCE, Recording, speed_of
from edge_agent.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pump 7.csv"


def test_columns_become_topics_and_labels_are_left_out(path: Path) -> None:
    path.write_text("datetime;Volume Flow;temp #1;anomaly\n2020-03-09 10:14:33;1.5;20;0\n")
    assert Recording(path).due(0.0) == [("sensors/pump-7/Volume-Flow", b"1.5"), ("sensors/pump-7/temp-1", b"20")]


def test_an_empty_or_unreadable_cell_is_no_reading(path: Path) -> None:
    path.write_text("timestamp,a,b,c\n0,1,,nan\n1,,x,inf\n2,,,3\n")
    recording = Recording(path)
    assert recording.due(1e9) == [("sensors/pump-7/a", b"1"), ("sensors/pump-7/c", b"3")]
    assert recording.next_s() is None


def test_its_own_pace_is_multiplied(path: Path) -> None:
    path.write_text("timestamp,a\n2020-01-01T00:00:00Z,1\n2020-01-01T00:05:00Z,2\n2020-01-01T00:10:00Z,3\n")
    recording = Recording(path, 100.0)
    assert len(recording.due(0.0)) == 1
    assert recording.next_s() == 3.0
    assert recording.due(2.9) == []
    assert len(recording.due(3.0)) == 1
    assert len(recording.due(6.0)) == 1
    assert recording.readings_each() == 3


def test_without_a_speed_twenty_rows_a_second_are_due(path: Path) -> None:
    path.write_text("t,a\n" + "".join(f"{3600 * row},{row}\n" for row in range(100)))
    recording = Recording(path)
    assert len(recording.due(0.99)) == 20


def test_as_fast_as_it_goes_everything_is_due_in_portions(path: Path) -> None:
    path.write_text("t,a\n" + "".join(f"{3600 * row},{row}\n" for row in range(ROWS_AT_ONCE + 10)))
    recording = Recording(path, AS_FAST_AS_IT_GOES)
    assert len(recording.due(0.0)) == ROWS_AT_ONCE
    assert len(recording.due(0.0)) == 10


@pytest.mark.parametrize("text", ["", "time,a\n", "time\n1\n2\n", "time,a\n1,x\n"])
def test_a_file_without_readings_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match="holds no reading"):
        Recording(path)


def test_a_bad_time_is_refused_with_its_line(path: Path) -> None:
    path.write_text("time,a\n1,1\nyesterday,2\n")
    with pytest.raises(InputError, match=r"pump 7.csv:3:1: 'yesterday' is no time"):
        Recording(path).due(1e9)


def test_a_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        Recording(path)


@pytest.mark.parametrize(("text", "speed"), [("max", AS_FAST_AS_IT_GOES), ("60", 60.0), ("0.5", 0.5)])
def test_speeds(text: str, speed: float) -> None:
    assert speed_of(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf"])
def test_what_is_no_speed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="give a number above 0"):
        speed_of(text)
