"""`audit replay`: the same bytes again, or the first entry that differs and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_agent.chain import ANCHOR, link
from edge_agent.messages.log_lines import Chain, log_lines, parse_log
from edge_agent.replay import command
from edge_agent.replay.compare import first_difference, main
from edge_agent.values import LogEntry
from tests.unit.replay.test_command import recording, spiky

OPTIONS = ("--statistics-only", "--template")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return recording(tmp_path / "pump.csv", spiky())


@pytest.fixture
def recorded(tmp_path: Path, source: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    assert command.main([str(source), *OPTIONS, "--audit", str(path)]) == 0
    return path


def entries_of(path: Path) -> list[LogEntry]:
    return parse_log(path.read_bytes().splitlines(keepends=True), "log")[1]


def rewrite(path: Path, bodies: list[bytes]) -> None:
    """A log of other bodies that is whole in itself."""
    chain = Chain()
    path.write_bytes(b"".join(log_lines([chain.append(body) for body in bodies])))


def compare(source: Path, recorded: Path, *options: str) -> int:
    return main([str(source), str(recorded), *OPTIONS, *options])


def test_the_same_input_and_release_give_the_recorded_bytes(
    source: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(source, recorded) == 0
    assert entries_of(recorded)[-1].hash.hex() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("release", "factory-0", "another release spoke"),
        ("agent", "0.0.1", "another version of the agent decided"),
        ("text", "0" * 64, "the same words with facts printed otherwise"),
        ("skeleton", "0" * 64, "the writer chose other words"),
        ("input", "0" * 64, "detection found something else"),
    ],
)
def test_the_first_entry_that_differs_is_named_with_the_reason(
    source: Path, recorded: Path, capsys: pytest.CaptureFixture[str], part: str, value: str, says: str
) -> None:
    bodies = [json.loads(entry.body) for entry in entries_of(recorded)]
    bodies[1][part] = value
    rewrite(recorded, [json.dumps(body, sort_keys=True, separators=(",", ":")).encode() for body in bodies])
    assert compare(source, recorded) == 1
    out = capsys.readouterr().out
    assert f"entry 2 differs: {says}" in out
    assert f'{part}: recorded "{value}", now ' in out


def test_other_bytes_of_the_same_decision_are_no_recording_of_ours(
    source: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = [entry.body for entry in entries_of(recorded)]
    rewrite(recorded, [json.dumps(json.loads(bodies[0])).encode(), *bodies[1:]])
    assert compare(source, recorded) == 1
    assert "entry 1 differs: the same decision in other bytes" in capsys.readouterr().out


def test_a_decision_too_few_or_too_many_is_named(source: Path, recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bodies = [entry.body for entry in entries_of(recorded)]
    rewrite(recorded, bodies[:-1])
    assert compare(source, recorded) == 1
    assert f"entry {len(bodies)} was not recorded: value-" in capsys.readouterr().out
    rewrite(recorded, [*bodies, bodies[-1]])
    assert compare(source, recorded) == 1
    assert f"entry {len(bodies) + 1} does not come again: value-" in capsys.readouterr().out


def test_a_recorded_log_that_was_changed_is_not_compared(
    source: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.write_bytes(recorded.read_bytes().replace(b"template-only", b"factory-1", 1))
    assert compare(source, recorded) == 1
    assert "entry 1 does not follow from the one before" in capsys.readouterr().err


def test_a_recorded_log_without_its_beginning_is_not_compared(
    source: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = entries_of(recorded)
    recorded.write_bytes(b"".join(log_lines(entries[1:], entries[0].hash)))
    assert compare(source, recorded) == 1
    assert "does not begin with the first decision" in capsys.readouterr().err


def test_what_is_no_log_is_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no.jsonl"
    path.write_text("{}\n")
    assert compare(source, path) == 1
    assert f"{path}:1: is no entry of a log" in capsys.readouterr().err
    assert compare(source, tmp_path / "absent.jsonl") == 1
    assert "absent.jsonl: No such file" in capsys.readouterr().err


def test_two_empty_logs_are_the_same() -> None:
    assert first_difference([], []) is None


def test_an_entry_of_another_kind_is_refused_by_its_number(
    source: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = b'{"schema":"edge-agent-decision/9"}'
    line = LogEntry(number=1, body=body, hash=link(ANCHOR, body))
    recorded.write_bytes(b"".join(log_lines([line])))
    assert compare(source, recorded) == 1
    assert "entry 1 is no entry of the audit log" in capsys.readouterr().err
