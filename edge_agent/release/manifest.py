"""A release's manifest: its components with their digests, what they must match, and whether this agent can run them.

Rules: pure; a manifest is one JSON object with sorted keys, UTF-8, no insignificant blanks beyond one line end; a path in it
is relative, has no `..` and stays below the release's folder; whoever reads a component compares its digest first. That a
manifest is signed does not make it harmless: a group's key can be stolen. So every number, name and count in it is bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edge_agent.errors import ReleaseError, plain

FORMAT = "edge-agent-release/1"
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
KEYS_NAME = "keys.json"
"""Stands beside the manifest where components are sealed. What is in it is `group_keys`' business."""
MAX_KEYS_BYTES = 1 << 20
"""A group's wrapped keys: some 7 000, each for one device. Every device fetches them all."""

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
RelativePath = Annotated[str, Meta(pattern=r"^(?!.*(^|/)\.\.?(/|$))[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*\Z", max_length=200)]

REQUIRED: tuple[str, ...] = (
    "writer/model.bin",
    "writer/config.json",
    "writer/vocabulary.json",
    "tokenizer.json",
    "lexicon.txt",
    "confidence.json",
    "classifier.tflite",
)
"""Components that every release of this format has."""

CHUNK_BYTES = 1 << 20
"""The size of the chunks that large components are cut into, unless a builder says otherwise."""
MAX_CHUNK_BYTES = 16 << 20
"""A larger component is fetched only where its chunks are named: a chunk is held in memory until it is verified."""
MAX_CHUNKS = 8_192
MAX_COMPONENT_BYTES = MAX_CHUNK_BYTES * MAX_CHUNKS
MAX_COMPONENTS = 1_024
MAX_FOLDERS = 64
"""That they stand in: each is made and synced by itself."""
MAX_COUNTER = (1 << 53) - 1
"""The largest whole number that every reader of JSON keeps as it is (RFC 8259, section 6)."""
MAX_LEAP = 1 << 42
"""How far a counter may be above the one before it: whoever stole a key cannot use up all counters that there are with one
release. Counters that are milliseconds since 1970 fit."""
MAX_RSS_BYTES = 1 << 36
MAX_SENTENCE_S = 600.0

SizeBytes = Annotated[int, Meta(ge=0, le=MAX_COMPONENT_BYTES)]
Number = Annotated[int, Meta(ge=0, le=MAX_COUNTER)]


