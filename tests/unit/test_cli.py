"""The command line: exit codes, what goes where, and what it imports before it knows what is wanted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edge_agent
from edge_agent.cli import BAD_CONFIG, FAILED, INTERRUPTED, main
from edge_agent.messages import encode, incident_document
from tests.writing import anomaly, incident

GOOD = "gateway: {id: gw-1}\nroutes:\n  - {topic: 'sensors/#', format: number}\n"


@pytest.fixture
def incident_file(tmp_path: Path) -> Path:
    path = tmp_path / "incident.json"
    path.write_bytes(encode(incident_document(incident(anomaly(), anomaly("pump-3/flow", "dip")))))
    return path


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent", *arguments], input=stdin, capture_output=True, timeout=60, check=False
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"edge-agent {edge_agent.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["no-such"], ["run", "--no-such"], ["check"], ["incidents", "--state", "ajar"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["run", "demo", "check", "status", "incidents", "explain", "egress", "audit", "replay", "bench"]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["verify", "export", "replay"])
def test_every_command_about_the_audit_log_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", command, "--help"])
    assert ended.value.code == 0
    assert f"edge-agent audit {command}" in capsys.readouterr().out


def test_a_head_that_is_no_hash_and_options_that_exclude_each_other_are_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", "verify", "--head", "abc"])
    assert ended.value.code == 2
    assert "'abc' is no hash; expected 64 hexadecimal digits" in capsys.readouterr().err
    assert main(["audit", "verify", "--explain", str(tmp_path / "log.jsonl")]) == 2
    assert "--explain reads the journal" in capsys.readouterr().err


def test_the_audit_log_of_a_state_folder_is_verified_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "edge-agent.yaml"
    config.write_text(f"state_dir: {tmp_path}\n")
    assert main(["audit", "verify", "--config", str(config)]) == 0
    assert "audit log: no entries" in capsys.readouterr().out
    assert main(["audit", "export", "--config", str(config), "--log", "egress"]) == 0
    assert capsys.readouterr().out == ""


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, edge_agent.cli; print([m for m in ('numpy', 'paho', 'yaml', 'msgspec', 'sqlite3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"[]\n"


def test_check_says_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    assert main(["check", str(path)]) == 0
    assert f"{path}: OK, gateway gw-1, 1 route\n" in capsys.readouterr().out


def test_check_prints_every_problem_with_its_place_and_exits_with_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("gatewya: {id: gw-1}\nmqtt:\n  port: many\n")
    assert main(["check", str(path)]) == BAD_CONFIG
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if not line.endswith("(warning)")]) == 2
    assert lines[0].startswith(f"{path}:1:1: gatewya: ")
    assert "gateway" in lines[0]
    assert lines[1].startswith(f"{path}:3:")


@pytest.mark.parametrize("command", ["run", "status", "incidents"])
def test_a_bad_configuration_exits_with_78(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("gatewya: {id: gw-1}\n")
    assert main([command, "--config", str(path)]) == BAD_CONFIG
    assert "gatewya" in capsys.readouterr().err


def test_a_configuration_that_is_not_there_exits_with_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none.yaml")]) == BAD_CONFIG
    assert "none.yaml" in capsys.readouterr().out


def test_explain_takes_a_file_or_standard_input_and_is_deterministic(incident_file: Path) -> None:
    first = run("explain", str(incident_file))
    second = run("explain", "-", stdin=incident_file.read_bytes())
    assert first.returncode == second.returncode == 0
    assert first.stdout == second.stdout
    assert set(json.loads(first.stdout)) >= {"text", "skeleton", "facts", "confidence", "outcome", "reasons", "release"}


def test_explain_says_what_is_wrong_with_an_incident(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.json"
    path.write_text('{"anomalies": [{"stream": 7}]}')
    assert main(["explain", str(path)]) == FAILED
    assert capsys.readouterr().err.startswith(f"edge-agent: {path}")
    assert main(["explain", str(tmp_path)]) == FAILED
    assert capsys.readouterr().err == f"edge-agent: {tmp_path}: Is a directory\n"


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(name: str, timezone: str, *, template_only: bool, settings: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_agent.commands.explain_file.explain_file", interrupted)
    assert main(["explain", "-"]) == INTERRUPTED
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_enough_ends_it_quietly(incident_file: Path) -> None:
    script = f"{sys.executable} -m edge_agent explain --template {incident_file} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"0\n"
    assert done.stderr == b""


@pytest.mark.parametrize(
    "command", ["", "run", "status", "explain", "update", "update apply", "update key", "audit verify", "egress log"]
)
def test_help_names_the_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    assert "exit codes: 0 done" in capsys.readouterr().out


def test_what_came_of_it_is_the_exit_code_also_where_nobody_reads_on(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    path = tmp_path / "bad.yaml"
    path.write_text("gatewya: {id: gw-1}\n")
    command = (sys.executable, "-m", "edge_agent", "check", str(path))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (BAD_CONFIG, b"")


def test_output_that_nobody_can_take_is_told_without_a_traceback(tmp_path: Path) -> None:
    config = tmp_path / "edge-agent.yaml"
    config.write_text(json.dumps({"gateway": {"id": "gw-1"}, "state_dir": str(tmp_path / "state")}))
    with open("/dev/full", "w") as full:
        command = (sys.executable, "-m", "edge_agent", "update", "history", "--config", str(config))
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (FAILED, b"edge-agent: No space left on device\n")


def test_a_state_folder_of_somebody_else_is_told_without_a_traceback(tmp_path: Path) -> None:
    config = tmp_path / "edge-agent.yaml"
    config.write_text(json.dumps({"gateway": {"id": "gw-1"}}))
    refusing = """
import sys
from edge_agent.commands import updates
def refused(*_):
    raise PermissionError(13, "Permission denied", "/var/lib/edge-agent/update")
updates.read_record = refused
from edge_agent.cli import main
sys.exit(main(sys.argv[1:]))
"""
    command_line = (sys.executable, "-c", refusing, "update", "status", "--config", str(config))
    done = subprocess.run(command_line, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (FAILED, b"")
    assert done.stderr == (
        b"edge-agent: /var/lib/edge-agent/update: Permission denied; run this as the agent's user, or as root\n"
    )
