"""A writer's `model.bin` made on the device, of a base that stays the same from release to release and a small adapter.

A changed weight in INT8 is taken to float32 (`row / scale`), the change of low rank is added, and each row is quantised as
CTranslate2's converter does it: scale = 127 / the row's largest magnitude, rounded half to even. The output has the layout of the
base, byte for byte, so that only changed numbers differ. Low-rank changes: Hu et al., LoRA, arXiv:2106.09685.

Dither: where a change is small against a step of the quantisation, rounding to the nearest gives the old numbers again and the
change is lost. Then a pattern between -1/2 and 1/2 is added before rounding, the fraction of an additive sequence in two
dimensions (the plastic number's, Roberts 2018, "The unreasonable effectiveness of quasirandom sequences"): the change survives
on average over each row and each column, and a number that does not change stays what it is.

Rules:
* The output depends on the two inputs alone, whatever the processor. All arithmetic is numpy's ufuncs on float32, one operation
  after another into memory: convert, add, multiply, divide, absolute, maximum, minimum, rint. IEEE 754 gives each of them one
  right result, a vector unit of any width computes it element by element, and as every result is stored before the next
  operation no compiler joins two into a fused one. A largest magnitude does not depend on the order it is looked for. Not
  used, because their order or fusing differs with the processor or the library: matmul, dot and einsum (BLAS), sum, mean
  and norm (pairwise and by vector width), exp, log and power (approximated).
* Memory is bounded: blocks of rows, one weight's inner factor and scales, and nothing else.
* Neither input is believed: `weights` and `adapter` check all sizes, and a number that is none is refused here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_agent.errors import ReleaseError, StorageError
from edge_agent.update.adapter import Step, WeightStep, WholeStep, changed, read_steps
from edge_agent.update.weights import OpenFile, index

Floats: TypeAlias = NDArray[np.float32]
Quantised: TypeAlias = NDArray[np.int8]

BLOCK_ELEMENTS = 1 << 16
"""Elements that are computed at once: they stay in a processor's second cache."""
COPY_BYTES = 1 << 20
LARGEST = np.float32(127)
_SMALLEST_MAGNITUDE = LARGEST / np.finfo(np.float32).max
_ROW_STEP, _COLUMN_STEP = 0xC13FA9A9, 0x91E10DA5
"""The inverse of the plastic number and of its square, as fractions of 2^32."""


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write what `adapter` makes of `base` to `out`, which must not exist, and sync it; its name is durable after its folder is.

    Raises ReleaseError for what cannot be merged, StorageError; `out` is then gone again.
    """
    with OpenFile.open(base) as old, OpenFile.open(adapter) as changes:
        steps = read_steps(changes, index(old), old.name)
        with _written(out) as new:
            at = 0
            for first, behind in changed(steps):
                new.copy(old, at, first)
                at = behind
            new.copy(old, at, old.size_bytes)
            for step in steps:
                _apply(step, old, changes, new)


def requantised(
    rows: Quantised, scales: Floats, inner: Floats, outer: Floats, scale: float, dither_from: int | None
) -> tuple[Quantised, Floats]:
    """Rows of a weight with `scale * (outer @ inner)` added, and their scales.

    Shapes: rows (n, in), scales (n,), inner (rank, in), outer (n, rank). `dither_from` is the number of the first row, None
    to round to the nearest. Raises ReleaseError where a result is no number, or too large for one.
    """
    total = np.zeros(rows.shape, np.float32)
    part = np.empty_like(total)
    with np.errstate(all="ignore"):  # what is no number is found below
        for k in range(len(inner)):
            np.multiply(outer[:, k : k + 1], inner[k], out=part)
            np.add(total, part, out=total)
        np.multiply(total, np.float32(scale), out=total)
        np.divide(rows.astype(np.float32), scales[:, np.newaxis], out=part)
        np.add(total, part, out=total)
        largest = np.max(np.absolute(total, out=part), axis=1)
        if not np.isfinite(largest).all():
            raise ReleaseError("the changed weight is not finite")
        largest[largest == 0] = LARGEST
        new_scales = LARGEST / np.maximum(largest, _SMALLEST_MAGNITUDE)
        np.multiply(total, new_scales[:, np.newaxis], out=total)
        if dither_from is not None:
            np.add(total, _pattern(dither_from, rows.shape), out=total)
        np.rint(total, out=total)
        np.minimum(np.maximum(total, -LARGEST, out=total), LARGEST, out=total)
    return total.astype(np.int8), new_scales


def _pattern(first_row: int, shape: tuple[int, ...]) -> Floats:
    """What is added before rounding: above -1/2 and below 1/2, in steps of 2^-16, exact in float32."""
    row = np.arange(first_row, first_row + shape[0], dtype=np.uint32) * np.uint32(_ROW_STEP)
    column = np.arange(shape[1], dtype=np.uint32) * np.uint32(_COLUMN_STEP)
    fraction = np.right_shift(np.add(row[:, np.newaxis], column), np.uint32(16)).astype(np.float32)
    return np.subtract(np.multiply(fraction, np.float32(2**-16)), np.float32(0.5 - 2**-17))


def _apply(step: Step, base: OpenFile, adapter: OpenFile, out: _Written) -> None:
    if isinstance(step, WholeStep):
        _replace(step, adapter, out)
        return
    try:
        _change_weight(step, base, adapter, out)
    except ReleaseError as error:
        raise ReleaseError(f"{adapter.name}: {step.weight.name}: {error}") from error


def _change_weight(step: WeightStep, base: OpenFile, adapter: OpenFile, out: _Written) -> None:
    """Write the weight and its scales, a block of rows at a time."""
    count, columns = step.weight.shape
    rank = step.change.rank
    scales = _floats(base, step.scales.offset, count, "float32")
    if not (scales > 0).all():
        raise ReleaseError("the base has a scale that is not above zero")
    inner = _floats(adapter, step.inner_at, rank * columns, step.change.factors).reshape(rank, columns)
    numbers = _row_numbers(step, adapter)
    width = np.dtype(step.change.factors).itemsize * rank
    block = max(1, BLOCK_ELEMENTS // columns)
    for first in range(0, count, block):
        some = slice(first, min(first + block, count))
        n = some.stop - first
        rows = np.frombuffer(base.read(step.weight.offset + first * columns, n * columns), np.int8).reshape(n, columns)
        if rank:
            outer = _floats(adapter, step.outer_at + first * width, n * rank, step.change.factors).reshape(n, rank)
            dither_from = first if step.change.dither else None
            rows, scales[some] = requantised(rows, scales[some], inner, outer, step.change.scale, dither_from)
        low, high = np.searchsorted(numbers, (first, some.stop))
        if low < high:
            rows = rows.copy()
            at = step.rows_at + int(low) * columns
            data = np.frombuffer(adapter.read(at, int(high - low) * columns), np.int8)
            rows[numbers[low:high] - first] = data.reshape(-1, columns)
        out.write(step.weight.offset + first * columns, rows.tobytes())
    new = _floats(adapter, step.scales_at, len(numbers), "float32")
    if not (new > 0).all():
        raise ReleaseError("a replaced row's scale is not above zero")
    scales[numbers] = new
    out.write(step.scales.offset, scales.astype("<f4").tobytes())


def _row_numbers(step: WeightStep, adapter: OpenFile) -> NDArray[np.int64]:
    """The numbers of the rows that are replaced. Raises ReleaseError unless they ascend and are the weight's."""
    numbers = np.frombuffer(adapter.read(step.numbers_at, 4 * step.change.rows), "<u4").astype(np.int64)
    if len(numbers) and not (numbers[-1] < step.weight.shape[0] and (np.diff(numbers) > 0).all()):
        raise ReleaseError(f"the numbers of its replaced rows do not ascend from 0 to {step.weight.shape[0] - 1}")
    return numbers


