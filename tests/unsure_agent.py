"""An agent whose writer is never sure enough: every incident is told by the template and escalated.

It runs as `python -m tests.unsure_agent run --config FILE`, the factory release beside its threshold: that is set to 1 in a
copy, which a score never reaches.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edge_agent.config.load import load
from edge_agent.engines.loading import FACTORY
from edge_agent.release.manifest import MANIFEST_NAME, describe, encode_manifest, parse_manifest
from edge_agent.service import run

ENTRY = ("-m", "tests.unsure_agent")
"""For `tests.agent.AgentProcess`."""
FAST = {"backoff_min_s": 0.05, "backoff_max_s": 0.2, "breaker_pause_s": 0.2, "critical_severity": 0.0}
"""Settings of its escalation under which nothing waits for long."""


def unsure_release(folder: Path) -> Path:
    """The factory release with a threshold of 1 and no certificate, in `folder`, which must not exist."""
    shutil.copytree(FACTORY, folder)
    manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes(), MANIFEST_NAME)
    rule = msgspec.json.decode((folder / "confidence.json").read_bytes())
    (folder / "confidence.json").write_bytes(msgspec.json.encode({**rule, "threshold": 1.0}))
    kept = {name: (folder / name).read_bytes() for name in manifest.components if name != manifest.certificate}
    unsure = replace(manifest, id="unsure-1", components=describe(kept), certificate=None)
    (folder / MANIFEST_NAME).write_bytes(encode_manifest(unsure))
    return folder


def main() -> int:
    """Run until a signal ends it; `sys.argv` is `run --config FILE`."""
    config = Path(sys.argv[3])
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with tempfile.TemporaryDirectory() as folder:
        return run(load(config), config, os.environ, unsure_release(Path(folder) / "release"))


if __name__ == "__main__":
    sys.exit(main())
