"""A release that gateways would refuse is not built: the builder is told what they would find."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from edge_ota import build
from edge_ota.trial import try_release

from edge_agent.engines.loading import FACTORY
from edge_agent.errors import ReleaseError
from edge_agent.messages import incident_document
from edge_agent.probe.incidents import trial_incidents
from tests.update import releases

Shown = pytest.CaptureFixture[str]


def test_what_gateways_would_refuse_is_not_built(tmp_path: Path, capsys: Shown) -> None:
    folder, incidents = tmp_path / "release", tmp_path / "incidents.jsonl"
    shutil.copytree(FACTORY, folder)
    (folder / "certificate.json").unlink()
    (folder / "lexicon.txt").write_bytes(b".\n")
    incidents.write_bytes(releases.as_json(incident_document(trial_incidents()[0])))
    assert build.main([str(folder), "--id", "bad", "--counter", "7", "--golden", str(incidents)]) == 1
    told = capsys.readouterr().err
    assert "gateways would refuse this release: not-believed: the verifier refused the writer in" in told
    assert not (folder / "manifest.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["incidents.jsonl", "release"]


def test_what_crashes_is_told(tmp_path: Path) -> None:
    folder = releases.release_of(tmp_path / "release", {"classifier.tflite": releases.damaged_classifier()})
    with pytest.raises(ReleaseError, match=r"ends the process that tries it, by SIG(SEGV|BUS)"):
        try_release(folder)


def test_links_are_the_files_themselves(tmp_path: Path) -> None:
    folder = releases.release_of(tmp_path / "release", {"lexicon.txt": b"at\r\n"})
    (folder / "lexicon.txt").rename(tmp_path / "elsewhere")
    (folder / "lexicon.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReleaseError, match="neither a word in small letters nor a stop"):
        try_release(folder)
