"""`python -m edge_agent.update.fetch`: the child process that brings the blobs of a release into the store.

One `FetchJob` comes in; `Progress` goes out while bytes come, and `Fetched` as the last line, and with it the exit code is 0; 2
for a job that is none. SIGTERM ends it early, between two writes; a kill at any moment costs one chunk at most, and what the
system holds of an answer that nobody read yet.

Rules:
* A chunk is verified before it is written (`part`). One that is not what the manifest says is asked for once more, from its
  beginning; then the place is left.
* Space is looked at before anything is fetched, for all of it, and for what will be merged of it.
* Every byte that comes over the way counts against `max_bytes`, also those that are thrown away. A chunk that does not fit any
  more is not begun; only heads of answers may go beyond.
* What came of a chunk is kept in memory where the way breaks off, and the rest is asked for, a few times. The time for a chunk
  is one for all of that. A chunk larger than `PIECE_BYTES` is fetched in pieces, and each of them has that time.
* tuf is not imported: what this process is told to fetch was verified before, and is verified again by digest alone.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import msgspec
from msgspec import Struct

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import LinkError, RepositoryRefusedError
from edge_agent.release.manifest import CHUNK_BYTES, Stored
from edge_agent.update.exchange import Meter
from edge_agent.update.jobs import Fetched, FetchJob, Problem, Progress
from edge_agent.update.part import Part
from edge_agent.update.places import Opened, opened
from edge_agent.update.problems import TOLD, problem
from edge_agent.update.store import Store
from edge_agent.wire import Deadline

MAX_JOB_BYTES = 1 << 20
PIECE_BYTES = CHUNK_BYTES
SPARE_BYTES = 1 << 20
"""Of heads of answers and of a bundle, beyond the bytes that may be fetched."""
TELL_S = 0.25
PAUSE_S = 2.0
TRIES = 5
"""How often the rest of a chunk is asked for in a row without a byte coming."""

Say = Callable[[Struct], None]


class StoppedError(BaseException):
    """Somebody wants this process to end. No part of the agent's tree of errors: nothing but the end may catch it."""


class Stop:
    """The handler of SIGTERM. It interrupts whatever waits, but not what writes."""

    def __init__(self) -> None:
        self._is_asked = False
        self._held_off = False

    def asked(self, number: int, frame: FrameType | None) -> None:
        """See `signal.signal`."""
        self._is_asked = True
        if not self._held_off:
            raise StoppedError

    @contextlib.contextmanager
    def held_off(self) -> Iterator[None]:
        """Not while this lasts, but then."""
        self._held_off = True
        try:
            yield
        finally:
            self._held_off = False
        if self._is_asked:
            raise StoppedError


class _SpentError(Exception):
    """The next chunk would not fit into what may be fetched now. Its text says so to people."""


def main() -> int:
    """Do the job that stands on standard input; the exit code."""
    stop = Stop()
    try:
        signal.signal(signal.SIGTERM, stop.asked)
        job = msgspec.json.decode(sys.stdin.buffer.read(MAX_JOB_BYTES), type=FetchJob)
        fetched = fetch(job, SystemClock(), _say, stop)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        print(f"not a job: {error}", file=sys.stderr)
        return 2
    except StoppedError:
        return 1  # before there was anything to tell, or after
    _say(fetched)
    return 0


def fetch(job: FetchJob, clock: Clock, say: Say, stop: Stop, pause_s: float = PAUSE_S) -> Fetched:
    """Bring what is missing; what came of it. Raises nothing that the place, the release or the disk are to blame for."""
    meter = Meter(job.max_bytes + SPARE_BYTES)
    try:
        _Fetching(job, clock, meter, say, stop, pause_s).run()
    except _SpentError as error:
        return Fetched(fetched_bytes=meter.received_bytes, complete=False, problem=_spent(error))
    except TOLD as error:
        why = _spent(error) if meter.is_full else problem(error, "fetch")
        return Fetched(fetched_bytes=meter.received_bytes, complete=False, problem=why)
    except StoppedError:
        stopped = Problem(kind="link", reason="stopped", detail="was asked to end; what came is kept")
        return Fetched(fetched_bytes=meter.received_bytes, complete=False, problem=stopped)
    return Fetched(fetched_bytes=meter.received_bytes, complete=True)


class _Blob(Struct, frozen=True):
    """One blob under way."""

    place: Opened
    path: str
    """Of the component that it is, for people."""
    stored: Stored
    part: Part

    @property
    def name(self) -> str:
        """In a repository."""
        return f"targets/blobs/{self.stored.sha256}.{self.stored.sha256}"


