"""Releases made from the factory's by changing some of its files: signed and whole, as far as digests tell, and bad."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from edge_agent.engines.loading import FACTORY, OpenRelease, machine_of, open_release
from edge_agent.messages import incident_document
from edge_agent.pipeline import Writer, explain
from edge_agent.release.manifest import MANIFEST_NAME, Limits, describe, encode_manifest, parse_manifest
from edge_agent.values import Incident

GOLDEN = "golden.json"
CERTIFICATE = "certificate.json"


def read(name: str) -> bytes:
    """A file of the factory release."""
    return (FACTORY / name).read_bytes()


def release_of(
    folder: Path, changes: Mapping[str, bytes], *, certified: bool = False, limits: Limits | None = None, golden: bool = False
) -> Path:
    """Write the factory release with `changes` to `folder`; its manifest has the digests of what stands there.

    Without its certificate unless `certified`, because that one speaks of the files as they were.
    """
    manifest = parse_manifest(read(MANIFEST_NAME), "factory")
    files = {name: read(name) for name in manifest.components if certified or name != CERTIFICATE} | dict(changes)
    components = describe(files)
    checks = replace(
        manifest.checks,
        tokenizer_sha256=components["tokenizer.json"].sha256,
        classifier_sha256=components["classifier.tflite"].sha256,
    )
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    changed = replace(
        manifest,
        id="altered",
        components=components,
        checks=checks,
        limits=limits or manifest.limits,
        certificate=CERTIFICATE if certified else None,
        golden=GOLDEN if golden else None,
    )
    (folder / MANIFEST_NAME).write_bytes(encode_manifest(changed))
    return folder


def golden_of(incidents: tuple[Incident, ...], here: bool = True, release: OpenRelease | None = None) -> dict[str, Any]:
    """The golden cases that a release, the factory's without its certificate if none is given, writes of `incidents`.

    `here`: as written on this machine; else on one of another kind.
    """
    opened = open_release() if release is None else release
    writer: Writer = opened.open_writer()
    speaking = opened.speaking
    cases = []
    for incident in incidents:
        summary = explain(incident, None, writer, speaking, 0.0)
        cases.append({"incident": incident_document(incident), "text": summary.text, "route": summary.route})
    machine = machine_of()[0]
    runtime = machine.runtime if here else "another 1.0"
    return {
        "format": "edge-agent-golden/1",
        "machine": {"instruction_set": machine.instruction_set, "runtime": runtime},
        "cases": cases,
    }


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


def swapped(pieces: Mapping[str, str]) -> bytes:
    """The writer's vocabulary with pieces in each other's place: it then says one where it means the other."""
    both = {**pieces, **{there: here for here, there in pieces.items()}}
    return as_json([both.get(piece, piece) for piece in json.loads(read("writer/vocabulary.json"))])


def damaged_weights() -> bytes:
    """Weights of which the largest matrices are turned around: they load, and say something else."""
    model = bytearray(read("writer/model.bin"))
    names = [found.start() for found in re.finditer(rb"decoder/", model)]
    for begin, end in pairwise([*names, len(model)]):
        if end - begin > 40_000:
            model[begin + 100 : end - 100] = model[begin + 100 : end - 100][::-1]
    return bytes(model)


def damaged_classifier() -> bytes:
    """A model whose first offset leads out of it: neither runtime looks before it follows one."""
    return (0x7FFF_FF00).to_bytes(4, "little") + read("classifier.tflite")[4:]
