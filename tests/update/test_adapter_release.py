"""An adapter release from end to end: made by the operator's tool of two whole releases, merged again by the device's code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ctranslate2
import msgspec
import numpy as np
import pytest
from edge_ota.adapter import ADAPTER_NAME, BASE_NAME, WRITER_NAME, best_factors, main, make_adapter
from edge_ota.build import Recipe, build
from edge_ota.cli import main as edge_ota
from edge_ota.signing import OperatorError
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.release.manifest import Merged, parse_manifest
from edge_agent.update.jobs import Installed, InstallJob
from edge_agent.update.merging import merge
from edge_agent.update.store import Store
from edge_agent.update.weights import OpenFile, index
from tests.ota.repositories import Operator
from tests.update.adapters import model_bytes
from tests.update.small_releases import SmallRelease, blobs_of, fetch, put


def tuned_release(folder: Path, change: Any) -> Path:
    """The factory release with other weights: `change` is given each weight (name, float matrix) and returns its new numbers."""
    shutil.copytree(FACTORY, folder)
    data = bytearray((folder / WRITER_NAME).read_bytes())
    with OpenFile.open(folder / WRITER_NAME) as file:
        found = index(file)
    for variable in found.variables.values():
        scales = found.scale_of(variable)
        if scales is None:
            continue
        rows = np.frombuffer(data, np.int8, variable.size_bytes, variable.offset).reshape(variable.shape)
        of_row = np.frombuffer(data, np.float32, variable.shape[0], scales.offset)
        matrix = change(variable.name, rows / of_row[:, None])
        new_scales = (127 / np.abs(matrix).max(axis=1)).astype(np.float32)
        data[variable.offset : variable.end] = np.rint(matrix * new_scales[:, None]).astype(np.int8).tobytes()
        data[scales.offset : scales.end] = new_scales.tobytes()
    (folder / WRITER_NAME).write_bytes(data)
    return folder


def fine_tuned(name: str, matrix: Any) -> Any:
    """A change of rank 2 to what is no embedding, and two other rows to what is one."""
    random = np.random.default_rng(len(name))
    if "embeddings" in name:
        other = matrix.copy()
        other[[3, 5]] = random.standard_normal((2, matrix.shape[1]))
        return other
    low = random.standard_normal((matrix.shape[0], 2)) @ random.standard_normal((2, matrix.shape[1]))
    return matrix + 0.2 * matrix.std() * low


def generated(model: Path) -> list[str]:
    generator = ctranslate2.Generator(str(model), compute_type="int8", intra_threads=1)
    (result,) = generator.generate_batch([["<bos>"]], max_length=8, sampling_topk=1, return_scores=True)
    return [*result.sequences[0], str(result.scores[0])]


def weights(path: Path) -> dict[str, Any]:
    """Each weight of a `model.bin` in floats."""
    with OpenFile.open(path) as file:
        found = index(file)
    data, result = path.read_bytes(), {}
    for variable in found.variables.values():
        if scales := found.scale_of(variable):
            rows = np.frombuffer(data, np.int8, variable.size_bytes, variable.offset).reshape(variable.shape)
            result[variable.name] = rows / np.frombuffer(data, np.float32, variable.shape[0], scales.offset)[:, None]
    return result


def test_a_device_makes_the_writer_that_the_operator_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuned = tuned_release(tmp_path / "tuned", fine_tuned)
    out = tmp_path / "out"
    assert edge_ota(["adapter", str(FACTORY), str(tuned), str(out), "--rank", "2"]) == 0
    assert "25 weights by low rank (0 dithered), 1 by rows, 0 variables whole" in capsys.readouterr().out
    assert not (out / "certificate.json").exists()
    manifest = build(out, Recipe(id="tuned-1", counter=7))
    assert manifest.components[WRITER_NAME].merged == Merged(base=BASE_NAME, adapter=ADAPTER_NAME)
    assert manifest.components[BASE_NAME].sha256 == open_release().manifest.components[WRITER_NAME].sha256
    assert 10 * manifest.components[ADAPTER_NAME].size_bytes < manifest.components[WRITER_NAME].size_bytes
    merge(out / BASE_NAME, out / ADAPTER_NAME, tmp_path / "device.bin")
    assert (tmp_path / "device.bin").read_bytes() == (out / WRITER_NAME).read_bytes()
    assert open_release(out).manifest.id == "tuned-1"


def test_a_gateway_that_has_the_base_fetches_little_and_installs_the_very_writer(tmp_path: Path) -> None:
    tuned = tuned_release(tmp_path / "tuned", fine_tuned)
    assert main([str(FACTORY), str(tuned), str(tmp_path / "out"), "--rank", "2"]) == 0
    build(tmp_path / "out", Recipe(id="tuned-1", counter=7))
    (tmp_path / "store").mkdir()
    store = Store(tmp_path / "store")
    put(store, released(FACTORY))
    adapted = released(tmp_path / "out")
    digest = store.put_manifest(adapted.data)
    writer_bytes = (tmp_path / "out" / WRITER_NAME).stat().st_size
    assert 0 < fetch(store, adapted) < writer_bytes / 10
    job = msgspec.json.encode(InstallJob(store_folder=str(tmp_path / "store"), manifest_sha256=digest, min_free_bytes=0))
    command = [sys.executable, "-m", "edge_agent.update.install"]
    ran = subprocess.run(command, input=job, capture_output=True, timeout=60, check=True)
    installed = msgspec.json.decode(ran.stdout.splitlines()[-1], type=Installed)
    assert installed.problem is None
    assert (Path(installed.folder) / WRITER_NAME).read_bytes() == (tmp_path / "out" / WRITER_NAME).read_bytes()
    assert generated(Path(installed.folder) / "writer") == generated(tmp_path / "out/writer")


def test_a_repository_holds_base_and_adapter_and_not_the_merged_writer(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    operator.init()
    tuned = tuned_release(tmp_path / "tuned", fine_tuned)
    assert main([str(FACTORY), str(tuned), str(tmp_path / "out"), "--rank", "2"]) == 0
    components = build(tmp_path / "out", Recipe(id="tuned-1", counter=7)).components
    signing = [*operator.with_keys("canary", "online"), "--group", "canary"]
    assert edge_ota(["publish", str(operator.repository), str(tmp_path / "out"), *signing]) == 0
    blobs = {path.name.partition(".")[0] for path in (operator.repository / "targets/blobs").iterdir()}
    assert {components[BASE_NAME].sha256, components[ADAPTER_NAME].sha256} <= blobs
    assert components[WRITER_NAME].sha256 not in blobs


def released(folder: Path) -> SmallRelease:
    """A release's folder as it stands in a repository."""
    data = (folder / "manifest.json").read_bytes()
    manifest = parse_manifest(data, str(folder))
    blobs = blobs_of(*((folder / path).read_bytes() for path, each in manifest.components.items() if each.merged is None))
    return SmallRelease(manifest=manifest, data=data, blobs=blobs)


