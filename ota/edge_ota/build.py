"""Writes the manifest of a release folder: what its components are and what they were made to go with.

    edge-ota build FOLDER --id ID --counter N [--minimum-agent X.Y.Z] [--golden INCIDENTS.jsonl] [--bom LICENCE]

Rules: no file may be of a format that runs code when it is loaded (`contents`); every file below the folder becomes a component,
except the manifest; the manifest is written last and atomically; what was written is parsed by the device's own code first. A
`certificate.json` in the folder becomes the release's certificate; it must be of this writer, tokenizer, lexicon and rule. With
`--golden` the release writes its golden cases, with `--bom` its bill of materials is made; each is a component like another.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_agent.atomic import write_atomic
from edge_agent.engines.writer import COMPUTE_TYPE
from edge_agent.errors import ReleaseError, StorageError
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
from edge_ota.bom import BOM_NAME, bill
from edge_ota.contents import refuse_contents
from edge_ota.golden import GOLDEN_NAME, golden_cases

DEFAULT_LIMITS = Limits(max_rss_bytes=400 << 20, max_sentence_s=20.0)


def build_manifest(folder: Path, release_id: str, counter: int, minimum_agent: str) -> Manifest:
    """Describe a folder's files. Raises ReleaseError if a required component is missing or the certificate is of another."""
    files = _files(folder)
    missing = [name for name in REQUIRED if name not in files]
    if missing:
        raise ReleaseError(f"{folder}: lacks {', '.join(missing)}: train them first")
    for name, data in files.items():
        refuse_contents(name, data)
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


def _files(folder: Path) -> dict[str, bytes]:
    """What a release of this folder is made of, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_NAME
    }


def _check_certificate(data: bytes, manifest: Manifest, folder: Path) -> None:
    """Raises ReleaseError unless the certificate is of these components, whatever machine it was measured on."""
    certificate = parse_certificate(data, str(folder / CERTIFICATE_NAME))
    speaker = speaker_of(manifest, COMPUTE_TYPE, PROMPT_VERSION, VERIFIER_VERSION)
    if not certificate.measured or certificate.speaker != speaker:
        why = (
            differs(certificate, Key(speaker, certificate.measured[0].machine)) if certificate.measured else "it measured nothing"
        )
        raise ReleaseError(f"{folder / CERTIFICATE_NAME}: {why.removesuffix(f'; {STILL}')}: measure again or remove it")


def _build(options: argparse.Namespace) -> None:
    """Write the manifest and what is asked for; in between the folder is a whole release, without what is yet to come."""
    folder: Path = options.folder
    if options.golden is not None:
        (folder / GOLDEN_NAME).unlink(missing_ok=True)
        (folder / BOM_NAME).unlink(missing_ok=True)
        _write_manifest(options)
        write_atomic(folder / GOLDEN_NAME, golden_cases(folder, options.golden), mode=0o644)
    if options.bom is not None:
        write_atomic(folder / BOM_NAME, bill(options.id, options.counter, _files(folder), options.bom), mode=0o644)
    _write_manifest(options)


def _write_manifest(options: argparse.Namespace) -> None:
    data = encode_manifest(build_manifest(options.folder, options.id, options.counter, options.minimum_agent))
    parse_manifest(data, MANIFEST_NAME)
    write_atomic(options.folder / MANIFEST_NAME, data, mode=0o644)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 1 if the folder is not a whole release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--id", required=True)
    parser.add_argument("--counter", type=int, required=True)
    parser.add_argument("--minimum-agent", default="0.1.0")
    parser.add_argument("--golden", type=Path, metavar="INCIDENTS.jsonl", help="incidents to write golden cases of, one a line")
    parser.add_argument("--bom", metavar="LICENCE", help="make the bill of materials; the SPDX id of the components' licence")
    options = parser.parse_args(argv)
    try:
        _build(options)
    except (ReleaseError, StorageError) as error:
        print(f"edge-ota build: {error}", file=sys.stderr)
        return 1
    print(f"{options.folder / MANIFEST_NAME}: release {options.id}, counter {options.counter}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
