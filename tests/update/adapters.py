"""Small models and adapters for the tests of merging, and the merge written a second time: plain, slow, number by number.

Nothing here uses the agent's own reader or arithmetic; the models are written by CTranslate2's converter or byte by byte.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


@dataclass(frozen=True)
class Change:
    """One change of an adapter: its entry in the header, and its arrays in order."""

    header: Mapping[str, Any]
    arrays: Sequence[Any] = field(default=())


def model_bytes(variables: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> bytes:
    """A `model.bin` of version 6 with these arrays, in their order."""
    out = struct.pack("<I", 6) + text("TransformerDecoderSpec") + struct.pack("<II", 8, len(variables))
    for name, array in variables.items():
        data = np.asarray(array, order="C")
        out += text(name) + struct.pack("<B", data.ndim) + struct.pack(f"<{data.ndim}I", *data.shape)
        out += struct.pack("<BI", TYPES[data.dtype.name], data.nbytes) + data.tobytes()
    out += struct.pack("<I", len(aliases or {}))
    for alias, target in (aliases or {}).items():
        out += text(alias) + text(target)
    return out


def text(name: str) -> bytes:
    """A string of a `model.bin`."""
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def adapter_bytes(base_bytes: int, changes: Sequence[Change]) -> bytes:
    """An adapter file."""
    header = json.dumps({"base_bytes": base_bytes, "changes": [dict(change.header) for change in changes]}).encode()
    arrays = b"".join(np.ascontiguousarray(array).tobytes() for change in changes for array in change.arrays)
    return b"edge-agent adapter 1\n" + struct.pack("<I", len(header)) + header + arrays


def low_rank(variable: str, inner: Any, outer: Any, **more: Any) -> Change:
    """A change by two factors, whose type must be the same."""
    header = {"kind": "weight", "variable": variable, "rank": len(inner), "factors": inner.dtype.name, **more}
    return Change(header, (inner, outer))


def rows(variable: str, numbers: Sequence[int], scales: Any, values: Any) -> Change:
    """A change that replaces rows."""
    header = {"kind": "weight", "variable": variable, "rows": len(numbers)}
    return Change(header, (np.array(numbers, np.uint32), np.asarray(scales, np.float32), np.asarray(values, np.int8)))


def whole(variable: str, values: Any) -> Change:
    """A change that replaces a variable."""
    return Change({"kind": "whole", "variable": variable}, (values,))


def slowly_merged(variables: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """What a model's arrays are after the changes: one number after another, each operation rounded to float32."""
    merged = {name: np.array(array) for name, array in variables.items()}
    for change in changes:
        name = change.header["variable"]
        if change.header["kind"] == "whole":
            merged[name] = np.array(change.arrays[0])
            continue
        arrays = list(change.arrays)
        if change.header.get("rank", 0):
            inner, outer = arrays.pop(0), arrays.pop(0)
            for number in range(len(merged[name])):
                _slow_row(merged, name, number, inner, outer[number], change.header)
        if change.header.get("rows", 0):
            numbers, scales, values = arrays
            for number, scale, row in zip(numbers, scales, values, strict=True):
                merged[name][number], merged[name + "_scale"][number] = row, scale
    return merged


def _slow_row(merged: dict[str, Any], name: str, number: int, inner: Any, outer: Any, header: Mapping[str, Any]) -> None:
    f32 = np.float32
    row, scale = merged[name][number], merged[name + "_scale"][number]
    values = []
    for column in range(len(row)):
        total = f32(0)
        for k in range(len(inner)):
            total = f32(total + f32(f32(outer[k]) * f32(inner[k][column])))
        total = f32(total * f32(header.get("scale", 1.0)))
        values.append(f32(total + f32(f32(int(row[column])) / scale)))
    largest = max((abs(value) for value in values), default=f32(0)) or f32(127)
    new_scale = f32(f32(127) / f32(max(largest, f32(127) / np.finfo(np.float32).max)))
    for column, value in enumerate(values):
        scaled = f32(value * new_scale)
        if header.get("dither"):
            fraction = ((number * 0xC13FA9A9 + column * 0x91E10DA5) % 2**32) >> 16
            scaled = f32(scaled + f32((fraction + 0.5) / 65536 - 0.5))
        merged[name][number, column] = min(127, max(-127, round(float(scaled))))
    merged[name + "_scale"][number] = new_scale


def write(folder: Path, base: bytes, adapter: bytes) -> tuple[Path, Path]:
    """The two files in a folder."""
    (folder / "base.bin").write_bytes(base)
    (folder / "adapter.bin").write_bytes(adapter)
    return folder / "base.bin", folder / "adapter.bin"
