"""Golden cases of a release: incidents and the text that the release wrote of each, where it was built.

A device that tries the release before it uses it can write the same incidents and compare. The file `golden.json` is a component.
It says what machine the texts were written on, because the arithmetic of INT8 differs between instruction sets.

Rules: the text is the release's own, written with the device's engines and without memory, in UTC; a case that only the template
speaks for is kept, because that, too, is how the release behaves. Deterministic for one kind of processor.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from edge_agent.engines.loading import machine_of, open_release
from edge_agent.errors import IncidentFormatError, ReleaseError
from edge_agent.messages import parse_incident
from edge_agent.pipeline import explain

GOLDEN_NAME = "golden.json"
GOLDEN_FORMAT = "edge-agent-golden/1"
MAX_GOLDEN_BYTES = 16 << 20


def golden_cases(folder: Path, incidents: Path) -> bytes:
    """The bytes of `golden.json`: one case for each line of `incidents`, which are documents of `incident/<id>`.

    `folder` is a whole release with its manifest. Raises ReleaseError.
    """
    opened = open_release(folder)
    writer = opened.open_writer()
    cases = []
    try:
        lines = incidents.read_bytes().split(b"\n")
    except OSError as error:
        raise ReleaseError(f"{incidents}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            incident = parse_incident(line, f"{incidents}:{number}")
        except IncidentFormatError as error:
            raise ReleaseError(f"{incidents}:{number}: {error}") from error
        summary = explain(incident, None, writer, opened.speaking, 0.0)
        cases.append({"incident": json.loads(line), "text": summary.text, "route": summary.route})
    if not cases:
        raise ReleaseError(f"{incidents}: holds no incident: give one JSON document a line")
    document = {"format": GOLDEN_FORMAT, "machine": msgspec.to_builtins(machine_of()[0]), "cases": cases}
    data = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"
    if len(data) > MAX_GOLDEN_BYTES:
        raise ReleaseError(
            f"{incidents}: makes golden cases of {len(data)} bytes; a gateway reads {MAX_GOLDEN_BYTES}: give fewer"
        )
    return data
