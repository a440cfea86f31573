"""One process that takes a release over, or does the least that this could cost; started by `install`, which says why.

Rules: it imports what the agent's own process imports for that, and nothing of the bench, so that its memory is the same.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.bench.flash import written_bytes
from edge_agent.errors import StorageError
from edge_agent.release.manifest import CHUNK_BYTES
from edge_agent.update.store import Store

MODEL = "writer/model.bin"
SMALL = b"the same small file"
"""All other components."""


class Cost(Struct, frozen=True, kw_only=True):
    """What one process took, from its first byte to its last sync."""

    wall_s: float
    written_bytes: int
    peak_rss_bytes: int


def main(arguments: Sequence[str]) -> int:
    """One process: `floor` or `install`, the source, where to write to, the manifest. Prints its cost."""
    what, source, target, manifest = arguments
    data = Path(manifest).read_bytes()
    before, began_s = written_bytes(), time.perf_counter()
    if what == "floor":
        _copy(Path(source), Path(target))
    else:
        _install(Path(source), Path(target), data)
    wall_s = time.perf_counter() - began_s
    cost = Cost(wall_s=wall_s, written_bytes=written_bytes() - before, peak_rss_bytes=_peak_rss_bytes())
    print(msgspec.json.encode(cost).decode())
    return 0


def _peak_rss_bytes() -> int:
    """Of this program; what getrusage says includes the one that started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    raise StorageError("this kernel does not count the memory of a process; measure on another one")


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
