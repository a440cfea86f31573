"""Makes an adapter release: of a base that devices have and a fine-tuned writer of the same shape, one that costs megabytes.

    edge-ota adapter BASE_RELEASE TUNED_RELEASE OUT --rank N [--factors float16|float32]

OUT gets the tuned release's files, `adapter/base.bin` (the base release's writer, or its own base where it is an adapter release
itself), `adapter/adapter.bin`, and as `writer/model.bin` what a device will make of the two. Each weight's change is the best one
of its rank in the least squares (Eckart and Young 1936), of the weights as both releases have them in INT8; where fewer bytes
do it, the rows that differ are taken as they are; what is no weight in INT8 is replaced whole.

Rules: `writer/model.bin` is made by the device's own code, so that golden cases, certificate and digest are of what devices will
run; what was measured of the tuned writer (certificate, golden cases, bill, manifest) is not taken along, because OUT's writer is
another. `edge-ota build` sees by `adapter/adapter.bin` that a folder is an adapter release, and merges again before it says so.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_agent.atomic import make_folder
from edge_agent.errors import EdgeAgentError
from edge_agent.release.certificate import CERTIFICATE_NAME
from edge_agent.release.manifest import MANIFEST_NAME, Component, Merged
from edge_agent.update.adapter import MAX_RANK, Change, Header, WeightChange, WholeChange, encode_head
from edge_agent.update.merging import merge
from edge_agent.update.weights import OpenFile, Variable, Weights, index
from edge_ota.bom import BOM_NAME
from edge_ota.files import Folder, is_whole, whole
from edge_ota.golden import GOLDEN_NAME
from edge_ota.signing import OperatorError
from edge_ota.usage import described

WRITER_NAME = "writer/model.bin"
ADAPTER_FOLDER = "adapter"
BASE_NAME = f"{ADAPTER_FOLDER}/base.bin"
ADAPTER_NAME = f"{ADAPTER_FOLDER}/adapter.bin"
DITHERED_BELOW_STEPS = 0.4
"""Root mean square of a change in steps of the quantisation; below it, the nearest step loses more than a tenth of a change
whose numbers are normally distributed."""

Factors: TypeAlias = Literal["float16", "float32"]
Matrix: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Made:
    """What an adapter is like."""

    adapter_bytes: int
    writer_bytes: int
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        weights = [change for change in self.changes if isinstance(change, WeightChange)]
        low = [change for change in weights if change.rank]
        dithered, share = sum(change.dither for change in low), self.adapter_bytes / self.writer_bytes
        return (
            f"{self.adapter_bytes} bytes, {share:.1%} of the writer's {self.writer_bytes}: {len(low)} weights by low rank"
            f" ({dithered} dithered), {len(weights) - len(low)} by rows, {len(self.changes) - len(weights)} variables whole"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 1 if the two releases do not go together or the disk refuses."""
    parser = described("adapter", __doc__)
    parser.add_argument("base", type=Path, help="folder of the release that devices have")
    parser.add_argument("tuned", type=Path, help="folder of the release with the fine-tuned writer")
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--rank", type=int, required=True, help=f"of each weight's change, 1 to {MAX_RANK}")
    parser.add_argument("--factors", choices=("float16", "float32"), default="float16")
    options = parser.parse_args(argv)
    if not 1 <= options.rank <= MAX_RANK:
        parser.error(f"--rank is between 1 and {MAX_RANK}")
    try:
        made = make_release(options.base, options.tuned, options.out, options.rank, options.factors)
    except (EdgeAgentError, OSError) as error:
        print(f"edge-ota adapter: {error}", file=sys.stderr)
        return 1
    print(f"{options.out / ADAPTER_NAME}: {made}")
    print(f"next: edge-ota build {options.out}; to certify it, edge-ota calibrate {options.out}, and build again")
    return 0


