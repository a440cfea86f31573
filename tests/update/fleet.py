"""Releases of small made-up files in a simulated repository, for tests of how a device gets to them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from pathlib import Path

from edge_agent.release.manifest import (
    FORMAT,
    REQUIRED,
    Checks,
    Component,
    Limits,
    Manifest,
    Stored,
    encode_manifest,
)
from tests.update.simulator import Repository

CHUNK = 4_096


def contents(counter: int, **sizes: int) -> dict[str, bytes]:
    """Files of a release by path: one byte sequence a path and counter. `sizes` by path with `_` for `/` and `.`."""
    paths = {path: sizes.get(path.replace("/", "_").replace(".", "_"), 1_000) for path in REQUIRED}
    return {path: random.Random(f"{counter} {path}").randbytes(size) for path, size in paths.items()}


def stored(data: bytes, chunk_bytes: int = CHUNK) -> Stored:
    chunks = tuple(digest(data[at : at + chunk_bytes]) for at in range(0, len(data), chunk_bytes))
    return Stored(sha256=digest(data), size_bytes=len(data), chunk_bytes=chunk_bytes, chunks=chunks)


def described(data: bytes, chunk_bytes: int = CHUNK) -> Component:
    return Component(sha256=digest(data), size_bytes=len(data), stored=stored(data, chunk_bytes))


def manifest_of(components: Mapping[str, Component], counter: int = 1) -> Manifest:
    return Manifest(
        format=FORMAT,
        id=f"trial-{counter}",
        counter=counter,
        minimum_agent="0.1.0",
        components=dict(components),
        checks=Checks(
            prompt_version=1,
            verifier_version=1,
            tokenizer_sha256=components["tokenizer.json"].sha256,
            classifier_sha256=components["classifier.tflite"].sha256,
        ),
        limits=Limits(max_rss_bytes=1 << 30, max_sentence_s=20.0),
    )


def made(files: Mapping[str, bytes], counter: int = 1) -> bytes:
    """The manifest of a release of these files."""
    return encode_manifest(manifest_of({path: described(data) for path, data in files.items()}, counter))


def publish(repository: Repository, files: Mapping[str, bytes], counter: int = 1, group: str = "a") -> bytes:
    """Publish a release as an operator does; its manifest."""
    role, manifest = f"group-{group}", made(files, counter)
    repository.groups[role].targets.clear()
    for data in files.values():
        repository.add(role, f"blobs/{digest(data)}", data)
    repository.add(role, f"groups/{group}/release.json", manifest)
    for targets in (repository.groups[role], repository.snapshot, repository.timestamp):
        targets.version += 1
    repository.publish()
    return manifest


def written(files: Mapping[str, bytes], folder: Path) -> str:
    """The address of a folder with these files."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return f"file://{folder}"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