class Stored(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The bytes by which a component stands in a repository, as `blobs/<sha256>`, and how they are cut for the way."""

    sha256: Sha256
    size_bytes: SizeBytes
    chunk_bytes: Annotated[int, Meta(ge=4_096, le=MAX_CHUNK_BYTES)]
    chunks: Annotated[tuple[Sha256, ...], Meta(max_length=MAX_CHUNKS)]
    """The SHA-256 of each chunk in order; all are `chunk_bytes` long but the last."""
    sealed: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{0,64}\Z")] = ""
    """The id of the key that it is encrypted with; empty: the bytes are the component's own."""


class Merged(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A component that stands in no repository: the device makes it of two others, and it must come out as declared."""

    base: RelativePath
    adapter: RelativePath


class Component(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file of a release."""

    sha256: Sha256
    size_bytes: SizeBytes
    stored: Stored | None = None
    """None: as it is, in one chunk."""
    merged: Merged | None = None


class Checks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the components were made to go with."""

    prompt_version: Number
    verifier_version: Number
    tokenizer_sha256: Sha256
    """The tokenizer that the writer was trained with."""
    classifier_sha256: Sha256
    """The classifier whose signatures the memory may compare."""


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the release may take on a device."""

    max_rss_bytes: Annotated[int, Meta(gt=0, le=MAX_RSS_BYTES)]
    max_sentence_s: Annotated[float, Meta(gt=0, le=MAX_SENTENCE_S)]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A manifest as it is parsed."""

    format: Annotated[str, Meta(max_length=64)]
    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}\Z")]
    counter: Number
    minimum_agent: Annotated[str, Meta(pattern=r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}\Z")]
    components: Annotated[dict[RelativePath, Component], Meta(max_length=MAX_COMPONENTS)]
    checks: Checks
    limits: Limits
    certificate: RelativePath | None = None
    """Path of the component that certifies the confidence threshold; None: the threshold is not certified."""
    golden: RelativePath | None = None
    """Path of the component with the golden cases, which a device writes before it uses the release; None: there are none."""


def parse_manifest(data: bytes, source: str) -> Manifest:
    """Parse and check a manifest's own consistency. Raises ReleaseError that names `source` and what is wrong."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise ReleaseError(f"{source}: larger than {MAX_MANIFEST_BYTES} bytes: not a release manifest")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReleaseError(f"{source}: not a release manifest: {plain(error)}") from error
    if manifest.format != FORMAT:
        raise ReleaseError(f"{source}: format {manifest.format!r}; this agent reads {FORMAT!r}")
    missing = [name for name in REQUIRED if name not in manifest.components]
    if missing:
        raise ReleaseError(f"{source}: lacks the component {missing[0]!r}")
    for what, name in (("certificate", manifest.certificate), ("golden", manifest.golden)):
        if name is not None and name not in manifest.components:
            raise ReleaseError(f"{source}: {what}: {name!r} is not one of its components")
    if why := _why_not_beside(manifest.components):
        raise ReleaseError(f"{source}: components: {why}")
    for path, described in manifest.components.items():
        if why := _why_not(described, manifest):
            raise ReleaseError(f"{source}: components: {path}: {why}")
    for component, expected in (
        ("tokenizer.json", manifest.checks.tokenizer_sha256),
        ("classifier.tflite", manifest.checks.classifier_sha256),
    ):
        if manifest.components[component].sha256 != expected:
            raise ReleaseError(f"{source}: {component} is not the one that the release's other parts were made with")
    return manifest


def stored_form(name: str, component: Component) -> Stored:
    """How a component stands in a repository. Raises ReleaseError for a merged one, and for a large one without chunks."""
    if component.stored is not None:
        return component.stored
    if component.merged is not None:
        raise ReleaseError(f"{name}: is made on the device, it stands in no repository")
    if component.size_bytes > MAX_CHUNK_BYTES:
        raise ReleaseError(
            f"{name}: {component.size_bytes} bytes in one chunk, at most {MAX_CHUNK_BYTES} are fetched so: build it anew"
        )
    return cut(component)


def cut(component: Component) -> Stored:
    """A component in one chunk, as it is."""
    chunks = (component.sha256,) if component.size_bytes else ()
    chunk_bytes = max(4_096, min(component.size_bytes, MAX_CHUNK_BYTES))
    return Stored(sha256=component.sha256, size_bytes=component.size_bytes, chunk_bytes=chunk_bytes, chunks=chunks)


def refuse(manifest: Manifest, agent_version: str, prompt_version: int) -> str | None:
    """Why this agent cannot run a release, in words; None if it can. What its certificate holds for is no reason."""
    if _numbers(manifest.minimum_agent) > _numbers(agent_version):
        return f"release {manifest.id} needs edge-agent {manifest.minimum_agent} or newer; this is {agent_version}"
    if manifest.checks.prompt_version != prompt_version:
        return f"release {manifest.id} was trained for prompts of version {manifest.checks.prompt_version}, not {prompt_version}"
    return None


def check_component(manifest: Manifest, name: str, data: bytes) -> None:
    """Compare a component's bytes with the manifest. Raises ReleaseError."""
    check_parts(manifest, name, (data,))


def check_parts(manifest: Manifest, name: str, parts: Iterable[bytes]) -> None:
    """Compare a component's bytes, which come in parts and are not kept, with the manifest. Raises ReleaseError."""
    expected = manifest.components[name]
    digest, size_bytes = hashlib.sha256(), 0
    for part in parts:
        digest.update(part)
        size_bytes += len(part)
        if size_bytes > expected.size_bytes:
            break  # it may go on for as long as the disk has room
    if size_bytes != expected.size_bytes:
        beyond = " or more" if size_bytes > expected.size_bytes else ""
        raise ReleaseError(f"release {manifest.id}: {name} has {size_bytes}{beyond} bytes instead of {expected.size_bytes}")
    if digest.hexdigest() != expected.sha256:
        raise ReleaseError(f"release {manifest.id}: {name} does not have the digest of the manifest: damaged or exchanged")


def describe(files: Mapping[str, bytes]) -> dict[str, Component]:
    """The components of a manifest, from the files' contents by relative path."""
    return {
        name: Component(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)) for name, data in sorted(files.items())
    }


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def _why_not_beside(paths: Iterable[str]) -> str:
    """Why components cannot stand in one folder under these paths, in words; empty for nothing.

    Paths that differ in nothing but upper and lower case are one file on some file systems.
    """
    files, folders = {MANIFEST_NAME, KEYS_NAME}, set[str]()
    for path in paths:
        folded = path.lower()
        if folded in files:
            return f"{path}: stands twice in the release, or is the name of a file of the agent's own"
        files.add(folded)
        parts = folded.split("/")
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
        if len(folders) > MAX_FOLDERS:
            return f"they stand in more than {MAX_FOLDERS} folders"
    both = min(files & folders, default="")
    return f"{both}: is a file and a folder" if both else ""


def _why_not(component: Component, manifest: Manifest) -> str:
    """What is wrong with how a component is stored or made, in words; empty for nothing."""
    stored, merged = component.stored, component.merged
    if stored is not None and merged is not None:
        return "is both stored and merged"
    if stored is not None:
        if len(stored.chunks) != -(-stored.size_bytes // stored.chunk_bytes):
            return f"{len(stored.chunks)} chunks of {stored.chunk_bytes} bytes are not {stored.size_bytes} bytes"
        if not stored.sealed and (stored.sha256, stored.size_bytes) != (component.sha256, component.size_bytes):
            return "is stored as other bytes, but is not sealed"
    if merged is not None:
        for part in (merged.base, merged.adapter):
            if part not in manifest.components or manifest.components[part].merged is not None:
                return f"is merged of {part!r}, which is no component that is stored"
            described = manifest.components[part].stored
            if described is not None and described.sealed:
                return f"is merged of {part!r}, which is sealed: what is merged lies open on the disk"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