def test_the_merged_writer_is_near_the_tuned_one_and_runs(tmp_path: Path) -> None:
    tuned = tuned_release(tmp_path / "tuned", fine_tuned)
    assert main([str(FACTORY), str(tuned), str(tmp_path / "out"), "--rank", "2"]) == 0
    base, aim, ours = (weights(folder / WRITER_NAME) for folder in (FACTORY, tuned, tmp_path / "out"))
    for name in base:
        missed, moved = np.linalg.norm(ours[name] - aim[name]), np.linalg.norm(base[name] - aim[name])
        assert missed < 0.15 * moved, name
    np.testing.assert_array_equal(ours["decoder/embeddings/weight"], aim["decoder/embeddings/weight"])
    assert generated(tmp_path / "out/writer")
    assert generated(tmp_path / "out/writer") != generated(FACTORY / "writer")


def test_a_second_adapter_is_made_of_the_base_that_devices_have(tmp_path: Path) -> None:
    first = tuned_release(tmp_path / "tuned", fine_tuned)
    again = tuned_release(tmp_path / "again", lambda name, matrix: fine_tuned(name + "+", matrix))
    assert main([str(FACTORY), str(first), str(tmp_path / "one"), "--rank", "1"]) == 0
    assert main([str(tmp_path / "one"), str(again), str(tmp_path / "two"), "--rank", "1"]) == 0
    assert (tmp_path / "two" / BASE_NAME).read_bytes() == (FACTORY / WRITER_NAME).read_bytes()


