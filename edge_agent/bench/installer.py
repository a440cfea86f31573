"""One process that takes a release over, or does the least that this could cost; started by `install`, which says why.

Rules: it imports what the agent's own processes import for that, and nothing of the bench, so that its memory is the same.
What it starts are the agent's own children, by what the agent starts them with.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from edge_agent.bench.flash import written_bytes
from edge_agent.clock import SystemClock
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.release.manifest import CHUNK_BYTES
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.jobs import Fetched, FetchJob, Installed, InstallJob, Problem, Repository
from edge_agent.update.store import Store

_Result = TypeVar("_Result", bound=Struct)

MODEL = "writer/model.bin"
SMALL = b"the same small file"
"""All other components."""
LIMITS = ChildLimits(timeout_s=600.0, silent_s=600.0, max_rss_bytes=1 << 30)
"""Wide: what the children take is measured here."""


class Cost(Struct, frozen=True, kw_only=True):
    """What one process took, from its first byte to its last sync; or its children, with their start."""

    wall_s: float
    written_bytes: int
    peak_rss_bytes: int


def main(arguments: Sequence[str]) -> int:
    """One process: `floor`, `install` or `children`, where the bytes are, where to write to, the manifest. Prints its cost.

    The bytes are in a file, and for `children` in a repository at a URL. Raises ReleaseError where nothing came of it.
    """
    what, source, target, manifest = arguments
    data = Path(manifest).read_bytes()
    before, began_s = written_bytes(), time.perf_counter()
    if what == "floor":
        _copy(Path(source), Path(target))
    elif what == "install":
        _install(Path(source), Path(target), data)
    else:
        _run_children(source, Path(target), data)
    wall_s = time.perf_counter() - began_s
    peak_rss_bytes = _peak_rss_of_children_bytes() if what == "children" else _peak_rss_bytes()
    cost = Cost(wall_s=wall_s, written_bytes=written_bytes() - before, peak_rss_bytes=peak_rss_bytes)
    print(msgspec.json.encode(cost).decode())
    return 0


def _peak_rss_bytes() -> int:
    """Of this program; what getrusage says includes the one that started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    raise StorageError("this kernel does not count the memory of a process; measure on another one")


def _peak_rss_of_children_bytes() -> int:
    """Of the largest one; no less than what this process had when it started it."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _copy(source: Path, target: Path) -> None:
    digest = hashlib.sha256()
    with source.open("rb", buffering=0) as read, target.open("wb", buffering=0) as written:
        while portion := read.read(CHUNK_BYTES):
            digest.update(portion)
            written.write(portion)
        os.fsync(written.fileno())


def _install(source: Path, target: Path, manifest: bytes) -> None:
    target.mkdir()
    store = Store(target)
    store.prepare()
    sha256 = store.put_manifest(manifest)
    for path, stored in store.missing(store.manifest(sha256)):
        with store.part(stored) as part:
            part.resume()
            if path == MODEL:
                with source.open("rb", buffering=0) as read:
                    while portion := read.read(CHUNK_BYTES):
                        part.append(portion)
            else:
                part.append(SMALL)
            part.finish()
    store.install(sha256)


def _run_children(url: str, target: Path, manifest: bytes) -> None:
    target.mkdir()
    store = Store(target)
    store.prepare()
    sha256 = store.put_manifest(manifest)
    fetch = FetchJob(
        place=Repository(url=url), store_folder=str(target), manifest_sha256=sha256, max_bytes=1 << 31, min_free_bytes=0
    )
    install = InstallJob(store_folder=str(target), manifest_sha256=sha256, min_free_bytes=0)
    _fail_on(_child("edge_agent.update.fetch", fetch, Fetched).problem)
    _fail_on(_child("edge_agent.update.install", install, Installed).problem)


def _child(module: str, job: Struct, kind: type[_Result]) -> _Result:
    with Child.start(module, job, limits=LIMITS, clock=SystemClock()) as child:
        while not child.poll(60.0):
            pass
        return child.result(kind)


def _fail_on(problem: Problem | None) -> None:
    if problem is not None:
        raise ReleaseError(f"{problem.reason}: {problem.detail}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
