"""Writes the manifest of a release folder: what its components are and what they were made to go with.

    python -m edge_ota.build FOLDER --id ID --counter N [--minimum-agent X.Y.Z]

Rules: every file below the folder becomes a component, except the manifest; the manifest is written last and atomically;
what was written is parsed again by the device's own code before the command reports success. A `certificate.json` in the
folder becomes the release's certificate; it must be of this writer, tokenizer, lexicon and rule.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_agent.atomic import write_atomic
from edge_agent.engines.writer import COMPUTE_TYPE
from edge_agent.errors import ReleaseError
from edge_agent.prompt import PROMPT_VERSION
from edge_agent.release.certificate import CERTIFICATE_NAME, STILL, Key, differs, parse_certificate, speaker_of
from edge_agent.release.manifest import (
    FORMAT,
    MANIFEST_NAME,
    REQUIRED,
    Checks,
    Limits,
    Manifest,
    describe,
    encode_manifest,
    parse_manifest,
)
from edge_agent.verify import VERIFIER_VERSION

DEFAULT_LIMITS = Limits(max_rss_bytes=400 << 20, max_sentence_s=20.0)


def build_manifest(folder: Path, release_id: str, counter: int, minimum_agent: str) -> Manifest:
    """Describe a folder's files. Raises ReleaseError if a required component is missing or the certificate is of another."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_NAME
    }
    missing = [name for name in REQUIRED if name not in files]
    if missing:
        raise ReleaseError(f"{folder}: lacks {', '.join(missing)}: train them first")
    components = describe(files)
    manifest = Manifest(
        format=FORMAT,
        id=release_id,
        counter=counter,
        minimum_agent=minimum_agent,
        components=components,
        checks=Checks(
            prompt_version=PROMPT_VERSION,
            verifier_version=VERIFIER_VERSION,
            tokenizer_sha256=components["tokenizer.json"].sha256,
            classifier_sha256=components["classifier.tflite"].sha256,
        ),
        limits=DEFAULT_LIMITS,
        certificate=CERTIFICATE_NAME if CERTIFICATE_NAME in files else None,
    )
    if manifest.certificate is not None:
        _check_certificate(files[CERTIFICATE_NAME], manifest, folder)
    return manifest


def _check_certificate(data: bytes, manifest: Manifest, folder: Path) -> None:
    """Raises ReleaseError unless the certificate is of these components, whatever machine it was measured on."""
    certificate = parse_certificate(data, str(folder / CERTIFICATE_NAME))
    speaker = speaker_of(manifest, COMPUTE_TYPE, PROMPT_VERSION, VERIFIER_VERSION)
    if not certificate.measured or certificate.speaker != speaker:
        why = (
            differs(certificate, Key(speaker, certificate.measured[0].machine)) if certificate.measured else "it measured nothing"
        )
        raise ReleaseError(f"{folder / CERTIFICATE_NAME}: {why.removesuffix(f'; {STILL}')}: measure again or remove it")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 1 if the folder is not a whole release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--id", required=True)
    parser.add_argument("--counter", type=int, required=True)
    parser.add_argument("--minimum-agent", default="0.1.0")
    options = parser.parse_args(argv)
    try:
        data = encode_manifest(build_manifest(options.folder, options.id, options.counter, options.minimum_agent))
        parse_manifest(data, MANIFEST_NAME)
    except ReleaseError as error:
        print(f"edge-ota build: {error}", file=sys.stderr)
        return 1
    write_atomic(options.folder / MANIFEST_NAME, data, mode=0o644)
    print(f"{options.folder / MANIFEST_NAME}: release {options.id}, counter {options.counter}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
