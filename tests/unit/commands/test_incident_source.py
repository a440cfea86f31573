"""An incident from a file or standard input, and what is said where there is none."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from edge_agent.commands.incident_source import incident_in
from edge_agent.errors import IncidentFormatError
from edge_agent.messages import MAX_FILE_BYTES, encode, incident_document, parse_incident
from tests.writing import anomaly, incident

ONE = encode(incident_document(incident(anomaly())))


def test_an_incident_is_read_from_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "i.json").write_bytes(ONE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ONE)))
    assert incident_in(str(tmp_path / "i.json")) == incident_in("-") == parse_incident(ONE, "")


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IncidentFormatError, match=r"none\.json: No such file"):
        incident_in(str(tmp_path / "none.json"))
    (tmp_path / "long.json").write_bytes(b" " * (MAX_FILE_BYTES + 10))
    with pytest.raises(IncidentFormatError, match=r"long\.json"):
        incident_in(str(tmp_path / "long.json"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{")))
    with pytest.raises(IncidentFormatError, match="standard input"):
        incident_in("-")
