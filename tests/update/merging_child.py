"""Merges in a process of its own and says what came out: `python -m tests.update.merging_child BASE ADAPTER OUT`.

Prints one JSON object: the digest of the output or why there is none, and by how many bytes memory grew at its highest.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

from edge_agent.errors import ReleaseError
from edge_agent.update.merging import merge


def _highest_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) << 10 if found else 0


def main() -> None:
    base, adapter, out = map(Path, sys.argv[1:4])
    before, said = _highest_bytes(), {}
    try:
        merge(base, adapter, out)
    except ReleaseError as error:
        said["refused"] = str(error)
    grown = _highest_bytes() - before
    if out.exists():
        said["sha256"] = hashlib.sha256(out.read_bytes()).hexdigest()
    print(json.dumps({**said, "grown_bytes": grown}))


if __name__ == "__main__":
    main()
