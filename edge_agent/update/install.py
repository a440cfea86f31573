"""`python -m edge_agent.update.install`: the child process that builds a release's folder. One `InstallJob` in, `Installed` out.

Rules: the result is the last line of standard output, and with it the exit code is 0; 2 for a job that is none. numpy is
imported only where something has to be merged.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.update.jobs import Installed, InstallJob, Problem, Progress
from edge_agent.update.problems import TOLD, problem
from edge_agent.update.store import Store

MAX_JOB_BYTES = 1 << 20


def main() -> int:
    """Do the job that stands on standard input; the exit code."""
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(MAX_JOB_BYTES), type=InstallJob)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        print(f"not a job: {error}", file=sys.stderr)
        return 2
    _say(install(job))
    return 0


def install(job: InstallJob) -> Installed:
    """Build the folder of a release; what came of it. Raises nothing that the release or the disk are to blame for."""
    try:
        folder = Store(Path(job.store_folder)).install(job.manifest_sha256, job.min_free_bytes, _merge)
    except TOLD as error:
        return Installed(problem=problem(error, "install"))
    except MemoryError:
        # The limit stays the same, so another try would end the same way.
        return Installed(problem=Problem(kind="release", reason="memory", detail="merging takes more memory than there is"))
    return Installed(folder=str(folder))


def _merge(base: Path, adapter: Path, out: Path) -> None:
    from edge_agent.update.merging import merge  # numpy: 24 MB that most releases do not need

    _say(Progress(what="merging", done_bytes=0, total_bytes=0))
    merge(base, adapter, out)


def _say(line: Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
