"""Writes the manifest of a release folder: what its components are and what they were made to go with.

    edge-ota build FOLDER --id ID --counter N [--minimum-agent X.Y.Z] [--golden INCIDENTS.jsonl] [--bom LICENCE]
                   [--max-rss-mib N] [--max-sentence-s N] [--chunk-kib N] [--group-key FILE]

Rules: no file may be of a format that runs code when it is loaded (`contents`); every file below the folder becomes a
component, except the manifest; a hidden file is an error, because nobody means to release it; a file larger than a chunk is
described chunk by chunk, so that a gateway can verify what it fetches before it keeps it; the manifest is written last and
atomically; what was written is parsed by the device's own code first. A `certificate.json` in the folder becomes the release's
certificate; it must be of this writer, tokenizer, lexicon and rule. A `golden.json`, which `--golden` makes, becomes its golden
cases; the release is then tried as gateways try it, and what they would refuse is not built: it is left without a manifest.
With `--bom` the bill of materials is made; it is a component like another. With `--group-key` every component is described as
it stands in the repository when it is sealed with that key; the files in the folder stay as they are.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.atomic import write_atomic
from edge_agent.engines.writer import COMPUTE_TYPE
from edge_agent.errors import EdgeAgentError, ReleaseError
from edge_agent.prompt import PROMPT_VERSION
from edge_agent.release.certificate import CERTIFICATE_NAME, STILL, Key, differs, parse_certificate, speaker_of
from edge_agent.release.group_keys import GroupKey
from edge_agent.release.manifest import (
    CHUNK_BYTES,
    FORMAT,
    KEYS_NAME,
    MANIFEST_NAME,
    MAX_CHUNK_BYTES,
    REQUIRED,
    Checks,
    Component,
    Limits,
    Manifest,
    Stored,
    encode_manifest,
    parse_manifest,
)
from edge_agent.verify import VERIFIER_VERSION
from edge_ota.adapter import merged_components
from edge_ota.bom import BOM_NAME, bill
from edge_ota.contents import refuse_contents
from edge_ota.golden import GOLDEN_NAME, golden_cases
from edge_ota.seal import read_group_key, sealed_component
from edge_ota.signing import OperatorError
from edge_ota.trial import try_release
from edge_ota.usage import described

DEFAULT_LIMITS = Limits(max_rss_bytes=400 << 20, max_sentence_s=20.0)
MIN_CHUNK_KIB = 4


@dataclass(frozen=True)
class Recipe:
    """What is said of a release besides its files."""

    id: str
    counter: int
    minimum_agent: str = "0.1.0"
    limits: Limits = DEFAULT_LIMITS
    chunk_bytes: int = CHUNK_BYTES
    group_key: GroupKey | None = None
    """What the components are sealed with; None: they are published as they are."""


def build_manifest(folder: Path, recipe: Recipe) -> Manifest:
    """Describe a folder's files.

    Raises OperatorError; ReleaseError if a component is missing, or the certificate is another's.
    """
    files = _files(folder)
    missing = [name for name in REQUIRED if name not in files]
    if missing:
        raise ReleaseError(f"{folder}: lacks {', '.join(missing)}: train them first")
    described = {name: describe_file(name, path, recipe.chunk_bytes, recipe.group_key) for name, path in files.items()}
    components = merged_components(folder, described)
    manifest = Manifest(
        format=FORMAT,
        id=recipe.id,
        counter=recipe.counter,
        minimum_agent=recipe.minimum_agent,
        components=components,
        checks=Checks(
            prompt_version=PROMPT_VERSION,
            verifier_version=VERIFIER_VERSION,
            tokenizer_sha256=components["tokenizer.json"].sha256,
            classifier_sha256=components["classifier.tflite"].sha256,
        ),
        limits=recipe.limits,
        certificate=CERTIFICATE_NAME if CERTIFICATE_NAME in files else None,
        golden=GOLDEN_NAME if GOLDEN_NAME in files else None,
    )
    if manifest.certificate is not None:
        _check_certificate(files[CERTIFICATE_NAME].read_bytes(), manifest, folder)
    return manifest


def describe_file(name: str, path: Path, chunk_bytes: int, group_key: GroupKey | None = None) -> Component:
    """A component, with its chunks where it is larger than one, or sealed.

    Raises OperatorError, ReleaseError for a format not released.
    """
    whole, length, chunks = hashlib.sha256(), 0, []
    try:
        with path.open("rb") as file:
            refuse_contents(name, file)
            file.seek(0)
            while chunk := file.read(chunk_bytes):
                whole.update(chunk)
                length += len(chunk)
                chunks.append(hashlib.sha256(chunk).hexdigest())
    except OSError as error:
        raise OperatorError(f"{path}: cannot be read: {error.strerror}") from error
    digest = whole.hexdigest()
    if group_key is not None:
        return sealed_component(Component(sha256=digest, size_bytes=length), path, group_key, chunk_bytes)
    if len(chunks) <= 1:
        return Component(sha256=digest, size_bytes=length)
    stored = Stored(sha256=digest, size_bytes=length, chunk_bytes=chunk_bytes, chunks=tuple(chunks))
    return Component(sha256=digest, size_bytes=length, stored=stored)


def _files(folder: Path) -> Mapping[str, Path]:
    """What a release of this folder is made of, by path. Raises OperatorError for a hidden file."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    found.pop(MANIFEST_NAME, None)
    if KEYS_NAME in found:
        raise OperatorError(
            f"{folder / KEYS_NAME}: a gateway keeps the wrapped keys under this name: choose another for the file"
        )
    if hidden := [name for name in found if any(part.startswith(".") for part in name.split("/"))]:
        raise OperatorError(f"{folder / hidden[0]}: hidden, and every file of the folder is released: remove it")
    return found


