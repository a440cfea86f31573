"""The format of adapters: where each array stands follows from the header and the base, and what does not fit is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ReleaseError
from edge_agent.update.adapter import Header, Step, WeightChange, WeightStep, WholeChange, changed, encode_head, read_steps
from edge_agent.update.weights import OpenFile, index
from tests.update.adapters import Change, adapter_bytes, low_rank, model_bytes, rows, whole, write

VARIABLES = {
    "a/gamma": np.ones(3, np.float32),
    "a/weight": np.zeros((4, 3), np.int8),
    "a/weight_scale": np.ones(4, np.float32),
    "b/weight": np.zeros((2, 3), np.int8),
    "b/weight_scale": np.ones(2, np.float32),
    "c": np.zeros((2, 2), np.int8),
}
MODEL = model_bytes(VARIABLES, {"d/weight": "a/weight"})
INNER, OUTER = np.ones((2, 3), np.float16), np.ones((4, 2), np.float16)
GAMMA = whole("a/gamma", np.full(3, 2, np.float32))


def steps(folder: Path, adapter: bytes, base: bytes = MODEL) -> tuple[Step, ...]:
    base_path, adapter_path = write(folder, base, adapter)
    with OpenFile.open(base_path) as model, OpenFile.open(adapter_path) as changes:
        return read_steps(changes, index(model), model.name)


def header(**values: Any) -> Change:
    return Change({"kind": "weight", "variable": "a/weight", **values})


def test_the_arrays_follow_each_other_in_the_order_of_the_header(tmp_path: Path) -> None:
    change = Change(
        {"kind": "weight", "variable": "a/weight", "rank": 2, "rows": 1},
        (INNER, OUTER, np.array([3], np.uint32), np.ones(1, np.float32), np.ones((1, 3), np.int8)),
    )
    data = adapter_bytes(len(MODEL), [GAMMA, change])
    norm, weight = steps(tmp_path, data)
    start = len(data) - (12 + 12 + 16 + 4 + 4 + 3)
    assert norm.end == start + 12
    assert isinstance(weight, WeightStep)
    assert (weight.inner_at, weight.outer_at, weight.numbers_at) == (start + 12, start + 24, start + 40)
    assert (weight.scales_at, weight.rows_at, weight.end) == (start + 44, start + 48, len(data))
    ranges = list(changed((norm, weight)))
    assert [behind - first for first, behind in ranges] == [12, 12, 16]
    assert ranges == sorted(ranges)


def test_the_head_is_a_line_a_length_and_a_document_without_defaults() -> None:
    head = encode_head(Header(base_bytes=7, changes=(WeightChange(variable="w", rank=1), WholeChange(variable="x"))))
    body = b'{"base_bytes":7,"changes":[{"kind":"weight","rank":1,"variable":"w"},{"kind":"whole","variable":"x"}]}'
    assert head == b"edge-agent adapter 1\n" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ([low_rank("x/weight", INNER, OUTER)], "x/weight: .* no such variable"),
        ([low_rank("d/weight", INNER, OUTER)], "alias of 'a/weight'"),
        ([low_rank("a/gamma", INNER, OUTER)], "a/gamma: is no weight in INT8"),
        ([low_rank("c", INNER, OUTER)], "c: is no weight in INT8"),
        ([whole("a/weight", np.zeros((4, 3), np.int8))], "a/weight: is a weight in INT8"),
        ([whole("a/weight_scale", np.ones(4, np.float32))], "a/weight_scale: holds the scales"),
        ([GAMMA, GAMMA], "a/gamma: is named twice"),
        ([low_rank("a/weight", INNER, OUTER), GAMMA], "a/gamma: is named twice, or before"),
        ([header(rank=4)], "rank 4 of a weight of 4 rows of 3"),
        ([header(rank=257)], "257|<= 256"),
        ([header(rank=-1)], "header: .*>= 0"),
        ([header(rank=1.5)], "header: .*rank"),
        ([header(rows=5)], "replaces 5 rows of 4"),
        ([header(rows=2**31)], "header: .*rows"),
        ([header()], "changes nothing"),
        ([header(rank=1, scale=0)], "scale 0"),
        ([header(rank=1, scale=1e300)], "scale 1e.300"),
        ([header(rank=1, factors="float64")], "header: .*factors"),
        ([header(rank=1, code="x")], "header: .*code"),
        ([Change({"kind": "pickle", "variable": "a/weight"})], "header: .*pickle"),
        ([header(rank=3)], "a/weight: its arrays end at"),
        ([low_rank("a/weight", INNER, np.ones((5, 2), np.float16))], "4 bytes after its last array"),
        ([low_rank("a/weight", INNER.astype(np.float32), OUTER)], "cut short"),
        ([rows("a/weight", [0], [1.0], np.ones((1, 2)))], "cut short"),
    ],
)
def test_a_change_that_does_not_fit_its_base_is_refused(tmp_path: Path, changes: list[Change], why: str) -> None:
    with pytest.raises(ReleaseError, match=why):
        steps(tmp_path, adapter_bytes(len(MODEL), changes))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not begin with"),
        (b"edge-agent adapter 2\n\0\0\0\0", "does not begin with"),
        (b"edge-agent adapter 1\n\xff\xff\xff\xff{}", "header of 4294967295 bytes"),
        (b"edge-agent adapter 1\n\x02\0\0\0{}", "header: .*base_bytes"),
        (b"edge-agent adapter 1\n\x02\0\0\0\xff{", "header: "),
        (b"edge-agent adapter 1\n" + struct.pack("<I", 200_000) + b"[" * 200_000, "header: "),
        (adapter_bytes(len(MODEL) + 1, []), "not its base"),
        (adapter_bytes(len(MODEL), []) + b"x", "1 bytes after its last array"),
        (adapter_bytes(len(MODEL), [GAMMA])[:-1], "a/gamma: its arrays end"),
    ],
)
def test_what_is_no_adapter_of_this_base_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(ReleaseError, match=why):
        steps(tmp_path, data)


def test_an_inner_factor_that_would_not_fit_in_memory_is_refused(tmp_path: Path) -> None:
    wide = model_bytes({"w": np.zeros((256, 40_000), np.int8), "w_scale": np.ones(256, np.float32)})
    with pytest.raises(ReleaseError, match="w: an inner factor of 256 rows of 40000"):
        steps(tmp_path, adapter_bytes(len(wide), [Change({"kind": "weight", "variable": "w", "rank": 256})]), wide)


@given(data=st.binary(max_size=30), at=st.integers(0, 250))
def test_whatever_is_overwritten_fits_its_base_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int
) -> None:
    whole_file = bytearray(adapter_bytes(len(MODEL), [GAMMA, low_rank("a/weight", INNER, OUTER)]))
    whole_file[at : at + len(data)] = data
    folder = tmp_path_factory.getbasetemp()
    try:
        found = steps(folder, bytes(whole_file))
    except ReleaseError:
        return
    assert not found or found[-1].end == len(whole_file)
