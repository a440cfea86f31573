"""A child process that runs one of our modules on one job, watched by its owner and never waited for.

The module reads its job, one JSON object, from standard input to its end, writes JSON lines to standard output, `Progress` first,
and its result last, and ends with exit code 0. It is believed in nothing: how much it says, how long it takes, how long it is
silent and how much memory it has are bounded, and a child that breaks a bound is killed with every process of its group.

Rules:
* One owner, one thread: the child ends when the thread that started it does. `poll` must be called again and again, because
  only there are the pipes drained and the limits held.
* Nothing here waits for the child longer than the caller said; `stop` and `close` not longer than a second.
* A child that ended is reaped in the same call that sees it, after its group was killed: while the leader is not reaped, its
  number cannot be another's.
* The child has the caller's environment without Python's own variables and without what a service manager said to the caller
  alone; it finds our package where the caller found it, installed or in a checkout.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, TypeVar

import msgspec
from msgspec import Struct

import edge_agent
from edge_agent.clock import Clock
from edge_agent.errors import ChildFailedError, plain
from edge_agent.update import launcher
from edge_agent.update.jobs import Progress

_Result = TypeVar("_Result", bound=Struct)

STEP_S: Final = 0.1
"""The limits are looked at as often while a poll lasts."""
GRACE_S: Final = 0.5
"""How long a child that was asked to end may take; and how long it may take to vanish after it was killed."""
_READ_BYTES = 65_536
_TAIL_BYTES = 4_096
_SHOWN_LINES = 3
_MAX_COMPLAINT = 1_000
_MAX_LAST_READS = 64
"""More than a pipe holds: a descendant that got away from the group may write on for ever."""
_MAX_DESCENDANTS = 256
_DATA_SPARE_BYTES = 512 << 20
"""Memory may be reserved and never touched, such as the stacks of threads; what is touched is what is limited."""
_NO_RESULT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a line raises that is no result."""
_ALONE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "MAINPID")
"""What systemd says to the agent alone."""


class ChildLimits(Struct, frozen=True, kw_only=True):
    """What a child may take. `timeout_s`: from its start to its end; `silent_s`: from one line of output to the next."""

    timeout_s: float
    silent_s: float
    max_rss_bytes: int
    """Of the child and its descendants together, the interpreter included."""
    max_line_bytes: int = 4 << 20
    max_lines: int = 200_000
    nice: int = 10
    bounds_data: bool = True
    """Whether what it reserves is bounded beside what it uses (RLIMIT_DATA). CUDA may reserve far more than it ever uses."""


