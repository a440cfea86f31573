"""Opening the factory release, and refusing one that was touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec.structs import replace

from edge_agent.engines.instruction_set import instruction_set
from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.errors import EngineError, ReleaseError, StorageError
from edge_agent.prompt import CONTROLS, STYLES, prompt_of
from edge_agent.release.certificate import parse_certificate
from edge_agent.release.manifest import describe, encode_manifest, parse_manifest
from edge_agent.values import Chunk
from tests.sealed_releases import device_key, seal_factory
from tests.unit.engines.test_writer import SPIKE


def test_the_factory_release_opens_with_its_engines() -> None:
    release = open_release()
    assert release.speaking.id == release.manifest.id
    assert {"at", "rose"} - release.speaking.lexicon == {"rose"}
    assert not release.speaking.lexicon & set(CONTROLS)
    release.open_writer()
    release.open_classifier()


@pytest.mark.parametrize("with_folder", [False, True])
def test_a_sealed_release_speaks_as_the_same_in_the_clear_does(tmp_path: Path, with_folder: bool) -> None:
    seal_factory(tmp_path / "sealed")
    (tmp_path / "clear").mkdir()
    decrypt_folder = str(tmp_path / "clear") if with_folder else ""
    release, clear = open_release(tmp_path / "sealed", "cpu", device_key(tmp_path), decrypt_folder), open_release()
    assert release.speaking == clear.speaking
    chunk = Chunk(relation="alone", subjects=(SPIKE,))
    prompts = [prompt_of(chunk, style) for style in range(STYLES)]
    assert release.open_writer().write(prompts) == clear.open_writer().write(prompts)
    assert release.open_classifier().digest == clear.open_classifier().digest
    assert list((tmp_path / "clear").iterdir()) == [], "nothing stays in the clear"


def test_a_sealed_release_is_not_opened_without_the_devices_key_or_with_anothers(tmp_path: Path) -> None:
    seal_factory(tmp_path)
    with pytest.raises(ReleaseError, match="this device has no key") as keyless:
        open_release(tmp_path)
    assert isinstance(keyless.value.__cause__, StorageError), "the release is not at fault, and stays active"
    with pytest.raises(ReleaseError, match=r"this device's key cannot be used: .*none: no such file"):
        open_release(tmp_path, "cpu", str(tmp_path / "none"))
    with pytest.raises(ReleaseError, match="is not among the 1 that the group key"):
        open_release(tmp_path, "cpu", device_key(tmp_path, X25519PrivateKey.generate()))
    (tmp_path / "keys.json").unlink()
    with pytest.raises(ReleaseError, match=r"keys.json: cannot be read"):
        open_release(tmp_path, "cpu", device_key(tmp_path))


@pytest.mark.parametrize("with_folder", [False, True])
def test_no_engine_is_opened_of_a_sealed_release_that_was_damaged_since(tmp_path: Path, with_folder: bool) -> None:
    seal_factory(tmp_path / "sealed")
    (tmp_path / "clear").mkdir()
    release = open_release(tmp_path / "sealed", "cpu", device_key(tmp_path), str(tmp_path / "clear") if with_folder else "")
    for name, opens in (("writer/model.bin", release.open_writer), ("classifier.tflite", release.open_classifier)):
        path = tmp_path / "sealed" / name
        data = bytearray(path.read_bytes())
        data[5_000] ^= 1
        path.write_bytes(data)
        with pytest.raises(EngineError, match=name):
            opens()
    assert list((tmp_path / "clear").iterdir()) == []


def test_a_folder_for_what_is_opened_that_is_not_there_is_told(tmp_path: Path) -> None:
    seal_factory(tmp_path / "sealed")
    release = open_release(tmp_path / "sealed", "cpu", device_key(tmp_path), str(tmp_path / "none"))
    with pytest.raises(EngineError, match=r"and `update\.decrypt_folder`"):
        release.open_writer()


def _components() -> list[str]:
    return sorted(open_release().manifest.components)


@pytest.mark.parametrize("name", _components())
def test_a_component_that_is_missing_or_changed_is_named(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ReleaseError, match=name):
        open_release(folder)
    (folder / name).unlink()
    with pytest.raises(ReleaseError, match=name):
        open_release(folder)


def _certified_for(folder: Path, instruction_set: str) -> None:
    """Let the certificate speak of another machine, and the manifest of that certificate."""
    path = folder / "certificate.json"
    certificate = json.loads(path.read_bytes())
    for measured in certificate["measured"]:
        measured["machine"]["instruction_set"] = instruction_set
    path.write_text(json.dumps(certificate))
    manifest = parse_manifest((folder / "manifest.json").read_bytes(), "m")
    component = describe({"certificate.json": path.read_bytes()})
    changed = replace(manifest, components={**manifest.components, **component})
    (folder / "manifest.json").write_bytes(encode_manifest(changed))


def test_the_certified_threshold_is_in_force_where_it_was_measured(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    _certified_for(folder, instruction_set())
    release = open_release(folder)
    certificate = parse_certificate((folder / "certificate.json").read_bytes(), "c")
    assert release.certified == ""
    assert release.speaking.rule.threshold == certificate.measured[0].threshold


def test_elsewhere_the_rules_own_threshold_is_in_force_and_health_can_say_why(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    _certified_for(folder, "z80/none")
    release = open_release(folder)
    assert release.certified.startswith("the certificate was measured on z80/none")
    assert "the verifier still decides every sentence" in release.certified
    assert release.speaking.rule.threshold == json.loads((FACTORY / "confidence.json").read_text())["threshold"]
    assert "not on cuda" in open_release(folder, device="cuda").certified


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    (folder / "certificate.json").write_text("{}")
    manifest = parse_manifest((folder / "manifest.json").read_bytes(), "m")
    component = describe({"certificate.json": b"{}"})
    (folder / "manifest.json").write_bytes(encode_manifest(replace(manifest, components={**manifest.components, **component})))
    with pytest.raises(ReleaseError, match="not a certificate"):
        open_release(folder)


def test_a_folder_without_a_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"manifest\.json"):
        open_release(tmp_path)
