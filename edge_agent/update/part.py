"""One blob on its way into the store: whole verified chunks in a file, resumable after weeks and power cuts.

Rules:
* A chunk is verified before it is written. What stands in the file is believed again only after it was hashed again, from
  the start, chunk by chunk; whatever comes after the last good one is cut off.
* Chunks are synced when one second or 16 MiB passed since the last time: a slow link loses less than a chunk to a power cut,
  a fast one does not wait for the disk after each.
* A sync that failed may have dropped what it was to write, while reads still show it. So what was not synced before is cut
  off then, and fetched again.
* Space is not set aside beforehand: where a file system cannot do that, the C library writes a byte to every block instead,
  which wears flash twice. All bytes are written, none is skipped over, so that what stands there really has its space.
* The digest of the whole is taken while the chunks pass by, by a thread beside the one that verifies and writes. It decides
  whether the file becomes a blob: a manifest whose chunks do not make up its blob puts nothing under that name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import TypeAlias

from edge_agent.atomic import fsync_folder
from edge_agent.errors import ReleaseError, RepositoryRefusedError, StorageError
from edge_agent.release.manifest import Stored
from edge_agent.update.state_files import clear_way, open_regular, remove

_Bytes: TypeAlias = bytes | bytearray | memoryview

SYNC_BYTES = 16 << 20
SYNC_S = 1.0
FILE_MODE = 0o640
_READ_BYTES = 1 << 20
_BESIDE_BYTES = 128 << 10
"""Chunks from this size on take longer to hash than to be handed to a thread."""


class Part:
    """`resume` first, then `append` until all chunks stand, then `finish`. One owner; after an error `resume` again."""

    def __init__(self, stored: Stored, path: Path, blob: Path, monotonic_s: Callable[[], float]) -> None:
        """The part stands at `path` and becomes `blob`; both folders exist, on one file system."""
        self._stored = stored
        self._path = path
        self._blob = blob
        self._monotonic_s = monotonic_s
        self._fd: int | None = None
        self._whole = hashlib.sha256()
        self._adder: _Adder | None = None
        self._chunks = 0
        self._synced_bytes = 0
        self._synced_s = 0.0

    @property
    def chunks(self) -> int:
        """How many verified chunks stand in the file."""
        return self._chunks

    @property
    def size_bytes(self) -> int:
        """How many bytes these are."""
        return min(self._chunks * self._stored.chunk_bytes, self._stored.size_bytes)

    def resume(self) -> int:
        """Open the file, or begin it; the number of verified chunks that stand in it. Raises StorageError."""
        self.close()
        self._whole, self._chunks = hashlib.sha256(), 0
        fd = self._fd = self._opened()
        try:
            self._take_standing(fd)
            if os.fstat(fd).st_size != self.size_bytes:
                os.ftruncate(fd, self.size_bytes)
            # Whoever wrote it may not have synced it.
            os.fsync(fd)
        except OSError as error:
            self._give_up(0)
            raise self._refused(error) from error
        self._synced_bytes, self._synced_s = self.size_bytes, self._monotonic_s()
        return self._chunks

    def append(self, chunk: _Bytes) -> None:
        """Write the next chunk. Raises RepositoryRefusedError where it is not that chunk, which changes nothing; StorageError."""
        fd = self._open()
        whole = self._whole.copy()
        with self._adding(whole, chunk):
            if not self._is_next(chunk):
                raise RepositoryRefusedError(
                    "mismatch", f"blob {self._stored.sha256}: not the chunk {self._chunks} that its manifest names"
                )
            self._write(fd, chunk)
        self._whole, self._chunks = whole, self._chunks + 1
        due = self.size_bytes - self._synced_bytes >= SYNC_BYTES or self._monotonic_s() - self._synced_s >= SYNC_S
        if due:
            self._sync(fd)

    def finish(self) -> None:
        """Make the file a blob, durably. Raises ReleaseError where the manifest contradicts itself, StorageError."""
        fd = self._open()
        if self._chunks != len(self._stored.chunks):
            raise ValueError(f"{self._chunks} of {len(self._stored.chunks)} chunks stand")
        if self._whole.hexdigest() != self._stored.sha256:
            self._give_up(0)
            remove(self._path)
            raise ReleaseError(
                f"blob {self._stored.sha256}: the chunks that its manifest names do not make it up: build the release anew"
            )
        self._sync(fd)
        self.close()
        clear_way(self._blob)
        try:
            os.replace(self._path, self._blob)
        except OSError as error:
            raise self._refused(error) from error
        fsync_folder(self._blob.parent)
        fsync_folder(self._path.parent)

    def close(self) -> None:
        """Keep what stands, synced where the disk takes it, and let go of the file. Raises nothing."""
        if self._adder is not None:
            self._adder.end()
            self._adder = None
        if self._fd is not None and self._synced_bytes != self.size_bytes:
            with contextlib.suppress(StorageError):
                self._sync(self._fd)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _opened(self) -> int:
        fd = open_regular(self._path, os.O_RDWR)
        if fd is not None and os.fstat(fd).st_nlink > 1:  # it has another name, whose bytes are not ours to change
            os.close(fd)
            fd = None
        if fd is None:
            remove(self._path)
            fd = open_regular(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            if fd is None:
                raise StorageError(f"{self._path}: cannot be made; create the folder first")
            try:
                os.fchmod(fd, FILE_MODE)
                fsync_folder(self._path.parent)
            except (OSError, StorageError) as error:
                os.close(fd)
                raise self._refused(error) from error
        return fd

    def _take_standing(self, fd: int) -> None:
        """Count the verified chunks from the start of the file on. Raises OSError."""
        size = os.fstat(fd).st_size
        while self._chunks < len(self._stored.chunks):
            start, length = self.size_bytes, self._length(self._chunks)
            if start + length > size:
                return
            whole, chunk = self._whole.copy(), hashlib.sha256()
            for at in range(start, start + length, _READ_BYTES):
                try:
                    portion = os.pread(fd, min(_READ_BYTES, start + length - at), at)
                except OSError:
                    return  # what the disk does not give back any more is fetched again
                whole.update(portion)
                chunk.update(portion)
            if chunk.hexdigest() != self._stored.chunks[self._chunks]:
                return
            self._whole, self._chunks = whole, self._chunks + 1

    @contextlib.contextmanager
    def _adding(self, whole: hashlib._Hash, chunk: _Bytes) -> Iterator[None]:
        """Add the chunk to a digest while the block runs, on another core where there is one; at its end that is done."""
        if len(chunk) >= _BESIDE_BYTES and self._adder is None:
            with contextlib.suppress(RuntimeError):  # there may be no more threads
                self._adder = _Adder()
        if len(chunk) < _BESIDE_BYTES or self._adder is None:
            whole.update(chunk)
            yield
        else:
            with self._adder.adding(lambda: whole.update(chunk)):
                yield

    def _write(self, fd: int, chunk: _Bytes) -> None:
        try:
            at, rest = self.size_bytes, memoryview(chunk)
            while rest:
                written = os.pwrite(fd, rest, at)
                at, rest = at + written, rest[written:]
        except OSError as error:
            self._give_up(self.size_bytes)
            raise self._refused(error) from error

    def _is_next(self, chunk: _Bytes) -> bool:
        stored = self._stored
        if self._chunks == len(stored.chunks) or len(chunk) != self._length(self._chunks):
            return False
        return hashlib.sha256(chunk).hexdigest() == stored.chunks[self._chunks]

    def _length(self, number: int) -> int:
        return min(self._stored.chunk_bytes, self._stored.size_bytes - number * self._stored.chunk_bytes)

    def _open(self) -> int:
        if self._fd is None:
            raise ValueError("a part is resumed before it is used, and after every error")
        return self._fd

    def _sync(self, fd: int) -> None:
        if self._synced_bytes != self.size_bytes or self.size_bytes == 0:
            try:
                os.fsync(fd)
            except OSError as error:
                self._give_up(self._synced_bytes)
                raise self._refused(error) from error
        self._synced_bytes, self._synced_s = self.size_bytes, self._monotonic_s()

    def _give_up(self, keep_bytes: int) -> None:
        """Cut off what may not be on the disk, and let go of the file."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, keep_bytes)
            os.close(fd)

    def _refused(self, error: Exception) -> StorageError:
        why = error.strerror if isinstance(error, OSError) else error
        return StorageError(f"{self._path}: {why}; what stands of it is kept. Check the disk: free space, mount state, health")


class _Adder:
    """A thread that adds chunks to digests, one after the other."""

    def __init__(self) -> None:
        """Raises RuntimeError where there may be no more threads."""
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._added: SimpleQueue[BaseException | None] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    @contextlib.contextmanager
    def adding(self, add: Callable[[], None]) -> Iterator[None]:
        """Have `add` called while the block runs; at its end that is done. Raises what it raised."""
        self._asked.put(add)
        try:
            yield
        finally:
            error = self._added.get()
        if error is not None:
            raise error

    def end(self) -> None:
        """No more will come."""
        self._asked.put(None)

    def _run(self) -> None:
        while add := self._asked.get():
            error: BaseException | None = None
            try:
                add()
            except BaseException as raised:  # noqa: BLE001  # whoever waits gets it
                error = raised
            del add  # and the chunk with it, which may be large
            self._added.put(error)