class Child:
    """One child process. Use it as a context manager, or call `close`."""

    def __init__(self, process: subprocess.Popen[bytes], module: str, job: bytes, limits: ChildLimits, clock: Clock) -> None:
        self._process = process
        self._module = module
        self._limits = limits
        self._clock = clock
        self._began_s = self._heard_s = clock.monotonic_s()
        self._output = _Lines(limits)
        self._complaint = bytearray()
        self._unsent = memoryview(job)
        self._failure: ChildFailedError | None = None
        self._ended = False
        self._closed = False
        self._measured_s = self._began_s - STEP_S
        self._peak_bytes = 0
        self._pipes = selectors.DefaultSelector()
        for pipe, events in (
            (_pipe(process.stdin), selectors.EVENT_WRITE),
            (_pipe(process.stdout), selectors.EVENT_READ),
            (_pipe(process.stderr), selectors.EVENT_READ),
        ):
            os.set_blocking(pipe.fileno(), False)
            self._pipes.register(pipe, events)

    @classmethod
    def start(cls, module: str, job: Struct, *, limits: ChildLimits, clock: Clock) -> Child:
        """Start `python -m module` and hand it `job`. Raises ChildFailedError (`killed`) where no process can be had."""
        asked = {
            "module": module,
            "parent": os.getpid(),
            "path": _search_path(),
            "nice": limits.nice,
            "data_bytes": limits.max_rss_bytes + _DATA_SPARE_BYTES if limits.bounds_data else 0,
        }
        try:
            process = subprocess.Popen(
                (sys.executable, "-I", launcher.__file__, json.dumps(asked)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=_environment(),
                process_group=0,
            )
        except OSError as error:
            raise ChildFailedError("killed", f"{module} could not be started: {error.strerror or error}") from error
        try:
            return cls(process, module, msgspec.json.encode(job), limits, clock)
        except OSError as error:  # no file descriptor is left
            process.kill()
            process.wait()
            raise ChildFailedError("killed", f"{module} could not be watched: {error.strerror or error}") from error

    @property
    def pid(self) -> int:
        """Number of the process, and of its group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the child is gone and reaped, as of the last poll."""
        return self._ended

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory that the child and its descendants were seen to have."""
        return self._peak_bytes

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Read what the child says and hold its limits, for `timeout_s` at most; True as soon as it is gone."""
        until_s = self._clock.monotonic_s() + timeout_s
        while not self._ended and not self._closed:
            left_s = until_s - self._clock.monotonic_s()
            self._exchange(max(0.0, min(STEP_S, left_s)))
            if self._gone():
                self._reap()
                break
            self._hold_limits()
            if left_s <= 0.0:
                break
        return self._ended

    def progress(self) -> Progress | None:
        """How far the child said last that it is; None where it said nothing of that kind."""
        return self._output.progress()

    def result(self, kind: type[_Result]) -> _Result:
        """What the child found. Raises ChildFailedError that says why there is nothing, or nothing that can be believed."""
        if self._failure is not None:
            raise self._failure
        if not self._ended:
            raise ChildFailedError("nonsense", f"{self._module} still runs: poll it until it has ended")
        code = self._process.returncode
        if code != 0:
            raise self._died(code)
        try:
            return self._output.result(kind)
        except ValueError as error:
            raise ChildFailedError("nonsense", plain(f"{self._module} {error}")) from error

    def stop(self) -> None:
        """Ask the child to end, then make it. Its result is then `stopped`, unless it had ended before."""
        if self._ended or self.poll():
            return
        self._fail("stopped", "was stopped", signal.SIGTERM)
        if not self.poll(GRACE_S):
            self._signal(signal.SIGKILL)
            self.poll(GRACE_S)

    def close(self) -> None:
        """Kill the child if it still runs, and let go of what it held. May be called again."""
        if not self._ended:
            if self._failure is None:
                self._fail("stopped", "was stopped", signal.SIGKILL)
            self._signal(signal.SIGKILL)
            self.poll(GRACE_S)
        self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _exchange(self, timeout_s: float) -> bool:
        """Move what the pipes hold, as much as one event each brings; whether there was any."""
        events = self._pipes.select(timeout_s)
        for key, _ in events:
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]  # only pipes are registered
            try:
                if pipe is self._process.stdin:
                    self._unsent = self._unsent[os.write(pipe.fileno(), self._unsent) :]
                    if self._unsent:
                        continue
                else:
                    data = os.read(pipe.fileno(), _READ_BYTES)
                    if data:
                        self._take(data, said=pipe is self._process.stdout)
                        continue
            except BlockingIOError:
                continue
            except BrokenPipeError:
                pass  # it wants no more of its job; what it makes of that is its result
            self._pipes.unregister(pipe)
            pipe.close()
        return bool(events)

    def _take(self, data: bytes, *, said: bool) -> None:
        if not said:
            self._complaint += data
            del self._complaint[:-_TAIL_BYTES]
            return
        if self._failure is not None:
            return  # only so that it does not wait for a reader
        if self._output.take(data):
            self._heard_s = self._clock.monotonic_s()
        if self._output.why_not:
            self._fail("nonsense", self._output.why_not)

    def _hold_limits(self) -> None:
        if self._failure is not None:
            return
        limits, now_s = self._limits, self._clock.monotonic_s()
        taken = 0
        if now_s - self._measured_s >= STEP_S:  # a child that says much is read more often
            self._measured_s = now_s
            taken = _memory_of(self.pid)
            self._peak_bytes = max(self._peak_bytes, taken)
        if taken > limits.max_rss_bytes:
            self._fail("memory", f"took {taken >> 20} MiB of memory, at most {limits.max_rss_bytes >> 20} MiB are allowed")
        elif now_s - self._began_s > limits.timeout_s:
            self._fail("timeout", f"was not done after {limits.timeout_s:g} s")
        elif now_s - self._heard_s > limits.silent_s:
            self._fail("timeout", f"said nothing for {limits.silent_s:g} s")

    def _fail(self, reason: str, why: str, how: signal.Signals = signal.SIGKILL) -> None:
        if self._failure is None:
            self._failure = ChildFailedError(reason, f"{self._module} {why}")
        self._signal(how)

    def _signal(self, how: signal.Signals) -> None:
        """To the whole group, whose number is the leader's as long as the leader is not reaped."""
        if not self._ended:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, how)

    def _gone(self) -> bool:
        """Whether the leader has ended; it stays unreaped."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # somebody else reaped it; what it said still counts

    def _reap(self) -> None:
        self._signal(signal.SIGKILL)
        for _ in range(_MAX_LAST_READS):
            if not self._exchange(0.0):
                break
        self._process.wait()
        self._ended = True
        self._let_go()

    def _died(self, code: int) -> ChildFailedError:
        lines = self._complaint.decode("utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()][-_SHOWN_LINES:]
        how = f"was ended by {_name_of(-code)}" if code < 0 else f"ended with exit code {code}"
        if code == -signal.SIGKILL:
            how += ", which was not ours: the system may have run out of memory"
        detail = plain(f"{self._module} {how}" + (f": {' | '.join(said)}" if said else ""), _MAX_COMPLAINT)
        if code == -signal.SIGKILL:
            return ChildFailedError("taken", detail)
        return ChildFailedError("memory" if said and said[-1].startswith("MemoryError") else "killed", detail)

    def _let_go(self) -> None:
        self._closed = True
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._pipes.close()


class _Lines:
    """The lines that a child says, of which the last two are kept."""

    def __init__(self, limits: ChildLimits) -> None:
        self.why_not = ""
        """Why it is believed no more, in words; empty while it is."""
        self._limits = limits
        self._part = bytearray()
        self._count = 0
        self._last = b""
        self._before = b""

    def take(self, data: bytes) -> int:
        """Take in some output; how many lines it ended."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._part += line
            self._take_line(bytes(self._part))
            self._part.clear()
        self._part += rest
        if len(self._part) > self._limits.max_line_bytes:
            self.why_not = f"said a line of more than {self._limits.max_line_bytes} bytes"
        if self.why_not:
            self._part.clear()
        return len(whole)

    def _take_line(self, line: bytes) -> None:
        self._count += 1
        if self._count > self._limits.max_lines:
            self.why_not = f"said more than {self._limits.max_lines} lines"
        elif len(line) > self._limits.max_line_bytes:
            self.why_not = f"said a line of more than {self._limits.max_line_bytes} bytes"
        else:
            self._before, self._last = self._last, line

    def progress(self) -> Progress | None:
        """The last line that is one: the last of all, or the one before it where that is the result."""
        for line in (self._last, self._before):
            with suppress(*_NO_RESULT):
                return msgspec.json.decode(line, type=Progress)
        return None

    def result(self, kind: type[_Result]) -> _Result:
        """The last line. Raises ValueError that says what is wrong with it."""
        if self._part:
            raise ValueError("did not end its last line")
        if not self._last:
            raise ValueError("said nothing")
        try:
            fields = msgspec.json.decode(self._last, type=dict[str, msgspec.Raw])
            result = msgspec.json.decode(self._last, type=kind)
        except _NO_RESULT as error:
            raise ValueError(f"did not end with a result: {error}") from error
        if foreign := fields.keys() - set(kind.__struct_encode_fields__):
            raise ValueError(f"did not end with a result: {min(foreign)!r} is no part of one")
        return result


def _search_path() -> list[str]:
    """Where the child looks for modules: where we do, and first of all where we were found."""
    ours = str(Path(edge_agent.__file__).resolve().parents[1])
    found = [os.path.abspath(place) for place in sys.path if place]
    return found if ours in found else [ours, *found]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name not in _ALONE}


def _memory_of(pid: int) -> int:
    """Bytes of memory that a process ever had at once, and those that its descendants have now; 0 where it is gone."""
    total = _status_bytes(pid, b"VmHWM:")
    found = _children_of(pid)
    for _ in range(_MAX_DESCENDANTS):
        if not found:
            break
        one = found.pop()
        total += _status_bytes(one, b"VmRSS:")
        found += _children_of(one)
    return total


def _status_bytes(pid: int, key: bytes) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0
    _, found, rest = status.partition(b"\n" + key)
    return int(rest.split(maxsplit=1)[0]) << 10 if found else 0


def _children_of(pid: int) -> list[int]:
    """Of all of its threads; none where the kernel does not tell."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        return [int(one) for thread in threads for one in Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split()]
    except OSError:
        return []


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the child was started without its pipes")
    return pipe
