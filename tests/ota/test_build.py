"""Manifests as the operator's side writes them, read by the device's code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from edge_ota.build import main

from edge_agent.engines.loading import FACTORY, open_release


def test_a_built_release_opens_on_the_device(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    (folder / "manifest.json").unlink()
    (folder / "certificate.json").unlink()
    assert main([str(folder), "--id", "trial-7", "--counter", "7"]) == 0
    manifest = open_release(folder).manifest
    assert (manifest.id, manifest.counter, manifest.certificate) == ("trial-7", 7, None)


def test_a_certificate_of_another_writer_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    rule = json.loads((folder / "confidence.json").read_text())
    (folder / "confidence.json").write_text(json.dumps(rule | {"threshold": 0.5}))
    assert main([str(folder), "--id", "trial-7", "--counter", "7"]) == 1
    assert "measured with another rule" in capsys.readouterr().err


def test_the_factory_manifest_is_what_the_command_writes(tmp_path: Path) -> None:
    committed = open_release().manifest
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    # It ships inside the package and is never fetched, so it is not described chunk by chunk.
    assert main([str(folder), "--id", committed.id, "--counter", str(committed.counter), "--chunk-kib", "2048"]) == 0
    assert (folder / "manifest.json").read_bytes() == (FACTORY / "manifest.json").read_bytes()


def test_a_folder_that_lacks_a_component_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    (folder / "lexicon.txt").unlink()
    (folder / "manifest.json").unlink()
    assert main([str(folder), "--id", "trial-7", "--counter", "7"]) == 1
    assert "lexicon.txt" in capsys.readouterr().err
    assert not (folder / "manifest.json").exists()
