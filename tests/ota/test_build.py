"""Manifests as the operator's side writes them, read by the device's code: limits, chunks, golden cases, bill of materials."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from edge_ota.build import main

from edge_agent.engines.loading import FACTORY, machine_of, open_release
from edge_agent.probe.golden import parse_golden
from edge_agent.release.manifest import CHUNK_BYTES, REQUIRED, parse_manifest
from edge_agent.replay.command import main as replay

RECORDING = Path(__file__).resolve().parents[1] / "recordings/host.csv"
Shown = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying a release takes seconds, and has its own tests."""
    monkeypatch.setattr("edge_ota.build.try_release", lambda _folder: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The factory's release, without what is made anew."""
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    (folder / "manifest.json").unlink()
    (folder / "certificate.json").unlink()
    return folder


def build(folder: Path, *options: str) -> int:
    return main([str(folder), "--id", "trial-7", "--counter", "7", *options])


def manifest_of(folder: Path) -> Any:
    return parse_manifest((folder / "manifest.json").read_bytes(), "manifest")


def test_a_built_release_opens_on_the_device(folder: Path) -> None:
    assert build(folder) == 0
    manifest = open_release(folder).manifest
    assert (manifest.id, manifest.counter, manifest.certificate, manifest.golden) == ("trial-7", 7, None, None)


def test_a_certificate_of_another_writer_is_refused(folder: Path, capsys: Shown) -> None:
    shutil.copy(FACTORY / "certificate.json", folder)
    rule = json.loads((folder / "confidence.json").read_text())
    (folder / "confidence.json").write_text(json.dumps(rule | {"threshold": 0.5}))
    assert build(folder) == 1
    assert "measured with another rule" in capsys.readouterr().err


def test_the_factory_manifest_is_what_the_command_writes(tmp_path: Path) -> None:
    committed = open_release().manifest
    folder = tmp_path / "release"
    shutil.copytree(FACTORY, folder)
    # It ships inside the package and is never fetched, so it is not described chunk by chunk.
    assert main([str(folder), "--id", committed.id, "--counter", str(committed.counter), "--chunk-kib", "2048"]) == 0
    assert (folder / "manifest.json").read_bytes() == (FACTORY / "manifest.json").read_bytes()


@pytest.mark.parametrize("name", REQUIRED)
def test_a_folder_that_lacks_a_component_is_refused(folder: Path, name: str, capsys: Shown) -> None:
    (folder / name).unlink()
    assert build(folder) == 1
    assert name in capsys.readouterr().err
    assert not (folder / "manifest.json").exists()


@pytest.mark.parametrize("name", [".hidden", ".git/config", "writer/.cache/x", ".manifest.json.tmp"])
def test_a_hidden_file_is_not_released_by_mistake(folder: Path, name: str, capsys: Shown) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    assert build(folder) == 1
    assert f"{folder / name}: hidden" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 201])
def test_a_file_whose_name_no_device_takes_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("x")
    assert build(folder) == 1
    assert not (folder / "manifest.json").exists()


