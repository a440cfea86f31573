"""The test vectors of docs/formats/logs.md and telemetry.md, run against the code, and the program that stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edge_agent
from edge_agent.chain import ANCHOR, first_break, link
from edge_agent.messages import Health, encode, incident_document, parse_incident
from edge_agent.messages.decisions import DecisionEntry, FateEntry, decision_entry, escalation_entry, read_entry, text_digest
from edge_agent.messages.log_lines import log_lines, parse_log
from edge_agent.messages.telemetry import DROPS, REASONS, Telemetry, telemetry_body, telemetry_of
from edge_agent.values import Escalation, Evidence, Summary

FORMATS = Path(__file__).parents[2] / "docs" / "formats"
LOGS, TELEMETRY = ((FORMATS / name).read_text("utf-8") for name in ("logs.md", "telemetry.md"))
BLOCK = re.compile(r"^```json vectors:(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VECTORS: dict[str, list[dict[str, Any]]] = {name: json.loads(body) for name, body in BLOCK.findall(LOGS + TELEMETRY)}


def vectors(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[name])


def test_every_block_of_vectors_is_run() -> None:
    assert sorted(VECTORS) == ["chains", "decisions", "fates", "files", "telemetry"]


def test_each_hash_of_a_chain_follows_from_the_one_before() -> None:
    before = ANCHOR
    for vector in VECTORS["chains"]:
        before = link(before, vector["body"].encode())
        assert before.hex() == vector["hash"]


@vectors("decisions")
def test_a_decision_gives_its_entry(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_agent, "__version__", vector["agent"])
    incident = parse_incident(vector["document"].encode(), "document")
    assert encode(incident_document(incident)).decode() == vector["document"]
    said = dict(vector["summary"])
    past = said.pop("evidence")
    evidence = past and Evidence(
        incident_id=past["incident"], asset="pump-3", opened_s=0.0, cause="wear", similarity=past["similarity"]
    )
    summary = Summary(
        incident_id=incident.id,
        revision=incident.revision,
        slots=(),
        written_s=0.0,
        evidence=evidence,
        **{**said, "reasons": tuple(said["reasons"])},
    )
    assert decision_entry(incident, summary).decode() == vector["entry"]
    read = read_entry(vector["entry"].encode())
    assert isinstance(read, DecisionEntry)
    assert read.text == text_digest(said["text"])


@vectors("fates")
def test_a_fate_gives_its_entry(vector: dict[str, Any]) -> None:
    given = {key: value for key, value in vector.items() if key not in ("entry", "incident")}
    escalation = Escalation(
        incident_id=vector["incident"],
        severity=0.9,
        queued_s=0.0,
        changed_s=0.0,
        **{**given, "reasons": tuple(given["reasons"])},
    )
    assert escalation_entry(escalation).decode() == vector["entry"]
    assert isinstance(read_entry(vector["entry"].encode()), FateEntry)


@vectors("files")
def test_a_file_is_read_verified_and_written_again(vector: dict[str, Any]) -> None:
    lines = [line.encode() for line in vector["lines"]]
    anchor, entries = parse_log(lines, "file")
    assert first_break(entries, anchor) == vector["broken"]
    assert list(log_lines(entries, anchor)) == lines


@vectors("files")
def test_the_program_in_the_document_comes_to_the_same(vector: dict[str, Any], tmp_path: Path) -> None:
    (program,) = PROGRAM.findall(LOGS)
    (tmp_path / "verify.py").write_text(program, encoding="utf-8")
    (tmp_path / "log.jsonl").write_text("".join(vector["lines"]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "verify.py", "log.jsonl"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    if vector["broken"] is None:
        assert done.stdout == f"whole; head {json.loads(vector['lines'][-1])['hash']}\n"
    else:
        assert (done.returncode, done.stderr) == (1, f"broken at entry {vector['broken']}\n")


@vectors("telemetry")
def test_figures_give_the_document_that_leaves(vector: dict[str, Any]) -> None:
    figures = vector["figures"]
    health = Health(
        version=figures["version"],
        release=figures["release"],
        boot_id="canary",
        started_s=0.0,
        time_s=0.0,
        counts=figures["counts"],
        drops=figures["drops"],
    )
    made = telemetry_of(health, uptime_s=figures["uptime_s"], kinds=figures["kinds"], latency_s=figures["latency_s"])
    assert telemetry_body(made).decode() == vector["body"]


def test_the_document_names_every_key_and_every_word_that_can_leave() -> None:
    table = TELEMETRY[TELEMETRY.index("| key |") : TELEMETRY.index("Reasons:")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(Telemetry.__struct_fields__)
    reasons = TELEMETRY[TELEMETRY.index("Reasons:") : TELEMETRY.index("Drops:")]
    drops = TELEMETRY[TELEMETRY.index("Drops:") : TELEMETRY.index("## What is not")]
    assert sorted(re.findall(r"`([^`]+)`", reasons)) == sorted(REASONS)
    assert sorted(re.findall(r"`([^`]+)`", drops)) == sorted(DROPS)
