"""Small releases with everything that a store needs of them: no engine could load one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from msgspec import Struct

from edge_agent.release.manifest import (
    FORMAT,
    REQUIRED,
    Checks,
    Component,
    Limits,
    Manifest,
    Merged,
    Stored,
    encode_manifest,
)
from edge_agent.update.record import Held
from edge_agent.update.store import Merge, Store

CHUNK_BYTES = 4_096
MODEL = "writer/model.bin"


class SmallRelease(Struct, frozen=True, kw_only=True):
    """A manifest, and the bytes by which its components stand in a repository."""

    manifest: Manifest
    data: bytes
    blobs: dict[str, bytes]
    keys: bytes | None = None

    @property
    def sha256(self) -> str:
        return sha256(self.data)

    @property
    def held(self) -> Held:
        return Held(release=self.manifest.id, counter=self.manifest.counter, manifest_sha256=self.sha256)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stored(data: bytes, chunk_bytes: int = CHUNK_BYTES, sealed: str = "") -> Stored:
    chunks = tuple(sha256(data[at : at + chunk_bytes]) for at in range(0, len(data), chunk_bytes))
    return Stored(sha256=sha256(data), size_bytes=len(data), chunk_bytes=chunk_bytes, chunks=chunks, sealed=sealed)


def component(data: bytes) -> Component:
    return Component(sha256=sha256(data), size_bytes=len(data), stored=stored(data))


def release(counter: int, model: bytes | None = None, **others: bytes) -> SmallRelease:
    """A release of few blobs: the model in chunks, and one that all other components share, unless `others` says otherwise."""
    files = dict.fromkeys(REQUIRED, b"shared by many")
    files |= {MODEL: bytes([counter]) * (2 * CHUNK_BYTES + 100) if model is None else model, **others}
    return release_of({name: component(data) for name, data in files.items()}, blobs_of(*files.values()), counter)


def adapted(counter: int, base: bytes, adapter: bytes, result: bytes) -> SmallRelease:
    """A release whose model is merged of two components."""
    plain = release(counter, base=base, adapter=adapter)
    merged = Component(sha256=sha256(result), size_bytes=len(result), merged=Merged(base="base", adapter="adapter"))
    return release_of({**plain.manifest.components, MODEL: merged}, blobs_of(b"shared by many", base, adapter), counter)


def sealed(counter: int, keys: bytes | None) -> SmallRelease:
    """A release whose model is encrypted, for all that a store can tell."""
    plain, secret = release(counter), b"not to be read" * 500
    model = Component(sha256=sha256(b"plain"), size_bytes=5, stored=stored(secret, sealed="group-key-1"))
    return release_of({**plain.manifest.components, MODEL: model}, blobs_of(b"shared by many", secret), counter, keys)


def release_of(
    components: dict[str, Component], blobs: dict[str, bytes], counter: int, keys: bytes | None = None
) -> SmallRelease:
    manifest = Manifest(
        format=FORMAT,
        id=f"release-{counter}",
        counter=counter,
        minimum_agent="0.0.1",
        components=components,
        checks=Checks(
            prompt_version=1,
            verifier_version=1,
            tokenizer_sha256=components["tokenizer.json"].sha256,
            classifier_sha256=components["classifier.tflite"].sha256,
        ),
        limits=Limits(max_rss_bytes=1 << 30, max_sentence_s=1.0),
    )
    return SmallRelease(manifest=manifest, data=encode_manifest(manifest), blobs=blobs, keys=keys)


def blobs_of(*blobs: bytes) -> dict[str, bytes]:
    return {sha256(data): data for data in blobs}


def fetch(store: Store, release: SmallRelease) -> int:
    """Bring what is missing of a release into the store; how many bytes came."""
    fetched = 0
    for _, wanted in store.missing(release.manifest):
        data = release.blobs[wanted.sha256]
        with store.part(wanted) as part:
            for number in range(part.resume(), len(wanted.chunks)):
                chunk = data[number * wanted.chunk_bytes : (number + 1) * wanted.chunk_bytes]
                part.append(chunk)
                fetched += len(chunk)
            part.finish()
    return fetched


def put(store: Store, release: SmallRelease, merge: Merge | None = None) -> Path:
    """Fetch and install a release."""
    store.prepare()
    digest = store.put_manifest(release.data)
    if release.keys is not None:
        store.put_keys(digest, release.keys)
    fetch(store, release)
    return store.install(digest, merge=merge)
