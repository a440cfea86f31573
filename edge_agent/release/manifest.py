"""A release's manifest: its components with their digests, what they must match, and whether this agent can run them.

Rules: pure; a manifest is one JSON object with sorted keys, UTF-8, no insignificant blanks beyond one line end; a path in it
is relative, has no `..` and stays below the release's folder; whoever reads a component compares its digest first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edge_agent.errors import ReleaseError

FORMAT = "edge-agent-release/1"
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
RelativePath = Annotated[str, Meta(pattern=r"^(?!.*(^|/)\.\.?(/|$))[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", max_length=200)]

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


class Component(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a release."""

    sha256: Sha256
    size_bytes: Annotated[int, Meta(ge=0)]


class Checks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the components were made to go with."""

    prompt_version: int
    verifier_version: int
    tokenizer_sha256: Sha256
    """The tokenizer that the writer was trained with."""
    classifier_sha256: Sha256
    """The classifier whose signatures the memory may compare."""


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the release may take on a device."""

    max_rss_bytes: Annotated[int, Meta(gt=0)]
    max_sentence_s: Annotated[float, Meta(gt=0)]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manifest as it is parsed."""

    format: str
    id: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9.-]{0,62}$")]
    counter: Annotated[int, Meta(ge=0)]
    minimum_agent: Annotated[str, Meta(pattern=r"^\d+\.\d+\.\d+$")]
    components: dict[RelativePath, Component]
    checks: Checks
    limits: Limits
    certificate: str | None = None
    """Path of the component that certifies the confidence threshold; None: the threshold is not certified."""


def parse_manifest(data: bytes, source: str) -> Manifest:
    """Parse and check a manifest's own consistency. Raises ReleaseError that names `source` and what is wrong."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise ReleaseError(f"{source}: larger than {MAX_MANIFEST_BYTES} bytes: not a release manifest")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{source}: not a release manifest: {error}") from error
    if manifest.format != FORMAT:
        raise ReleaseError(f"{source}: format {manifest.format!r}; this agent reads {FORMAT!r}")
    missing = [name for name in REQUIRED if name not in manifest.components]
    if missing:
        raise ReleaseError(f"{source}: lacks the component {missing[0]!r}")
    if manifest.certificate is not None and manifest.certificate not in manifest.components:
        raise ReleaseError(f"{source}: its certificate {manifest.certificate!r} is not one of its components")
    for component, expected in (
        ("tokenizer.json", manifest.checks.tokenizer_sha256),
        ("classifier.tflite", manifest.checks.classifier_sha256),
    ):
        if manifest.components[component].sha256 != expected:
            raise ReleaseError(f"{source}: {component} is not the one that the release's other parts were made with")
    return manifest


def refuse(manifest: Manifest, agent_version: str, prompt_version: int) -> str | None:
    """Why this agent cannot run a release, in words; None if it can. What its certificate holds for is no reason."""
    if _numbers(manifest.minimum_agent) > _numbers(agent_version):
        return f"release {manifest.id} needs edge-agent {manifest.minimum_agent} or newer; this is {agent_version}"
    if manifest.checks.prompt_version != prompt_version:
        return f"release {manifest.id} was trained for prompts of version {manifest.checks.prompt_version}, not {prompt_version}"
    return None


def check_component(manifest: Manifest, name: str, data: bytes) -> None:
    """Compare a component's bytes with the manifest. Raises ReleaseError."""
    expected = manifest.components[name]
    if len(data) != expected.size_bytes:
        raise ReleaseError(f"release {manifest.id}: {name} has {len(data)} bytes instead of {expected.size_bytes}")
    if hashlib.sha256(data).hexdigest() != expected.sha256:
        raise ReleaseError(f"release {manifest.id}: {name} does not have the digest of the manifest: damaged or exchanged")


def describe(files: Mapping[str, bytes]) -> dict[str, Component]:
    """The components of a manifest, from the files' contents by relative path."""
    return {
        name: Component(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)) for name, data in sorted(files.items())
    }


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
