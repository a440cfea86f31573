"""A writer of a given size that says word for word what another one says: for measuring what a large writer costs to load.

The feed-forward part of each layer gets more inner units, all of whose weights are 0: what goes into them comes to nothing, and
nothing of them comes out, nor does any of it move the scale by which the others are rounded. They are read from the file, held in
memory and multiplied as those of a trained writer would be (format: `update.weights`).

Rules: no weights of anybody else are needed; the file is written in parts.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO

from edge_agent.errors import ReleaseError
from edge_agent.update.weights import OpenFile, Variable, Weights, index

_INNER = re.compile(r"decoder/layer_\d+/ffn/linear_(?:0|0_noact)/weight(_scale)?")
_OUTER = re.compile(r"decoder/layer_\d+/ffn/linear_1/weight")
_TYPES = {"float32": 0, "int8": 1}
_ONE = struct.pack("<f", 1.0)
_MULTIPLE = 64
"""Matrix libraries pad what is no multiple of this."""
_PART_BYTES = 1 << 20


def write_widened(model: Path, target: Path, size_bytes: int) -> None:
    """Write the `model.bin` at `model` to `target`, widened to `size_bytes` or a little more.

    Raises ReleaseError, StorageError.
    """
    with OpenFile.open(model) as source, target.open("wb") as out:
        weights = index(source)
        more = _more_units(weights, size_bytes)
        copied = 0
        for variable in weights.variables.values():
            found = _INNER.fullmatch(variable.name)
            if found is None and _OUTER.fullmatch(variable.name) is None:
                continue  # copied with the next one that is not
            _copy(source, out, copied, variable.offset - len(_header(variable, variable.shape)))
            rows = source.read(variable.offset, variable.size_bytes)
            copied = variable.end
            if found is not None:
                width = variable.size_bytes // variable.shape[0]
                out.write(_header(variable, (variable.shape[0] + more, *variable.shape[1:])) + rows)
                _repeat(out, _ONE if found[1] else bytes(width), more)
            else:
                count, width = variable.shape
                out.write(_header(variable, (count, width + more)))
                for at in range(0, len(rows), width):
                    out.write(rows[at : at + width] + bytes(more))
        _copy(source, out, copied, weights.size_bytes)


def _more_units(weights: Weights, size_bytes: int) -> int:
    """How many inner units each layer gets."""
    outer = [variable for name, variable in weights.variables.items() if _OUTER.fullmatch(name)]
    if not outer or any(variable.dtype != "int8" for variable in outer):
        raise ReleaseError("the writer has no feed-forward layers in INT8 that could be made wider")
    unit_bytes = sum(3 * variable.shape[0] + 2 * len(_ONE) for variable in outer)
    units = -(-max(0, size_bytes - weights.size_bytes) // unit_bytes)
    return -(-units // _MULTIPLE) * _MULTIPLE


def _header(variable: Variable, shape: tuple[int, ...]) -> bytes:
    """What stands before a variable's bytes, with `shape` in the place of its own."""
    name = variable.name.encode("ascii") + b"\0"
    size_bytes = 1 if variable.dtype == "int8" else 4
    for dimension in shape:
        size_bytes *= dimension
    fixed = struct.pack(f"<{len(shape)}IBI", *shape, _TYPES[variable.dtype], size_bytes)
    return struct.pack("<H", len(name)) + name + bytes([len(shape)]) + fixed


def _repeat(out: BinaryIO, data: bytes, times: int) -> None:
    at_once = max(1, _PART_BYTES // len(data))
    while times:
        count = min(times, at_once)
        out.write(data * count)
        times -= count


def _copy(source: OpenFile, out: BinaryIO, begin: int, end: int) -> None:
    while begin < end:
        count = min(end - begin, _PART_BYTES)
        out.write(source.read(begin, count))
        begin += count
