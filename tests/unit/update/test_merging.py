"""Merging: the same numbers as a plain reference, blocks and all; a layout that stays; what is no number is refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import ReleaseError, StorageError
from edge_agent.update import merging
from edge_agent.update.merging import merge
from tests.update.adapters import Change, adapter_bytes, low_rank, model_bytes, rows, slowly_merged, whole, write


def merged(folder: Path, variables: dict[str, Any], changes: Sequence[Change]) -> bytes:
    base = model_bytes(variables)
    out = folder / "out.bin"
    out.unlink(missing_ok=True)
    merge(*write(folder, base, adapter_bytes(len(base), changes)), out)
    return out.read_bytes()


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[Change]]:
    """Models of two weights, a norm and a whole number; changes of every kind, alone and together."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    variables: dict[str, Any] = {"0": random.standard_normal(3).astype(np.float16), "1": np.int32(7)}
    changes = [whole("0", random.standard_normal(3).astype(np.float16))] if draw(st.booleans()) else []
    for name in ("a/weight", "b/weight"):
        out, within = draw(st.integers(1, 7)), draw(st.integers(1, 9))
        variables[name] = random.integers(-128, 128, (out, within)).astype(np.int8)
        if draw(st.booleans()):
            variables[name][random.integers(out)] = 0
        variables[name + "_scale"] = (10.0 ** random.uniform(-3, 6, out)).astype(np.float32)
        header: dict[str, Any] = {"kind": "weight", "variable": name}
        arrays: list[Any] = []
        if rank := draw(st.integers(0, min(out, within))):
            kind = draw(st.sampled_from(["float16", "float32"]))
            size = 10.0 ** draw(st.integers(-4, 1))
            header |= {
                "rank": rank,
                "factors": kind,
                "scale": draw(st.sampled_from([1.0, 0.3, -2.0])),
                "dither": draw(st.booleans()),
            }
            arrays += [(size * random.standard_normal(shape)).astype(kind) for shape in ((rank, within), (out, rank))]
        numbers = sorted(draw(st.sets(st.integers(0, out - 1))))
        if numbers:
            header["rows"] = len(numbers)
            arrays += [np.array(numbers, np.uint32), random.uniform(0.1, 99, len(numbers)).astype(np.float32)]
            arrays += [random.integers(-127, 128, (len(numbers), within)).astype(np.int8)]
        changes += [Change(header, arrays)] if rank or numbers else []
    return variables, changes


@settings(deadline=None, max_examples=60)
@given(case=cases(), block=st.sampled_from([1, 10, 1 << 16]))
def test_the_numbers_are_those_of_the_plain_reference(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[dict[str, Any], list[Change]], block: int
) -> None:
    variables, changes = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "BLOCK_ELEMENTS", block)
        patch.setattr(merging, "COPY_BYTES", 4 if block == 1 else 1 << 20)
        found = merged(tmp_path_factory.getbasetemp(), variables, changes)
    assert found == model_bytes(slowly_merged(variables, changes))


SMALL = {"w": np.array([[10, -127, 3], [127, 1, 0]], np.int8), "w_scale": np.array([100.0, 50.0], np.float32)}
ONES = np.ones((1, 3), np.float32)


def test_a_worked_example(tmp_path: Path) -> None:
    change = low_rank("w", np.array([[1, 0, 2]], np.float16), np.array([[0.5], [0.0]], np.float16), scale=1.0)
    found = merged(tmp_path, SMALL, [change])
    # The first row is 0.1, -1.27, 0.03 and becomes 0.6, -1.27, 1.03; the second does not change.
    expected = {"w": np.array([[60, -127, 103], [127, 1, 0]], np.int8), "w_scale": SMALL["w_scale"]}
    assert found == model_bytes(expected)


def test_without_changes_the_base_comes_out(tmp_path: Path) -> None:
    assert merged(tmp_path, SMALL, []) == model_bytes(SMALL)


@pytest.mark.parametrize("dither", [False, True])
def test_a_change_of_nothing_changes_nothing(tmp_path: Path, dither: bool) -> None:
    random = np.random.default_rng(1)
    weight = random.integers(-126, 127, (200, 300)).astype(np.int8)
    weight[:, 17] = 127
    variables = {"w": weight, "w_scale": np.exp2(random.integers(-3, 9, 200)).astype(np.float32)}
    change = low_rank("w", np.zeros((2, 300), np.float16), np.zeros((200, 2), np.float16), dither=dither)
    assert merged(tmp_path, variables, [change]) == model_bytes(variables)