def make_release(base: Path, tuned: Path, out: Path, rank: int, factors: Factors = "float16") -> Made:
    """Make the folder `out`, which must not be there, whole or not. Raises OperatorError, ReleaseError, StorageError, OSError."""
    if out.exists():
        raise OperatorError(f"{out}: is there already: name a folder that is not")
    make_folder(out.parent, 0o755)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        half = Path(name) / "release"
        made = _fill(half, base, tuned, rank, factors)
        half.rename(out)
    return made


def _fill(out: Path, base: Path, tuned: Path, rank: int, factors: Factors) -> Made:
    base_file = base / BASE_NAME if (base / BASE_NAME).exists() else base / WRITER_NAME
    make_folder(out / ADAPTER_FOLDER, 0o755)
    left = {WRITER_NAME, MANIFEST_NAME, CERTIFICATE_NAME, GOLDEN_NAME, BOM_NAME, BASE_NAME, ADAPTER_NAME}
    for path in sorted(tuned.rglob("*")):
        name = path.relative_to(tuned).as_posix()
        if path.is_file() and name not in left:
            make_folder((out / name).parent, 0o755)
            shutil.copyfile(path, out / name)
    made = make_adapter(base_file, tuned / WRITER_NAME, out / ADAPTER_NAME, rank, factors)
    shutil.copyfile(base_file, out / BASE_NAME)
    merge(out / BASE_NAME, out / ADAPTER_NAME, out / WRITER_NAME)
    (out / WRITER_NAME).chmod(0o644)
    return made


def make_adapter(base: Path, tuned: Path, out: Path, rank: int, factors: Factors = "float16") -> Made:
    """Write the adapter that takes one `model.bin` towards another of the same shape.

    Raises ReleaseError for what is no such file, OperatorError where the two do not go together, StorageError.
    """
    with OpenFile.open(base) as old_file, OpenFile.open(tuned) as new_file:
        old, new = _Model(old_file), _Model(new_file)
        _check_same_shape(old, new)
        changes: list[Change] = []
        with TemporaryDirectory(dir=out.parent, prefix=".arrays-") as name:
            arrays = Path(name) / "arrays"
            with arrays.open("wb") as file:
                for variable in old.weights.variables.values():
                    for change, data in _changes(old, new, variable, rank, factors):
                        changes.append(change)
                        file.write(data)
            head = encode_head(Header(base_bytes=old.weights.size_bytes, changes=tuple(changes)))
            with whole(out) as file, arrays.open("rb") as body:
                file.write(head)
                shutil.copyfileobj(body, file)
        return Made(out.stat().st_size, new.weights.size_bytes, tuple(changes))


def merged_components(folder: Path, components: dict[str, Component]) -> dict[str, Component]:
    """The components of a release's folder, the writer marked as made on the device where the folder has an adapter.

    Raises OperatorError where base and adapter do not make the folder's writer, ReleaseError, StorageError.
    """
    if ADAPTER_NAME not in components:
        return components
    if BASE_NAME not in components:
        raise OperatorError(f"{folder / BASE_NAME} is missing: make the folder anew with edge-ota adapter")
    for name in (BASE_NAME, ADAPTER_NAME):
        stored = components[name].stored
        if stored is not None and stored.sealed:
            raise OperatorError(
                f"{folder / name}: is sealed, and a gateway merges only what lies open on its disk: build without a key"
            )
    writer = components[WRITER_NAME]
    with TemporaryDirectory(prefix="edge-ota-") as name:
        merge(folder / BASE_NAME, folder / ADAPTER_NAME, Path(name) / "model.bin")
        if not is_whole(Folder(Path(name)).parts("model.bin") or (), writer.size_bytes, writer.sha256):
            raise OperatorError(
                f"{folder / WRITER_NAME}: not what base and adapter make: make the folder anew with edge-ota adapter"
            )
    made = replace(writer, stored=None, merged=Merged(base=BASE_NAME, adapter=ADAPTER_NAME))
    return components | {WRITER_NAME: made}


