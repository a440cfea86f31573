"""Merging in processes of its own: the same bytes with whatever a processor can do, and little memory whatever a file says."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.update.adapters import Change, adapter_bytes, low_rank, model_bytes, text, write

SHA256 = "c073765f20f429d6feb783e66d821a0241970d5254119df65ae0aaba8b144e25"
"""Of what `_case` merges to, on every processor: found on x86-64 with and without AVX2, and on 64-bit ARM."""
MAX_GROWN_BYTES = 16 << 20


def _numbers(count: int, seed: int) -> Any:
    """Whole numbers from 0 to 65535 that look like chance and are the same everywhere."""
    mixed = (np.arange(count, dtype=np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return ((mixed * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(48)).astype(np.int64)


def _case() -> tuple[bytes, bytes]:
    """A base of two weights, wide and tall, and an adapter that changes both."""
    variables: dict[str, Any] = {}
    changes = []
    for seed, (name, rows, columns, kind) in enumerate((("a", 300, 1_001, "float16"), ("b", 1_500, 77, "float32"))):
        values = _numbers(rows * columns, seed) % 255 - 127
        variables[name] = values.astype(np.int8).reshape(rows, columns)
        variables[name + "_scale"] = (_numbers(rows, seed + 10) + 100).astype(np.float32) / np.float32(7)
        factors = [
            ((_numbers(a * b, seed + 20 + a) - 32_768).astype(np.float32) / np.float32(100_000)).astype(kind).reshape(a, b)
            for a, b in ((13, columns), (rows, 13))
        ]
        changes.append(low_rank(name, *factors, scale=0.01, dither=kind == "float16"))
    base = model_bytes(variables)
    return base, adapter_bytes(len(base), changes)


def _found() -> list[str]:
    """The vector units of this processor that numpy uses where it finds them, beyond those that it always uses."""
    show: Any = np.show_config  # its type does not say what it returns
    return list(show(mode="dicts")["SIMD Extensions"].get("found", []))


def _merged(folder: Path, base: bytes, adapter: bytes, environment: Mapping[str, str]) -> dict[str, Any]:
    (folder / "out.bin").unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "tests.update.merging_child",
        *map(str, write(folder, base, adapter)),
        str(folder / "out.bin"),
    ]
    ran = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=True)
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def test_the_digest_is_the_same_whatever_the_processor_can_do(tmp_path: Path) -> None:
    found = _found()
    base, adapter = _case()
    environments = [
        {},
        {"NPY_DISABLE_CPU_FEATURES": " ".join(found)},
        {"NPY_DISABLE_CPU_FEATURES": " ".join(found[len(found) // 2 :])},
        {"OPENBLAS_CORETYPE": "Prescott" if "SSSE3" in found else "ARMV8", "OPENBLAS_NUM_THREADS": "1"},
    ]
    for environment in environments:
        assert _merged(tmp_path, base, adapter, environment).get("sha256") == SHA256, environment


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    weight = {"w": np.ones((20_000, 1_000), np.int8), "w_scale": np.ones(20_000, np.float32)}
    base = model_bytes(weight)
    adapter = adapter_bytes(len(base), [low_rank("w", np.ones((1, 1_000), np.float16), np.ones((20_000, 1), np.float16))])
    said = _merged(tmp_path, base, adapter, {})
    assert "sha256" in said
    assert said["grown_bytes"] < MAX_GROWN_BYTES


def _liar() -> bytes:
    """A model that says it has a weight of four gigabytes."""
    head = model_bytes({})[:-8] + struct.pack("<I", 1) + text("w")
    return head + struct.pack("<BIIBI", 2, 1 << 16, 65_535, 1, (1 << 16) * 65_535) + bytes(64)


WIDE = model_bytes({"w": np.zeros((256, 1 << 17), np.int8), "w_scale": np.ones(256, np.float32)})


@pytest.mark.parametrize(
    ("base", "adapter", "why"),
    [
        (_liar(), adapter_bytes(0, []), "base.bin: w: says it has 4294901760 bytes"),
        (WIDE, adapter_bytes(len(WIDE), [Change({"kind": "weight", "variable": "w", "rank": 256})]), "an inner factor of 256"),
        (WIDE, adapter_bytes(len(WIDE), [Change({"kind": "weight", "variable": "w", "rows": 256})]), "cut short"),
        (model_bytes({}), b"edge-agent adapter 1\n\xff\xff\xff\xff{", "a header of 4294967295 bytes"),
    ],
    ids=["variable", "rank", "rows", "header"],
)
def test_what_says_that_it_is_huge_is_refused_before_memory_is_taken(
    tmp_path: Path, base: bytes, adapter: bytes, why: str
) -> None:
    said = _merged(tmp_path, base, adapter, {})
    assert why in said["refused"]
    assert "sha256" not in said
    assert said["grown_bytes"] < MAX_GROWN_BYTES


def test_a_sparse_file_of_gigabytes_with_a_header_to_match_is_refused(tmp_path: Path) -> None:
    base, adapter = write(tmp_path, model_bytes({}), b"edge-agent adapter 1\n" + struct.pack("<I", 3 << 30))
    with adapter.open("r+b") as file:
        file.truncate(5 << 30)
    command = [sys.executable, "-m", "tests.update.merging_child", str(base), str(adapter), str(tmp_path / "out.bin")]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    assert "a header of 3221225472 bytes" in said["refused"]
    assert said["grown_bytes"] < MAX_GROWN_BYTES
