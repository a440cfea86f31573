"""What an adapter changes in a writer's `model.bin`, as it stands in a file: docs/formats/adapter.md.

Format: the line `edge-agent adapter 1`, u32 the length of the header, the header (one JSON object), then for each change in
turn its arrays without a gap, all little-endian. Where an array stands follows from the header and the base alone: there are
no offsets that could overlap or lie, and the file ends with the last array.

Rules: each change names another variable of the base, in the base's order, and must fit it; what is needed of memory is known
and bounded before an array is read. The numbers in the arrays are checked by who reads them (`merging`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edge_agent.errors import ReleaseError
from edge_agent.update.weights import MAX_NAME_BYTES, MAX_VARIABLES, SCALE_SUFFIX, OpenFile, Variable, Weights

HEAD = b"edge-agent adapter 1\n"
MAX_HEADER_BYTES = 4 << 20
MAX_RANK = 256
MAX_ROWS = 1 << 20
MAX_COLUMNS = 1 << 17
MAX_INNER_BYTES = 16 << 20
"""Of the inner factor in float32: it is held whole, the outer one in parts."""

FACTOR_BYTES: dict[str, int] = {"float16": 2, "float32": 4}

Name = Annotated[str, Meta(max_length=MAX_NAME_BYTES)]


class WeightChange(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="weight"
):
    """A weight in INT8: a change of low rank to all of it, rows that are replaced, or both, then the rows stand.

    Arrays: inner factor (rank, in), outer factor (out, rank), both of the type `factors`; row numbers u32 (rows), ascending;
    their scales float32 (rows); the rows int8 (rows, in).
    """

    variable: Name
    rank: Annotated[int, Meta(ge=0, le=MAX_RANK)] = 0
    factors: Literal["float16", "float32"] = "float16"
    scale: float = 1.0
    """The change is `scale` times the outer factor times the inner one."""
    dither: bool = False
    """Round with the pattern of `merging` and not to the nearest, so that changes below half a step are not all lost."""
    rows: Annotated[int, Meta(ge=0, le=MAX_ROWS)] = 0


class WholeChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="whole"):
    """A variable that is no weight in INT8, such as a norm: its bytes, all of them, in its own type."""

    variable: Name


Change = WeightChange | WholeChange


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The header as it is parsed."""

    base_bytes: Annotated[int, Meta(ge=0)]
    """How long the base is that this goes with."""
    changes: Annotated[tuple[Change, ...], Meta(max_length=MAX_VARIABLES)]


class WeightStep(Struct, frozen=True, kw_only=True):
    """A change of a weight, with what it changes and where its arrays begin in the adapter."""

    change: WeightChange
    weight: Variable
    scales: Variable
    inner_at: int
    outer_at: int
    numbers_at: int
    scales_at: int
    rows_at: int
    end: int


class WholeStep(Struct, frozen=True, kw_only=True):
    """A whole change, with what it replaces and where its bytes begin in the adapter."""

    variable: Variable
    data_at: int
    end: int


Step = WeightStep | WholeStep


def encode_head(header: Header) -> bytes:
    """All that stands before the arrays. Raises ReleaseError for more than MAX_HEADER_BYTES."""
    data = msgspec.json.encode(header, order="sorted")
    if len(data) > MAX_HEADER_BYTES:
        raise ReleaseError(
            f"an adapter's header of {len(data)} bytes, at most {MAX_HEADER_BYTES} are read: change fewer variables"
        )
    return HEAD + struct.pack("<I", len(data)) + data


def read_steps(adapter: OpenFile, base: Weights, base_name: str) -> tuple[Step, ...]:
    """What an adapter does to a base, in the base's order. Raises ReleaseError that names the variable, StorageError."""
    header, at = _header(adapter)
    if header.base_bytes != base.size_bytes:
        raise ReleaseError(
            f"{adapter.name}: was made for a base of {header.base_bytes} bytes, {base_name} has {base.size_bytes}: not its base"
        )
    steps: list[Step] = []
    reached = -1
    for change in header.changes:
        where = f"{adapter.name}: {change.variable}"
        variable = base.variables.get(change.variable)
        if variable is None:
            raise ReleaseError(f"{where}: {base_name} has no such variable{_hint(change.variable, base)}")
        if variable.offset <= reached:
            raise ReleaseError(f"{where}: is named twice, or before one that stands ahead of it in the base")
        reached = variable.offset
        step = (
            _weight_step(change, variable, base, at, where)
            if isinstance(change, WeightChange)
            else _whole_step(variable, base, at, where)
        )
        if step.end > adapter.size_bytes:
            raise ReleaseError(f"{where}: its arrays end at {step.end}, the file at {adapter.size_bytes}: cut short")
        steps.append(step)
        at = step.end
    if at != adapter.size_bytes:
        raise ReleaseError(f"{adapter.name}: has {adapter.size_bytes - at} bytes after its last array")
    return tuple(steps)