def test_a_file_of_another_folder_that_is_called_a_manifest_is_a_component(folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes/manifest.json").write_text("{}")
    assert build(folder) == 0
    assert "notes/manifest.json" in manifest_of(folder).components


def test_a_pickle_is_refused_and_named(folder: Path, capsys: Shown) -> None:
    (folder / "vectors.bin").write_bytes(b"\x80\x04N.")
    assert build(folder) == 1
    assert "vectors.bin: begins as a pickle" in capsys.readouterr().err


def test_limits_are_written(folder: Path) -> None:
    assert build(folder) == 0
    assert manifest_of(folder).limits.max_rss_bytes == 400 << 20
    assert build(folder, "--max-rss-mib", "600", "--max-sentence-s", "7.5") == 0
    limits = manifest_of(folder).limits
    assert (limits.max_rss_bytes, limits.max_sentence_s) == (600 << 20, 7.5)


WRONG = ["--max-rss-mib=0", "--max-sentence-s=0", "--max-sentence-s=inf", "--max-sentence-s=nan", "--chunk-kib=3"]


@pytest.mark.parametrize("wrong", [*WRONG, "--chunk-kib=16385", "--counter=x"])
def test_a_limit_that_is_none_is_wrong_usage(folder: Path, wrong: str) -> None:
    with pytest.raises(SystemExit) as ended:
        build(folder, wrong)
    assert ended.value.code == 2


@pytest.mark.parametrize("chunk_kib", [4, 100, CHUNK_BYTES >> 10])
def test_a_large_component_is_described_chunk_by_chunk(folder: Path, chunk_kib: int) -> None:
    assert build(folder, "--chunk-kib", str(chunk_kib)) == 0
    size = chunk_kib << 10
    for name, component in manifest_of(folder).components.items():
        data = (folder / name).read_bytes()
        assert (component.sha256, component.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (component.stored is not None) == (len(data) > size)
        if component.stored is not None:
            cut = [data[at : at + size] for at in range(0, len(data), size)]
            assert component.stored.chunks == tuple(hashlib.sha256(chunk).hexdigest() for chunk in cut)
            assert (component.stored.sha256, component.stored.size_bytes) == (component.sha256, len(data))
    assert manifest_of(folder).components["writer/model.bin"].stored is not None


@pytest.fixture(scope="module")
def incidents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of incidents as the agent publishes them: of a recording, and of one that is edited."""
    path = tmp_path_factory.mktemp("incidents") / "incidents.jsonl"
    assert replay([str(RECORDING), "--incidents", str(path)]) == 0
    document = json.loads(path.read_text().splitlines()[0])
    another = document | {"id": "host-another", "state": "open", "closed": None}
    path.write_text(f"{json.dumps(document)}\n\n{json.dumps(another)}\n")
    return path


def test_golden_cases_are_what_the_release_writes_here(folder: Path, incidents: Path) -> None:
    assert build(folder, "--golden", str(incidents)) == 0
    assert manifest_of(folder).golden == "golden.json"
    data = (folder / "golden.json").read_bytes()
    document = json.loads(data)
    assert set(document) == {"format", "machine", "cases"}
    assert all(set(case) == {"incident", "text", "route"} for case in document["cases"])
    golden = parse_golden(data, "golden.json")
    assert golden.machine == machine_of()[0]
    assert len(golden.cases) == 2
    assert all(case.text and case.incident.asset == "host" for case in golden.cases)
    before = (folder / "manifest.json").read_bytes()
    assert build(folder, "--golden", str(incidents)) == 0
    assert ((folder / "golden.json").read_bytes(), (folder / "manifest.json").read_bytes()) == (data, before)
    assert build(folder) == 0
    assert manifest_of(folder).golden == "golden.json", "they stay the release's"
    assert open_release(folder).manifest.golden == "golden.json"


@pytest.mark.parametrize(("lines", "why"), [("", "holds no incident"), ("{}\n", ":1: "), ("\n\nnot JSON\n", ":3: ")])
def test_incidents_that_are_none_are_named_by_their_line(
    folder: Path, tmp_path: Path, lines: str, why: str, capsys: Shown
) -> None:
    (tmp_path / "incidents.jsonl").write_text(lines)
    assert build(folder, "--golden", str(tmp_path / "incidents.jsonl")) == 1
    assert why in capsys.readouterr().err
    assert not (folder / "golden.json").exists()
    assert build(folder, "--golden", str(tmp_path / "absent")) == 1


def test_the_bill_of_materials_has_the_shape_of_cyclonedx_1_6(folder: Path, incidents: Path) -> None:
    """What the specification's JSON schema demands of the members that are used; the schema itself is not shipped."""
    assert build(folder, "--golden", str(incidents), "--bom", "Apache-2.0") == 0
    bill = json.loads((folder / "bom.json").read_text())
    assert set(bill) == {"bomFormat", "specVersion", "version", "metadata", "components"}
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert isinstance(bill["version"], int)
    assert bill["version"] >= 1
    assert set(bill["metadata"]) == {"component"}
    parts = [bill["metadata"]["component"], *bill["components"]]
    known = {"type", "bom-ref", "name", "version", "hashes", "licenses", "properties", "modelCard"}
    for part in parts:
        assert {"type", "name"} <= set(part) <= known
        assert part["type"] in {"application", "file", "machine-learning-model"}, "of the enumeration of the specification"
        assert all(re.fullmatch(r"[0-9a-f]{64}", each["content"]) and each["alg"] == "SHA-256" for each in part.get("hashes", []))
        assert all(set(each) == {"expression"} for each in part.get("licenses", []))
        assert len(part.get("licenses", [])) <= 1, "one expression, or many licences"
        assert all(set(each) == {"name", "value"} and isinstance(each["value"], str) for each in part.get("properties", []))
        if "modelCard" in part:
            assert part["type"] == "machine-learning-model"
            assert isinstance(part["modelCard"]["modelParameters"]["task"], str)
    references = [part["bom-ref"] for part in parts]
    assert len(set(references)) == len(references)
    components = manifest_of(folder).components
    told = {part["name"]: part["hashes"][0]["content"] for part in bill["components"]}
    assert told == {name: part.sha256 for name, part in components.items() if name != "bom.json"}
    assert {part["name"] for part in bill["components"] if part["type"] == "machine-learning-model"} == {
        "writer/model.bin",
        "classifier.tflite",
    }
    before = (folder / "bom.json").read_bytes()
    assert build(folder, "--bom", "Apache-2.0") == 0
    assert (folder / "bom.json").read_bytes() == before, "the same release has the same bill"