def _floats(source: OpenFile, offset: int, count: int, dtype: str) -> Floats:
    """Numbers in float32, for this process to change. Raises ReleaseError where one is no number or infinite."""
    code = {"float16": "<f2", "float32": "<f4"}[dtype]
    values = np.frombuffer(source.read(offset, count * np.dtype(code).itemsize), code).astype(np.float32)
    if not np.isfinite(values).all():
        raise ReleaseError(f"{source.name} holds a number there that is not finite")
    return values


def _replace(step: WholeStep, adapter: OpenFile, out: _Written) -> None:
    """Write a variable's new bytes. Raises ReleaseError where one of its numbers is not finite."""
    exponent = {"float32": ("<u4", 0x7F800000), "float16": ("<u2", 0x7C00), "bfloat16": ("<u2", 0x7F80)}.get(step.variable.dtype)
    for done in range(0, step.variable.size_bytes, COPY_BYTES):
        data = adapter.read(step.data_at + done, min(COPY_BYTES, step.variable.size_bytes - done))
        if exponent is not None:
            bits = np.frombuffer(data, exponent[0])
            if (np.bitwise_and(bits, exponent[1]) == exponent[1]).any():
                raise ReleaseError(f"{adapter.name}: {step.variable.name}: holds a number that is not finite")
        out.write(step.variable.offset + done, data)


class _Written:
    """A new file that is written in parts."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, offset: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._fd, rest, offset)
            rest, offset = rest[written:], offset + written

    def copy(self, source: OpenFile, first: int, behind: int) -> None:
        for at in range(first, behind, COPY_BYTES):
            self.write(at, source.read(at, min(COPY_BYTES, behind - at)))


@contextlib.contextmanager
def _written(path: Path) -> Iterator[_Written]:
    """Create `path` and sync it when the block ends; it is gone if the block is left by an error. Raises StorageError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StorageError(f"{path}: cannot be made: {error.strerror}; check the disk: free space, mount state") from error
    whole = False
    try:
        yield _Written(fd)
        os.fsync(fd)
        whole = True
    except OSError as error:
        raise StorageError(f"{path}: not written: {error.strerror}; check the disk: free space, mount state, health") from error
    finally:
        os.close(fd)
        if not whole:
            with contextlib.suppress(OSError):
                path.unlink()