def changed(steps: tuple[Step, ...]) -> Iterator[tuple[int, int]]:
    """The ranges of the base that are written anew, in order; each (first byte, behind the last)."""
    touched = [step.variable if isinstance(step, WholeStep) else step.weight for step in steps]
    touched += [step.scales for step in steps if isinstance(step, WeightStep)]
    yield from sorted((variable.offset, variable.end) for variable in touched)


def _header(adapter: OpenFile) -> tuple[Header, int]:
    """The header, and where the arrays begin."""
    start = len(HEAD) + 4
    if adapter.size_bytes < start or adapter.read(0, len(HEAD)) != HEAD:
        raise ReleaseError(f"{adapter.name}: does not begin with {HEAD.decode().strip()!r}: not an adapter, or of a newer format")
    (length,) = struct.unpack("<I", adapter.read(len(HEAD), 4))
    if length > min(MAX_HEADER_BYTES, adapter.size_bytes - start):
        raise ReleaseError(f"{adapter.name}: a header of {length} bytes: more than the file has, or than {MAX_HEADER_BYTES}")
    try:
        return msgspec.json.decode(adapter.read(start, length), type=Header), start + length
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReleaseError(f"{adapter.name}: header: {error}") from error


def _weight_step(change: WeightChange, weight: Variable, base: Weights, at: int, where: str) -> WeightStep:
    scales = base.scale_of(weight)
    if scales is None:
        raise ReleaseError(f"{where}: is no weight in INT8 with a scale for each row, it can only be replaced whole")
    rows, columns = weight.shape
    if why := _why_not(change, rows, columns):
        raise ReleaseError(f"{where}: {why}")
    factor_bytes = FACTOR_BYTES[change.factors]
    outer_at = at + change.rank * columns * factor_bytes
    numbers_at = outer_at + rows * change.rank * factor_bytes
    scales_at = numbers_at + 4 * change.rows
    rows_at = scales_at + 4 * change.rows
    return WeightStep(
        change=change,
        weight=weight,
        scales=scales,
        inner_at=at,
        outer_at=outer_at,
        numbers_at=numbers_at,
        scales_at=scales_at,
        rows_at=rows_at,
        end=rows_at + change.rows * columns,
    )


def _why_not(change: WeightChange, rows: int, columns: int) -> str:
    """Why a weight of this shape cannot be changed so, in words; empty for nothing."""
    if not (0 < rows <= MAX_ROWS and 0 < columns <= MAX_COLUMNS):
        return f"{rows} rows of {columns}, at most {MAX_ROWS} of {MAX_COLUMNS} are changed"
    if change.rank > min(rows, columns):
        return f"rank {change.rank} of a weight of {rows} rows of {columns}"
    if change.rank * columns * 4 > MAX_INNER_BYTES:
        return f"an inner factor of {change.rank} rows of {columns}, more than {MAX_INNER_BYTES} bytes"
    if change.rows > rows:
        return f"replaces {change.rows} rows of {rows}"
    if change.rank == change.rows == 0:
        return "changes nothing"
    if not 2.0**-126 <= abs(change.scale) < 2.0**127:
        return f"scale {change.scale} is none of float32's normal numbers"
    return ""


def _whole_step(variable: Variable, base: Weights, at: int, where: str) -> WholeStep:
    owner = base.variables.get(variable.name.removesuffix(SCALE_SUFFIX))
    if base.scale_of(variable) is not None:
        raise ReleaseError(f"{where}: is a weight in INT8: it is changed by rows or by a low rank, together with its scales")
    if owner is not None and base.scale_of(owner) is variable:
        raise ReleaseError(f"{where}: holds the scales of a weight, and changes only with it")
    return WholeStep(variable=variable, data_at=at, end=at + variable.size_bytes)


def _hint(name: str, base: Weights) -> str:
    target = base.aliases.get(name)
    return f"; it is an alias of {target!r}: change that" if target else ""
