"""A gateway's process under strace: which system calls it makes on its state folder, and its end at one of them.

Rules: a call is known by its name and its number among those of that name, which is how strace counts, so the same run must make
the same calls; only those that may change something below the folder are places to cut at. A process that is killed at a call
does not carry it out.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec
from msgspec import Struct

from tests.fault.power_cuts.trace import ROOT
from tests.fault.update_cuts.device import Job, Report, encoded

_CALLS = (
    "?open,openat,?openat2,?creat,write,pwrite64,writev,pwritev,?pwritev2,?ftruncate,?truncate,fallocate,fsync,fdatasync,"
    "?sync_file_range,sync,syncfs,?rename,?renameat,renameat2,?unlink,unlinkat,?rmdir,?link,linkat,?symlink,symlinkat,?mkdir,"
    "mkdirat,?mknod,mknodat,?chmod,fchmod,fchmodat,?chown,fchown,fchownat,?utimensat,setxattr,fsetxattr,copy_file_range,"
    "?sendfile,mmap"
)
"""With a question mark what some architectures do not have."""
_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += ")
_TOLD = re.compile(r'"(\w+) (\d+) ')
_ATTACHED = "attached"


class Place(Struct, frozen=True, kw_only=True):
    """A call to cut at."""

    call: str
    number: int
    """Among the calls of that name, from 1 on."""
    after: str = ""
    """The stage, and the tries left, that was told last before it."""


class Run(Struct, frozen=True, kw_only=True):
    """What came of a run."""

    killed: bool
    reports: list[Report]


class Server:
    """Runs gateways, each in a process of its own. Close it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.fault.update_cuts.server"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'ota'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def run(self, job: Job, kill_at: Place | None = None, log: Path | None = None) -> Run:
        """Run a gateway; end it at the call `kill_at`, or note its calls in `log`."""
        self._write(encoded(job))
        word, pid = self._read().split()
        assert word == "pid"
        if kill_at is None:
            tracing = ["-y", "-o", str(log or os.devnull), "-e", f"trace={_CALLS}"]
        else:
            inject = f"inject={kill_at.call}:signal=SIGKILL:when={kill_at.number}"
            tracing = ["-o", os.devnull, "-e", f"trace={kill_at.call}", "-e", inject]
        try:
            reports, code = self._traced(pid, tracing)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
            raise
        assert code in (0, -signal.SIGKILL), f"the gateway's process ended with {code}"
        return Run(killed=code != 0, reports=reports)

    def places(self, job: Job, log: Path) -> list[Place]:
        """Carry a job out; the calls that it made on its state folder."""
        assert not self.run(job, log=log).killed
        found, after, counts = [], "", Counter[str]()
        for match in filter(None, map(_LINE.match, log.read_text().splitlines())):
            call, arguments = match.groups()
            counts[call] += 1
            if told := call == "write" and arguments.startswith("1<") and _TOLD.search(arguments):
                after = f"{told[1]} {told[2]}"
            if job.state_dir in arguments and _may_change(call, arguments):
                found.append(Place(call=call, number=counts[call], after=after))
        return found

    def _traced(self, pid: str, tracing: Sequence[str]) -> tuple[list[Report], int]:
        """Let a gateway that waits work under strace; what it told, and its exit code."""
        with subprocess.Popen(["strace", "-f", "-p", pid, *tracing], stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            said = tracer.stderr.readline()
            assert _ATTACHED in said, f"strace: {said}"
            self._write("go")
            reports = []
            while (line := self._read()).split()[0] != "ended":
                reports.append(msgspec.json.decode(line.split(" ", 2)[2], type=Report))
            tracer.stderr.read()
        return reports, int(line.split()[1])

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server of gateways ended"
        return line


def _may_change(call: str, arguments: str) -> bool:
    """Whether a call that names the folder, or a file in it, may change something there."""
    if call.startswith("open"):
        return "O_CREAT" in arguments or "O_TRUNC" in arguments
    return call != "mmap" or ("MAP_SHARED" in arguments and "PROT_WRITE" in arguments)