class _Model:
    """An open `model.bin`, whose variables are read one at a time."""

    def __init__(self, file: OpenFile) -> None:
        self.file = file
        self.weights: Weights = index(file)

    def data(self, variable: Variable) -> bytes:
        return self.file.read(variable.offset, variable.size_bytes)

    def quantised(self, variable: Variable, scales: Variable) -> tuple[NDArray[np.int8], Matrix]:
        rows = np.frombuffer(self.data(variable), np.int8).reshape(variable.shape)
        return rows, np.frombuffer(self.data(scales), "<f4").astype(np.float32)

    def floats(self, variable: Variable, scales: Variable) -> Matrix:
        rows, of_row = self.quantised(variable, scales)
        return np.divide(rows, of_row[:, np.newaxis], dtype=np.float32)


def _check_same_shape(old: _Model, new: _Model) -> None:
    """Raises OperatorError unless only the numbers differ."""
    if old.weights != new.weights:
        ours, theirs = ({each.name: (each.dtype, each.shape) for each in m.weights.variables.values()} for m in (old, new))
        other = next((name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)), "the order or an alias")
        raise OperatorError(f"{new.file.name}: {other} is not as in {old.file.name}: tune the base, not another model")
    front = min((variable.offset for variable in old.weights.variables.values()), default=0)
    if old.file.read(0, front) != new.file.read(0, front):
        raise OperatorError(f"{new.file.name}: is of another architecture than {old.file.name}")


def _changes(old: _Model, new: _Model, variable: Variable, rank: int, factors: Factors) -> list[tuple[Change, bytes]]:
    """What is to be done to one variable, nothing or one change with its arrays."""
    scales = old.weights.scale_of(variable)
    if scales is not None:
        return _weight_change(old, new, variable, scales, rank, factors)
    owner = old.weights.variables.get(variable.name.removesuffix("_scale"))
    if owner is not None and old.weights.scale_of(owner) == variable:
        return []  # it comes with its weight
    data = new.data(variable)
    return [] if data == old.data(variable) else [(WholeChange(variable=variable.name), data)]


def _weight_change(
    old: _Model, new: _Model, weight: Variable, scales: Variable, rank: int, factors: Factors
) -> list[tuple[Change, bytes]]:
    (old_rows, old_scales), (new_rows, new_scales) = old.quantised(weight, scales), new.quantised(weight, scales)
    differing = np.flatnonzero((old_rows != new_rows).any(axis=1) | (old_scales != new_scales))
    if not len(differing):
        return []
    rank = min(rank, *weight.shape)
    if len(differing) * (weight.shape[1] + 8) <= sum(weight.shape) * rank * np.dtype(factors).itemsize:
        arrays = (differing.astype("<u4"), new_scales[differing].astype("<f4"), new_rows[differing])
        return [(WeightChange(variable=weight.name, rows=len(differing)), b"".join(array.tobytes() for array in arrays))]
    difference = new.floats(weight, scales) - old.floats(weight, scales)
    inner, outer = best_factors(difference, rank)
    steps = float(np.sqrt(np.mean(np.square((outer @ inner) * old_scales[:, np.newaxis], dtype=np.float64))))
    change = WeightChange(variable=weight.name, rank=rank, factors=factors, dither=steps < DITHERED_BELOW_STEPS)
    code = {"float16": "<f2", "float32": "<f4"}[factors]
    return [(change, b"".join(np.ascontiguousarray(factor, code).tobytes() for factor in (inner, outer)))]


def best_factors(matrix: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """Factors (rank, in) and (out, rank), alike in size, whose product is nearest to a matrix (out, in) in the least squares.

    By the eigenvectors of the smaller of the two products of the matrix with itself, in float64.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    tall = np.asarray(matrix.T if wide else matrix, np.float64)
    powers, directions = np.linalg.eigh(tall.T @ tall)
    kept = directions[:, ::-1][:, :rank]
    size = np.power(np.maximum(powers[::-1][:rank], np.finfo(np.float64).tiny), 0.25)
    narrow, long = (kept * size).T, tall @ kept / size
    inner, outer = (long.T, narrow.T) if wide else (narrow, long)
    return inner.astype(np.float32), outer.astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
