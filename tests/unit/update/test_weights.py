"""Finding the variables of a `model.bin`: CTranslate2's own files are read, what is damaged is refused by name."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ReleaseError, StorageError
from edge_agent.update.weights import OpenFile, Weights, index
from tests.update.adapters import model_bytes, text

FACTORY = Path("edge_agent/factory/writer/model.bin")
SMALL: dict[str, Any] = {
    "a/gamma": np.ones(3, np.float32),
    "a/weight": np.array([[1, -2, 127], [0, 0, 0]], np.int8),
    "a/weight_scale": np.array([1.5, 2.5], np.float32),
    "b": np.float32(2.0),
}


def indexed(path: Path) -> Weights:
    with OpenFile.open(path) as source:
        return index(source)


def test_the_factory_release_is_read_to_its_last_byte() -> None:
    found = indexed(FACTORY)
    assert found.size_bytes == FACTORY.stat().st_size
    weight = found.variables["decoder/layer_0/ffn/linear_0/weight"]
    assert (weight.dtype, weight.shape) == ("int8", (352, 128))
    scale = found.scale_of(weight)
    assert scale is not None
    assert scale.shape == (352,)
    assert found.aliases["decoder/projection/weight"] == "decoder/embeddings/weight"


def test_each_variable_stands_where_it_says(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(model_bytes(SMALL, {"c": "a/weight"}))
    found = indexed(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    assert {name: data[v.offset : v.end] for name, v in found.variables.items()} == {n: a.tobytes() for n, a in SMALL.items()}
    assert found.scale_of(found.variables["a/weight"]) == found.variables["a/weight_scale"]
    assert found.scale_of(found.variables["a/gamma"]) is None


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda d: b"\x07" + d[1:], "version 7"),
        (lambda d: d[:-1], "cut short"),
        (lambda d: d + b"x", "1 bytes after its end"),
        (lambda d: b"", "cut short"),
        (lambda d: d.replace(b"a/gamma\0", b"a/gam\nx\0"), "no printable ASCII"),
        (lambda d: d.replace(text("b"), text("a/gamma")), "'a/gamma' twice"),
        (lambda d: d.replace(struct.pack("<BII", 2, 2, 3), struct.pack("<BII", 2, 2**31, 3)), "a/weight: 6 bytes are not"),
        (lambda d: d.replace(struct.pack("<BI", 0, 12), struct.pack("<BI", 9, 12)), "a/gamma: is of type 9"),
        (lambda d: d.replace(text("b") + b"\0", text("b") + b"\xff"), "255 dimensions"),
        (lambda d: d.replace(text("c") + text("a/weight"), text("c") + text("a/weighx")), "alias 'c'"),
        (lambda d: d.replace(struct.pack("<II", 8, 4), struct.pack("<II", 8, 2**31)), "2147483648 variables"),
        (lambda d: d.replace(text("TransformerDecoderSpec"), struct.pack("<H", 60_000)), "a name of 60000 bytes"),
    ],
)
def test_what_is_damaged_is_refused_by_name(tmp_path: Path, damage: Callable[[bytes], bytes], why: str) -> None:
    (tmp_path / "m").write_bytes(damage(model_bytes(SMALL, {"c": "a/weight"})))
    with pytest.raises(ReleaseError, match="m: ") as caught:
        indexed(tmp_path / "m")
    assert why in str(caught.value)


def test_a_size_that_the_file_does_not_have_is_refused(tmp_path: Path) -> None:
    big = model_bytes({})[:-8] + struct.pack("<I", 1) + text("w") + struct.pack("<BII", 2, 30_000, 30_000)
    (tmp_path / "m").write_bytes(big + struct.pack("<BI", 1, 900_000_000) + b"\0" * 100)
    with pytest.raises(ReleaseError, match="w: says it has 900000000 bytes"):
        indexed(tmp_path / "m")


@given(data=st.binary(max_size=40), at=st.integers(0, 200))
def test_whatever_is_overwritten_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int) -> None:
    whole = bytearray(model_bytes(SMALL, {"c": "a/weight"}))
    whole[at : at + len(data)] = data
    path = tmp_path_factory.getbasetemp() / "overwritten"
    path.write_bytes(whole)
    try:
        found = indexed(path)
    except ReleaseError:
        return
    assert all(0 <= v.offset <= v.end <= len(whole) for v in found.variables.values())


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="no regular file"):
        indexed(tmp_path)
    with pytest.raises(StorageError, match="missing"):
        indexed(tmp_path / "missing")


def test_a_file_that_shrinks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"12345678")
    with OpenFile.open(tmp_path / "m") as source:
        (tmp_path / "m").write_bytes(b"1")
        with pytest.raises(ReleaseError, match="became shorter"):
            source.read(0, 8)