def _check_certificate(data: bytes, manifest: Manifest, folder: Path) -> None:
    """Raises ReleaseError unless the certificate is of these components, whatever machine it was measured on."""
    certificate = parse_certificate(data, str(folder / CERTIFICATE_NAME))
    speaker = speaker_of(manifest, COMPUTE_TYPE, PROMPT_VERSION, VERIFIER_VERSION)
    if not certificate.measured or certificate.speaker != speaker:
        why = (
            differs(certificate, Key(speaker, certificate.measured[0].machine)) if certificate.measured else "it measured nothing"
        )
        raise ReleaseError(f"{folder / CERTIFICATE_NAME}: {why.removesuffix(f'; {STILL}')}: measure again or remove it")


def build(folder: Path, recipe: Recipe, golden: Path | None = None, licence: str | None = None) -> Manifest:
    """Write the manifest and what is asked for; in between the folder is a whole release, without what is yet to come.

    `golden` is a file of incidents, `licence` the SPDX id for the bill of materials. Raises OperatorError, ReleaseError.
    """
    if golden is not None:
        (folder / GOLDEN_NAME).unlink(missing_ok=True)
        (folder / BOM_NAME).unlink(missing_ok=True)
        _write_manifest(folder, recipe)
        write_atomic(folder / GOLDEN_NAME, golden_cases(folder, golden), mode=0o644)
    if licence is None and (folder / BOM_NAME).exists():
        raise OperatorError(f"{folder / BOM_NAME}: the bill of materials of an earlier build: give --bom, or remove it")
    if licence is not None:
        (folder / BOM_NAME).unlink(missing_ok=True)
        components = build_manifest(folder, recipe).components
        write_atomic(folder / BOM_NAME, bill(recipe.id, recipe.counter, components, licence), mode=0o644)
    manifest = _write_manifest(folder, recipe)
    if golden is not None:
        try:
            try_release(folder)
        except EdgeAgentError:
            (folder / MANIFEST_NAME).unlink()
            raise
    return manifest


def _write_manifest(folder: Path, recipe: Recipe) -> Manifest:
    data = encode_manifest(build_manifest(folder, recipe))
    manifest = parse_manifest(data, MANIFEST_NAME)
    write_atomic(folder / MANIFEST_NAME, data, mode=0o644)
    return manifest


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 1 if the folder is not a whole release."""
    parser = described("build", __doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the release's folder")
    parser.add_argument("--id", required=True, help="the release's name, of a-z, 0-9, . and -; a new one for every release")
    parser.add_argument("--counter", type=int, required=True, metavar="N", help="above that of every release before")
    parser.add_argument("--minimum-agent", default="0.1.0", metavar="X.Y.Z", help="the oldest agent that can run it (0.1.0)")
    parser.add_argument("--golden", type=Path, metavar="INCIDENTS.jsonl", help="incidents to write golden cases of, one a line")
    parser.add_argument("--bom", metavar="LICENCE", help="make the bill of materials; the SPDX id of the components' licence")
    parser.add_argument("--max-rss-mib", type=int, default=400, metavar="N", help="memory that the agent may take with it (400)")
    parser.add_argument("--max-sentence-s", type=float, default=20.0, metavar="N", help="seconds that one incident may take (20)")
    parser.add_argument(
        "--chunk-kib", type=int, default=CHUNK_BYTES >> 10, metavar="N", help="a larger component is described in chunks (1024)"
    )
    parser.add_argument("--group-key", type=Path, metavar="FILE", help="seal the components with the key of a fleet group")
    options = parser.parse_args(argv)
    if options.max_rss_mib < 1 or not 0 < options.max_sentence_s < float("inf"):
        parser.error("--max-rss-mib and --max-sentence-s are above 0")
    if not MIN_CHUNK_KIB <= options.chunk_kib <= MAX_CHUNK_BYTES >> 10:
        parser.error(f"--chunk-kib is between {MIN_CHUNK_KIB} and {MAX_CHUNK_BYTES >> 10}")
    limits = Limits(max_rss_bytes=options.max_rss_mib << 20, max_sentence_s=options.max_sentence_s)
    try:
        key = None if options.group_key is None else read_group_key(options.group_key)
        recipe = Recipe(options.id, options.counter, options.minimum_agent, limits, options.chunk_kib << 10, key)
        build(options.folder, recipe, options.golden, options.bom)
    except EdgeAgentError as error:
        print(f"edge-ota build: {error}", file=sys.stderr)
        return 1
    print(f"{options.folder / MANIFEST_NAME}: release {options.id}, counter {options.counter}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
