"""`explain`: the documented JSON, the template where the release cannot speak, and plain words where the file is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.commands.explain_file import explain_file
from edge_agent.engines import speaking
from edge_agent.errors import IncidentFormatError, ReleaseError
from edge_agent.messages import encode, incident_document
from tests.writing import anomaly, incident


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = tmp_path / "incident.json"
    path.write_bytes(encode(incident_document(incident(anomaly(end_s=1_790_000_003.0)))))
    return str(path)


def test_the_template_speaks_when_asked(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain_file(path, "UTC", template_only=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["text", "skeleton", "facts", "confidence", "outcome", "route", "reasons", "release"]
    assert said["text"].startswith("pump-3/vibration rose sharply to 7.25 mm/s")
    assert (said["route"], said["release"]) == ("template", "template-only")


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "latin-1"])
def test_the_output_is_utf_8_in_every_locale(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "incident.json"
    path.write_bytes(encode(incident_document(incident(anomaly("p/пульс", unit="Ω")))))
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "explain", "--template", str(path)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert "p/пульс rose sharply to 7.25 Ω" in json.loads(done.stdout.decode())["text"]


def test_times_are_in_the_zone_that_is_asked_for(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    explain_file(path, "Asia/Tokyo", template_only=True)
    tokyo = json.loads(capsys.readouterr().out)["text"]
    explain_file(path, "UTC", template_only=True)
    assert tokyo != json.loads(capsys.readouterr().out)["text"]


def test_a_release_that_cannot_be_used_leaves_the_template_and_says_why(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: str) -> None:
        raise ReleaseError("manifest.json: damaged")

    monkeypatch.setattr(speaking, "open_release", refuse)
    assert explain_file(path, "UTC", template_only=False) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["route"] == "template"
    assert "manifest.json: damaged" in printed.err


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_a_time_zone_that_does_not_exist_is_refused(path: str, zone: str) -> None:
    with pytest.raises(IncidentFormatError, match="bad-timezone"):
        explain_file(path, zone, template_only=True)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IncidentFormatError, match=r"none\.json"):
        explain_file(str(tmp_path / "none.json"), "UTC", template_only=True)


def test_a_file_that_never_ends_is_refused_not_read(tmp_path: Path) -> None:
    with pytest.raises(IncidentFormatError):
        explain_file("/dev/zero", "UTC", template_only=True)
