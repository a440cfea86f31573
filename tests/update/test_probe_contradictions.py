"""Releases whose parts contradict each other, or cannot be read: the probe says so before any engine is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.engines.loading import machine_of
from edge_agent.probe.trial import probe
from edge_agent.update.jobs import ProbeJob
from tests.update import releases


def refused(folder: Path) -> tuple[str, str]:
    told: list[str] = []
    probed = probe(ProbeJob(folder=str(folder)), told.append)
    assert probed.problem is not None, "the probe finds nothing wrong"
    assert probed.problem.kind == "release"
    assert told == ["files"], "engines were loaded"
    return probed.problem.reason, probed.problem.detail


@pytest.mark.parametrize(
    "document",
    [{}, [], {"format": "edge-agent-golden/1", "cases": []}, {"format": "edge-agent-golden/2", "cases": [{}]}, "cut"],
    ids=["empty", "list", "no-case", "other-format", "incident"],
)
def test_golden_cases_that_cannot_be_read(document: object, tmp_path: Path) -> None:
    if document == "cut":
        document = {"format": "edge-agent-golden/1", "cases": [{"incident": {"id": "a"}, "text": "", "route": "writer"}]}
    folder = releases.release_of(tmp_path, {"golden.json": releases.as_json(document)}, golden=True)
    reason, detail = refused(folder)
    assert reason == "unusable"
    assert "not golden cases" in detail


@pytest.mark.parametrize("name", ["writer/model.bin", "lexicon.txt", "classifier.tflite"])
def test_a_file_that_is_not_the_manifests(name: str, tmp_path: Path) -> None:
    folder = releases.release_of(tmp_path, {})
    (folder / name).write_bytes(releases.read(name)[:-1])
    reason, detail = refused(folder)
    assert reason == "unusable"
    assert name in detail


def changed_rule(**fields: Any) -> bytes:
    return releases.as_json({**json.loads(releases.read("confidence.json")), **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"threshold": 0.0}, "lets pass what its own rule scores worst"),
        ({"threshold": -1.0}, "lets pass what its own rule scores worst"),
        ({"threshold": 1.5}, "lets nothing pass"),
        ({"weights": [0.0, 0.0, 0.0, 0.0]}, "lets pass what its own rule scores worst"),
        ({"weights": [-30.0, -3.0, -5.0, 0.0]}, "lets pass what its own rule scores worst"),
        ({"weights": [1e307, -1e307, 1.0, 1.0]}, "has numbers above 1e+06"),
        ({"intercept": -1e308}, "has numbers above 1e+06"),
    ],
)
def test_a_confidence_rule_that_decides_nothing(fields: dict[str, object], expected: str, tmp_path: Path) -> None:
    reason, detail = refused(releases.release_of(tmp_path, {"confidence.json": changed_rule(**fields)}))
    assert reason == "contradictory"
    assert expected in detail


def test_a_confidence_rule_with_a_threshold_that_is_no_number(tmp_path: Path) -> None:
    rule = releases.read("confidence.json").replace(b"0.986818", b"NaN")
    reason, detail = refused(releases.release_of(tmp_path, {"confidence.json": rule}))
    assert reason == "unusable"
    assert "confidence.json" in detail


def test_a_certificate_of_another_writer(tmp_path: Path) -> None:
    certificate = json.loads(releases.read("certificate.json"))
    certificate["speaker"]["writer_sha256"] = "0" * 64
    changes = {"certificate.json": releases.as_json(certificate)}
    reason, detail = refused(releases.release_of(tmp_path, changes, certified=True))
    assert reason == "contradictory"
    assert "measured with another writer" in detail


def test_a_certificate_whose_threshold_decides_nothing(tmp_path: Path) -> None:
    """Where it was measured, and so holds."""
    certificate = json.loads(releases.read("certificate.json"))
    measured = certificate["measured"][0]
    measured["machine"] = msgspec.to_builtins(machine_of()[0])
    measured["counts"].append({**measured["counts"][-1], "threshold": 0.0})
    measured["threshold"] = 0.0
    changes = {"certificate.json": releases.as_json(certificate)}
    reason, detail = refused(releases.release_of(tmp_path, changes, certified=True))
    assert reason == "contradictory"
    assert "the threshold 0 of its certificate lets pass what its own rule scores worst" in detail


@pytest.mark.parametrize("change", [{"by_writer": 9_999}, {"threshold": 0.1}])
def test_a_certificate_that_contradicts_itself(change: dict[str, object], tmp_path: Path) -> None:
    certificate = json.loads(releases.read("certificate.json"))
    certificate["measured"][0]["counts"][0].update(change)
    changes = {"certificate.json": releases.as_json(certificate)}
    reason, detail = refused(releases.release_of(tmp_path, changes, certified=True))
    assert reason == "contradictory"
    assert "certificate" in detail


@pytest.mark.parametrize(
    ("lexicon", "expected"),
    [(b"", "empty"), (b"at\n<peak:0>\n", "'<peak:0>'"), (b"at\n=say\n", "'=say'"), (b"at\n</s>\n", "'</s>'")],
    ids=["empty", "slot", "control", "end"],
)
def test_a_lexicon_that_holds_what_is_no_word(lexicon: bytes, expected: str, tmp_path: Path) -> None:
    reason, detail = refused(releases.release_of(tmp_path, {"lexicon.txt": lexicon}))
    assert reason == "contradictory"
    assert expected in detail


def tokenizer(**fields: object) -> bytes:
    return releases.as_json({**json.loads(releases.read("tokenizer.json")), **fields})


@pytest.mark.parametrize(
    ("fields", "reason", "expected"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "contradictory", "its tokenizer reads"),
        ({"pre_tokenizer": None}, "contradictory", "beside each other"),
        ({"normalizer": {"type": "Replace", "pattern": {"String": "steadily"}, "content": "slowly"}}, "contradictory", "reads"),
        ({"model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}}, "contradictory", "reads"),
        ({"model": "none"}, "unusable", "not a tokenizer"),
    ],
    ids=["cuts", "merges", "rewrites", "knows-nothing", "no-model"],
)
def test_a_tokenizer_that_does_not_read_pieces_whole(
    fields: dict[str, object], reason: str, expected: str, tmp_path: Path
) -> None:
    found, detail = refused(releases.release_of(tmp_path, {"tokenizer.json": tokenizer(**fields)}))
    assert found == reason
    assert expected in detail


def test_a_vocabulary_that_is_not_the_tokenizers(tmp_path: Path) -> None:
    vocabulary = json.loads(releases.read("writer/vocabulary.json"))
    vocabulary[vocabulary.index("at")] = "madeup"
    reason, detail = refused(releases.release_of(tmp_path, {"writer/vocabulary.json": releases.as_json(vocabulary)}))
    assert reason == "contradictory"
    assert "'at'" in detail


def test_a_file_in_the_writers_folder_that_nobody_signed(tmp_path: Path) -> None:
    folder = releases.release_of(tmp_path, {})
    (folder / "writer" / "shared_vocabulary.json").write_bytes(b"[]")
    reason, detail = refused(folder)
    assert reason == "contradictory"
    assert "writer/shared_vocabulary.json" in detail
