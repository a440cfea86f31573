"""The files for systemd are read by systemd's own tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "edge-agent.service"


def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: the unit is checked where systemd is")
    text = UNIT.read_text()
    (start,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(start, f"ExecStart={shutil.which('true')}"))
    checked = subprocess.run([program, "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60)
    # It exits with 0 on keys that it does not know; what it prints tells.
    assert checked.stdout + checked.stderr == ""


def test_the_unit_holds_what_the_agent_relies_on() -> None:
    lines = set(UNIT.read_text().splitlines())
    assert {
        "Type=notify",
        "NotifyAccess=main",
        "RestartPreventExitStatus=78",
        "SystemCallErrorNumber=EPERM",
        "CapabilityBoundingSet=",
    } <= lines
    assert any(line.startswith("WatchdogSec=") for line in lines)
    assert not any(line.startswith("MemoryDenyWriteExecute=") for line in lines), "the writer's library makes code as it runs"
    assert not any(line.startswith("ProcSubset=pid") for line in lines), "it hides the processor's features from the engines"


def test_the_user_and_the_folders_are_declared() -> None:
    assert "u edge-agent " in (DEPLOY / "sysusers.d" / "edge-agent.conf").read_text()
    assert "/etc/edge-agent " in (DEPLOY / "tmpfiles.d" / "edge-agent.conf").read_text()
