"""`python -m edge_agent.probe`: one `ProbeJob` on standard input, lines of progress, then one `Probed`.

Rules: what native libraries print does not mix with what is said: it goes to standard error, whatever they print it to.
"""

from __future__ import annotations

import os
import sys

import msgspec

from edge_agent.probe.trial import probe
from edge_agent.update.jobs import ProbeJob, Progress


def main() -> None:
    """Try one release and say what came of it."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=ProbeJob)
    with os.fdopen(os.dup(1), "wb", buffering=0) as output:
        os.dup2(2, 1)

        def tell(what: str) -> None:
            output.write(msgspec.json.encode(Progress(what=what, done_bytes=0, total_bytes=0)) + b"\n")

        output.write(msgspec.json.encode(probe(job, tell)) + b"\n")


if __name__ == "__main__":
    main()
