"""An agent in which one release misbehaves as `EDGE_AGENT_TEST_DEED` says, and not before it speaks: its probe found it good.

It runs as `python -m tests.system.spoilt_agent run --config FILE`. The releases whose names begin with `EDGE_AGENT_TEST_RELEASE`
get a writer that misbehaves; a fault that needs a person's patience to wait for shows at once. `EDGE_AGENT_TEST_FACTORY` names
another folder than the package's for the release inside it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from edge_agent.config.load import load
from edge_agent.engines.loading import FACTORY, OpenRelease
from edge_agent.engines.writer import CTranslate2Writer
from edge_agent.errors import EngineError
from edge_agent.service import run
from edge_agent.values import Draft, Prompt
from edge_agent.workers.explain import ExplainWorker

ENTRY = ("-m", "tests.system.spoilt_agent")
"""For `tests.agent.AgentProcess`."""
DEED, RELEASE, FACTORY_FOLDER = "EDGE_AGENT_TEST_DEED", "EDGE_AGENT_TEST_RELEASE", "EDGE_AGENT_TEST_FACTORY"
HANGS_AFTER_S = 4.0
"""How long a step of the explain worker may take here; two minutes are the product's."""
LEAK_BYTES = 160 << 20


class Spoilt(CTranslate2Writer):
    """The release's own writer, and what it does besides."""

    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        """See `pipeline.Writer`."""
        deed = os.environ[DEED]
        if deed == "crashes":
            ctypes.string_at(0)
        elif deed == "hangs":
            time.sleep(3_600)
        elif deed == "fails":
            raise EngineError("the runtime says no")
        elif deed == "leaks":
            _held.append(b"leak" * (LEAK_BYTES // 4))
        drafts = super().write(prompts)
        return [replace(draft, skeleton="") for draft in drafts] if deed == "says-nothing" else drafts


_held: list[bytes] = []
_open = OpenRelease.open_writer


def _opened(release: OpenRelease, device: str = "cpu") -> CTranslate2Writer:
    writer = _open(release, device)
    if os.environ.get(DEED) and release.manifest.id.startswith(os.environ[RELEASE]):
        writer.__class__ = Spoilt
    return writer


def main() -> int:
    """Run until a signal ends it; `sys.argv` is `run --config FILE`."""
    setattr(OpenRelease, "open_writer", _opened)  # noqa: B010 - mypy holds a plain assignment to a method for a mistake
    ExplainWorker.max_step_s = HANGS_AFTER_S
    config = Path(sys.argv[3])
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return run(load(config), config, os.environ, Path(os.environ.get(FACTORY_FOLDER, FACTORY)))


if __name__ == "__main__":
    sys.exit(main())
