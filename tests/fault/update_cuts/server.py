"""`python -m tests.fault.update_cuts.server`: runs a gateway in a process of its own, again and again, without starting Python.

A line with a `Job` on standard input begins a run. The process of the run writes `pid NUMBER`, waits for a line, works, and
writes a line for each thing that is done (`device`); when it has ended, or was killed, the server writes `ended STATUS`.
"""

from __future__ import annotations

import os
import sys
import traceback

import msgspec

from tests.fault.update_cuts.device import Job, run


def read_line() -> str:
    """A line of standard input, unbuffered: two processes take turns in reading it."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode()


def write_line(line: str) -> None:
    """A line in one call, so that a killed process leaves no half of one."""
    os.write(1, f"{line}\n".encode())


def main() -> int:
    """Serve until the input ends."""
    while line := read_line():
        pid = os.fork()
        if pid == 0:
            _child(msgspec.json.decode(line, type=Job))
        _, status = os.waitpid(pid, 0)
        write_line(f"ended {os.waitstatus_to_exitcode(status)}")
    return 0


def _child(job: Job) -> None:
    code = 1
    try:
        write_line(f"pid {os.getpid()}")
        read_line()
        if not job.syncs:
            os.fsync = lambda fd: None
        run(job, write_line)
        code = 0
    except BaseException:  # noqa: BLE001 - what went wrong is told, and the forked process ends here whatever it was
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
