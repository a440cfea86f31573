"""Taking a release over, against the least that it can cost: copy the same bytes, hash them, sync them, on the same disk.

What is measured, each in a process of its own (`installer`): chunks of 1 MiB through a part into a blob, and the install of the
release's folder; and the agent's own children that fetch and install, from their start to their end, with the release in a
folder and on a web server of this machine. The floor: the same bytes read in the same portions from the same file, hashed, and
written to one file that is synced. All take their turns, and the medians are compared.

Rules: the source is read once beforehand, so that neither waits for it; what the kernel counts for the process is what it
wrote (`write_bytes` of /proc/self/io: pages made dirty, not what the file system adds); the folder is on the disk that TMPDIR
names.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_agent.bench.harness import child, read_line
from edge_agent.bench.installer import MODEL, SMALL, Cost
from edge_agent.bench.report import Figure
from edge_agent.release.manifest import (
    CHUNK_BYTES,
    FORMAT,
    REQUIRED,
    Checks,
    Component,
    Limits,
    Manifest,
    Stored,
    encode_manifest,
    parse_manifest,
)

AIM_RATIO, AIM_RSS_MB, AIM_FLASH = 1.5, 60, 1.05


def measure(size_bytes: int, rounds: int) -> Iterator[Figure]:
    """Wall time, memory and written bytes of a release of `size_bytes`, each of `rounds` after one of the floor."""
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as name:
        folder = Path(name)
        source = folder / "source"
        manifest = _release(source, size_bytes)
        repository = _repository(folder / "repository", source, manifest)
        costs: dict[str, list[Cost]] = {"floor": [], "install": [], "folder": [], "web": []}
        with child("edge_agent.bench.web", str(repository)) as web:
            places = {"folder": repository.as_uri(), "web": f"http://127.0.0.1:{read_line(web)}"}
            for number in range(rounds):
                for what, of in costs.items():
                    place, how = (places[what], "children") if what in places else (str(source), what)
                    of.append(_cost(how, place, folder / f"{what}-{number}", manifest))
    floor = costs["floor"]
    note = "" if floor[0].written_bytes else "the kernel wrote nothing: the folder is in memory; set TMPDIR to one on a disk"
    of_release = f"a release of {size_bytes / 1e6:.0f} MB, in chunks of 1 MiB"
    yield _wall(of_release, costs["install"], floor, note)
    yield _memory("memory of the process at its peak", costs["install"])
    yield _flash("written, against the new bytes", costs["install"], floor, size_bytes)
    children = costs["folder"] + costs["web"]
    yield _wall("by the agent's children, from a folder", costs["folder"], floor, note)
    yield _wall("by the agent's children, from a web server on this machine", costs["web"], floor, note)
    yield _memory("memory of the larger child at its peak", children)
    yield _flash("written by the children, against the new bytes", children, floor, size_bytes)


def _wall(name: str, taken: list[Cost], floor: list[Cost], note: str) -> Figure:
    return Figure(
        part="install",
        name=name,
        value=statistics.median(cost.wall_s for cost in taken),
        unit="s",
        n=len(taken),
        against="copy, SHA-256 and sync",
        against_value=statistics.median(cost.wall_s for cost in floor),
        aim=f"{AIM_RATIO} times",
        note=note,
    )


def _memory(name: str, taken: list[Cost]) -> Figure:
    return Figure(
        part="install",
        name=name,
        value=max(cost.peak_rss_bytes for cost in taken) / 1e6,
        unit="MB",
        n=len(taken),
        aim=f"{AIM_RSS_MB} MB",
    )


def _flash(name: str, taken: list[Cost], floor: list[Cost], size_bytes: int) -> Figure:
    counted = bool(floor[0].written_bytes)
    return Figure(
        part="install",
        name=name,
        value=max(cost.written_bytes for cost in taken) / size_bytes if counted else None,
        unit="times",
        n=len(taken),
        against="copy, SHA-256 and sync",
        against_value=max(cost.written_bytes for cost in floor) / size_bytes if counted else None,
        aim=f"{AIM_FLASH} times",
    )


def _cost(what: str, place: str, target: Path, manifest: Path) -> Cost:
    os.sync()  # none waits for what another left
    with child("edge_agent.bench.installer", what, place, str(target), str(manifest)) as process:
        cost = msgspec.json.decode(read_line(process), type=Cost)
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    return cost


def _repository(folder: Path, source: Path, manifest: Path) -> Path:
    """A folder with the blobs of the release, named as a repository names them."""
    blobs = folder / "targets" / "blobs"
    blobs.mkdir(parents=True)
    for component in parse_manifest(manifest.read_bytes(), "bench").components.values():
        name = blobs / f"{component.sha256}.{component.sha256}"
        if component.size_bytes == len(SMALL):
            name.write_bytes(SMALL)
        else:
            name.hardlink_to(source)
    return folder


def _release(source: Path, size_bytes: int) -> Path:
    """Write the bytes of a model to `source`, and the manifest of a release of it beside it."""
    draw = random.Random(4)
    whole, chunks = hashlib.sha256(), []
    with source.open("wb") as file:
        for at in range(0, size_bytes, CHUNK_BYTES):
            chunk = draw.randbytes(min(CHUNK_BYTES, size_bytes - at))
            whole.update(chunk)
            chunks.append(hashlib.sha256(chunk).hexdigest())
            file.write(chunk)
    sha256 = whole.hexdigest()
    stored = Stored(sha256=sha256, size_bytes=size_bytes, chunk_bytes=CHUNK_BYTES, chunks=tuple(chunks))
    small = Component(sha256=hashlib.sha256(SMALL).hexdigest(), size_bytes=len(SMALL))
    model = Component(sha256=sha256, size_bytes=size_bytes, stored=stored)
    manifest = Manifest(
        format=FORMAT,
        id="bench",
        counter=1,
        minimum_agent="0.0.1",
        components={name: model if name == MODEL else small for name in REQUIRED},
        checks=Checks(prompt_version=1, verifier_version=1, tokenizer_sha256=small.sha256, classifier_sha256=small.sha256),
        limits=Limits(max_rss_bytes=1 << 30, max_sentence_s=1.0),
    )
    path = source.with_name("manifest")
    path.write_bytes(encode_manifest(manifest))
    return path