def test_norms_are_replaced_whole_and_what_is_alike_costs_nothing(tmp_path: Path) -> None:
    weight = {"w": np.full((2, 3), 127, np.int8), "w_scale": np.ones(2, np.float32)}
    (tmp_path / "base").write_bytes(model_bytes({"g": np.ones(3, np.float32), **weight}))
    (tmp_path / "tuned").write_bytes(model_bytes({"g": np.full(3, 2, np.float32), **weight}))
    made = make_adapter(tmp_path / "base", tmp_path / "tuned", tmp_path / "adapter", 1)
    assert [change.variable for change in made.changes] == ["g"]
    merge(tmp_path / "base", tmp_path / "adapter", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "tuned").read_bytes()


def test_a_change_that_is_small_against_the_steps_is_dithered(tmp_path: Path) -> None:
    for size, dithered in ((0.002, True), (0.5, False)):
        folder = tmp_path / str(size)
        random = np.random.default_rng(3)
        low = random.standard_normal((400, 1)) @ random.standard_normal((1, 400))
        old = random.standard_normal((400, 400))
        files = []
        for name, matrix in (("base", old), ("tuned", old + size * low)):
            scales = (127 / np.abs(matrix).max(axis=1)).astype(np.float32)
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(model_bytes({"w": np.rint(matrix * scales[:, None]).astype(np.int8), "w_scale": scales}))
            files.append(folder / name)
        (change,) = make_adapter(files[0], files[1], folder / "adapter", 1).changes
        assert getattr(change, "dither", None) is dithered


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), rank=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_the_factors_are_the_best_of_their_rank(rows: int, columns: int, rank: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    rank = min(rank, rows, columns)
    inner, outer = best_factors(matrix, rank)
    assert (inner.shape, outer.shape) == ((rank, columns), (rows, rank))
    rest = np.linalg.svd(matrix.astype(float), compute_uv=False)[rank:]
    assert np.linalg.norm(matrix - outer @ inner) == pytest.approx(np.linalg.norm(rest), abs=1e-4)


def test_a_model_of_another_shape_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copytree(FACTORY, tmp_path / "other")
    (other / WRITER_NAME).write_bytes(model_bytes({"decoder/width": np.zeros((2, 2), np.int8)}))
    assert main([str(FACTORY), str(other), str(tmp_path / "out"), "--rank", "2"]) == 1
    assert "decoder/width is not as in" in capsys.readouterr().err
    # Nothing half made stands where a release would be looked for, or in the way of the next try.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_a_model_of_another_architecture_is_refused(tmp_path: Path) -> None:
    data = model_bytes({"g": np.ones(3, np.float32)})
    (tmp_path / "base").write_bytes(data)
    (tmp_path / "tuned").write_bytes(data.replace(b"TransformerDecoder", b"TransformerEncoder"))
    with pytest.raises(OperatorError, match="another architecture"):
        make_adapter(tmp_path / "base", tmp_path / "tuned", tmp_path / "adapter", 1)


def test_an_existing_folder_is_not_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FACTORY), str(FACTORY), str(tmp_path), "--rank", "2"]) == 1
    assert "there already" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_writer_that_base_and_adapter_do_not_make_is_not_built(tmp_path: Path) -> None:
    tuned = tuned_release(tmp_path / "tuned", fine_tuned)
    assert main([str(FACTORY), str(tuned), str(tmp_path / "out"), "--rank", "2"]) == 0
    shutil.copyfile(tuned / WRITER_NAME, tmp_path / "out" / WRITER_NAME)
    with pytest.raises(OperatorError, match="not what base and adapter make"):
        build(tmp_path / "out", Recipe(id="tuned-1", counter=7))
    (tmp_path / "out" / BASE_NAME).unlink()
    with pytest.raises(OperatorError, match=r"base\.bin is missing"):
        build(tmp_path / "out", Recipe(id="tuned-1", counter=7))
