"""The bill of materials of a release: CycloneDX 1.6, JSON, with one component a file.

Rules: pure and deterministic: no time and no random serial number, so that the same release has the same bill. The bill cannot
hold its own digest, nor the manifest's, which is made of it; the manifest holds the bill's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge_agent.release.manifest import Component

BOM_NAME = "bom.json"
_MODELS = {"writer/model.bin": "text generation", "classifier.tflite": "time-series classification"}
"""The components that are models, and their task."""


def bill(release_id: str, counter: int, components: Mapping[str, Component], licence: str) -> bytes:
    """The bytes of `bom.json` for the components of a release. `licence` is an SPDX id or expression that holds for all."""
    listed = [_component(name, part, licence) for name, part in sorted(components.items()) if name != BOM_NAME]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": release_id, "version": str(counter), "bom-ref": f"release:{release_id}"}
        },
        "components": listed,
    }
    return json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"


def _component(name: str, part: Component, licence: str) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "machine-learning-model" if name in _MODELS else "file",
        "bom-ref": name,
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": part.sha256}],
        "licenses": [{"expression": licence}],
        "properties": [{"name": "edge-agent:size_bytes", "value": str(part.size_bytes)}],
    }
    if name in _MODELS:
        component["modelCard"] = {"modelParameters": {"task": _MODELS[name]}}
    return component