def test_a_change_below_half_a_step_survives_on_average_with_dither_only(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    weight = random.integers(-100, 100, (64, 256)).astype(np.int8)
    weight[:, 0] = 127
    variables = {"w": weight, "w_scale": np.full(64, 127, np.float32)}
    inner = np.full((1, 256), 0.2 / 127, np.float32)
    inner[0, 0] = 0.0
    for dither, mean in ((False, 0.0), (True, 0.2)):
        data = merged(tmp_path, variables, [low_rank("w", inner, np.ones((64, 1), np.float32), dither=dither)])
        at = data.index(b"w\0") + 2 + 1 + 8 + 1 + 4
        changed = np.frombuffer(data, np.int8, 64 * 256, at).reshape(64, 256).astype(float) - weight
        assert np.abs(changed[:, 1:].mean(axis=1) - mean).max() < 0.02
        assert np.abs(changed[:, 1:].mean(axis=0) - mean).max() < 0.06


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ([low_rank("w", ONES * np.nan, np.ones((2, 1), np.float32))], "w: .*not finite"),
        ([low_rank("w", ONES, np.array([[1], [np.inf]], np.float32))], "w: .*not finite"),
        ([low_rank("w", ONES.astype(np.float16), np.array([[1], [np.nan]], np.float16))], "w: .*not finite"),
        ([low_rank("w", ONES * 1e38, np.full((2, 1), 1e38, np.float32))], "w: the changed weight is not finite"),
        ([rows("w", [0, 0], [1, 1], np.ones((2, 3)))], "w: .*do not ascend"),
        ([rows("w", [1, 0], [1, 1], np.ones((2, 3)))], "w: .*do not ascend"),
        ([rows("w", [2], [1], np.ones((1, 3)))], "w: .*from 0 to 1"),
        ([rows("w", [2**32 - 1], [1], np.ones((1, 3)))], "w: .*from 0 to 1"),
        ([rows("w", [0], [np.inf], np.ones((1, 3)))], "w: .*not finite"),
        ([rows("w", [0], [0], np.ones((1, 3)))], "w: .*scale is not above zero"),
        ([whole("z", np.array([1, np.nan], np.float32))], "z: .*not finite"),
    ],
)
def test_what_is_no_number_is_refused_by_name_and_leaves_nothing(tmp_path: Path, changes: list[Change], why: str) -> None:
    with pytest.raises(ReleaseError, match=why):
        merged(tmp_path, {**SMALL, "z": np.ones(2, np.float32)}, changes)
    assert not (tmp_path / "out.bin").exists()


def test_a_base_whose_scales_are_no_scales_is_refused(tmp_path: Path) -> None:
    for scale in (0.0, -1.0, np.nan):
        variables = {"w": SMALL["w"], "w_scale": np.array([1.0, scale], np.float32)}
        with pytest.raises(ReleaseError, match=r"w: .*(above zero|not finite)"):
            merged(tmp_path, variables, [low_rank("w", ONES, np.ones((2, 1), np.float32))])


def test_rows_of_any_size_of_number_keep_a_finite_scale(tmp_path: Path) -> None:
    variables = {"w": SMALL["w"], "w_scale": np.array([3e38, 1e-30], np.float32)}
    change = low_rank("w", ONES * 1e-45, np.ones((2, 1), np.float32))
    assert merged(tmp_path, variables, [change]) == model_bytes(slowly_merged(variables, [change]))


def test_what_stands_there_already_is_not_touched(tmp_path: Path) -> None:
    base, adapter = write(tmp_path, model_bytes(SMALL), adapter_bytes(len(model_bytes(SMALL)), []))
    (tmp_path / "out.bin").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"out\.bin: cannot be made"):
        merge(base, adapter, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == b"mine"


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageError, match=r"out\.bin: not written: No space left"):
        merged(tmp_path, SMALL, [])
    assert not (tmp_path / "out.bin").exists()


def test_the_output_is_synced_before_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, write_part = os.fsync, os.pwrite

    def seen_sync(fd: int) -> None:
        calls.append("sync")
        sync(fd)

    def seen_write(fd: int, data: memoryview, offset: int) -> int:
        calls.append("write")
        return write_part(fd, data, offset)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(os, "pwrite", seen_write)
    merged(tmp_path, SMALL, [low_rank("w", ONES, np.ones((2, 1), np.float32))])
    assert calls.count("sync") == 1
    assert calls[-1] == "sync"
