"""Metadata of random shapes, rightly signed: it is believed or refused with a reason, and leaves nothing that cannot be read."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical

from edge_agent.errors import EdgeAgentError
from tests.update.device import Device
from tests.update.simulator import Repository

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1 << 53, 1 << 70, "", "x", "2030-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "é" * 50, "../x",
    [], [[]], ["x"], [[["x"]]], {}, {"a": 1}, {"version": 1}, {"length": 1, "hashes": {}},
)  # fmt: skip
NAMES = ("", "root.json", "x", "a.json", "version", "_type", ".json", "targets.json", "group-a.json")
PATHS = {
    "root": "metadata/2.root.json",
    "timestamp": "metadata/timestamp.json",
    "snapshot": "metadata/1.snapshot.json",
    "targets": "metadata/1.targets.json",
    "group-a": "metadata/1.group-a.json",
}


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container below `tree` with each key or index in it."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from places(tree[key])


def spoil(signed: dict[str, Any], chance: random.Random) -> None:
    """Take something away, put something in, or exchange something."""
    container, key = chance.choice(list(places(signed)))
    kind = chance.random()
    if kind < 0.2:
        del container[key]
    elif kind < 0.35 and isinstance(container, dict):
        container[chance.choice(NAMES)] = copy.deepcopy(chance.choice(ODD))
    else:
        container[key] = copy.deepcopy(chance.choice(ODD))


@pytest.mark.parametrize("role", PATHS)
def test_signed_metadata_of_any_shape_is_taken_or_refused_with_a_reason(memory: Path, role: str) -> None:
    chance = random.Random(role)
    repository = Repository()
    start = json.loads(repository.factory_root if role == "root" else repository.files[PATHS[role]])
    for number in range(15):
        document = copy.deepcopy(start)
        document["signed"]["version"] = 2 if role == "root" else 1
        for _ in range(chance.randint(1, 2)):
            spoil(document["signed"], chance)
        payload = str(encode_canonical(document["signed"])).encode()
        document["signatures"] = [signer.sign(payload).to_dict() for signer in repository.signers[role]]
        device = Device(memory / str(number), repository.factory_root)
        device.trust.start()
        for files in ({**repository.files, PATHS[role]: json.dumps(document).encode()}, repository.files):
            with contextlib.suppress(EdgeAgentError):  # anything else is a failure
                device.look(files)
            assert device.trust.held() is not None