class _Fetching:
    """One fetch under way."""

    def __init__(self, job: FetchJob, clock: Clock, meter: Meter, say: Say, stop: Stop, pause_s: float) -> None:
        self._job = job
        self._clock = clock
        self._meter = meter
        self._say = say
        self._stop = stop
        self._pause_s = pause_s
        self._done_bytes = 0
        self._total_bytes = 0
        self._told_s = clock.monotonic_s() - TELL_S

    def run(self) -> None:
        """Bring all blobs that are missing."""
        store = Store(Path(self._job.store_folder))
        with self._stop.held_off():
            store.prepare()
        manifest = store.manifest(self._job.manifest_sha256)
        # A blob that another release left here may have rotted since; this one would be blamed for it.
        damaged = store.verify(self._job.manifest_sha256)
        with self._stop.held_off():
            store.discard(damaged)
        missing = store.missing(manifest)
        # A release that is whole and cannot be merged for want of room would bar any other from coming in.
        if needed_bytes := store.missing_bytes(manifest) + store.unmerged_bytes(manifest):
            store.room_for(needed_bytes, self._job.min_free_bytes)
        if not missing:
            return
        self._total_bytes = sum(stored.size_bytes for _, stored in missing)
        with opened(self._job.place, self._clock, self._meter, self._job.timeout_s) as place:
            for path, stored in missing:
                with store.part(stored) as part:
                    self._bring(_Blob(place, path, stored, part))
                self._tell(path, at_once=True)

    def _bring(self, blob: _Blob) -> None:
        before = self._done_bytes
        blob.part.resume()
        while blob.part.chunks < len(blob.stored.chunks):
            self._done_bytes = before + blob.part.size_bytes
            self._chunk(blob)
        with self._stop.held_off():
            blob.part.finish()
        self._done_bytes = before + blob.stored.size_bytes

    def _chunk(self, blob: _Blob) -> None:
        """Bring the next chunk. Raises RepositoryRefusedError (`chunk`) where the place has other bytes."""
        try:
            self._try(blob)
        except RepositoryRefusedError:
            try:
                self._try(blob)
            except RepositoryRefusedError as error:
                where = f"{blob.path}: at {blob.part.size_bytes}, twice"
                raise RepositoryRefusedError("chunk", f"{where}: {error.detail}") from error

    def _try(self, blob: _Blob) -> None:
        """Ask for the next chunk once, and write it. Raises RepositoryRefusedError where it is another, LinkError."""
        length = min(blob.stored.chunk_bytes, blob.stored.size_bytes - blob.part.size_bytes)
        came = self._meter.received_bytes
        if came + length > self._job.max_bytes:
            raise _SpentError(f"{blob.path}: {length} more would be fetched; {self._job.max_bytes} may be now, and {came} were")
        until = min(blob.stored.size_bytes, blob.part.size_bytes + self._job.max_bytes - came)
        chunk: bytes | bytearray = b""
        while len(chunk) < length:
            chunk = self._piece(blob, chunk, min(PIECE_BYTES, length - len(chunk)), until)
        with self._stop.held_off():
            blob.part.append(chunk)

    def _piece(self, blob: _Blob, chunk: bytes | bytearray, wanted: int, until: int) -> bytes | bytearray:
        """The chunk as far as it is there, with `wanted` bytes more; up to `until` may be asked for. Raises LinkError."""
        deadline = Deadline(self._clock, self._job.timeout_s)
        offset, end, tries = blob.part.size_bytes, len(chunk) + wanted, 0
        while len(chunk) < end:
            try:
                more = blob.place.piece(blob.name, offset + len(chunk), end - len(chunk), deadline.left_s(), until)
            except TimeoutError as error:
                raise LinkError(f"{blob.path}: {wanted} bytes took longer than {self._job.timeout_s:g} s") from error
            except LinkError:
                tries += 1
                if not chunk or tries == TRIES or self._meter.is_full:
                    raise
                time.sleep(self._pause_s)
            else:
                # A chunk that comes in one piece, the usual case, is not copied.
                chunk = _longer(chunk, more) if chunk else more
                tries = 0
                self._tell(blob.path)
        return chunk

    def _tell(self, path: str, *, at_once: bool = False) -> None:
        """Say how far this is, unless that was said just now."""
        now_s = self._clock.monotonic_s()
        if at_once or now_s - self._told_s >= TELL_S:
            self._told_s = now_s
            self._say(Progress(what=path, done_bytes=self._done_bytes, total_bytes=self._total_bytes))


def _longer(chunk: bytes | bytearray, more: bytes) -> bytearray:
    longer = chunk if isinstance(chunk, bytearray) else bytearray(chunk)
    longer += more
    return longer


def _spent(error: Exception) -> Problem:
    return Problem(kind="budget", reason="bytes", detail=str(error))


def _say(line: Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
