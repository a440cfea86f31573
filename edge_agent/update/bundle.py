"""A bundle as a place: a plain tar that holds a part of a repository, in a file or behind a web server, read where it is.

Rules:
* It is never unpacked nor copied whole. Its headers are read once, when it is opened (`ustar`); what is small is read through a
  few windows that are kept, so that neighbours cost one request together.
* It may change, shrink or vanish while it is read. Nothing is believed because of where it stands: whoever reads compares
  digests, so that a bundle which changes can at most end before its time.
* A blob is called `targets/blobs/<sha256>` in a bundle, because its name in a repository is too long for a plain tar.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.errors import LinkError, RepositoryRefusedError
from edge_agent.update import jobs
from edge_agent.update.exchange import PART_BYTES, Meter, Web, shown
from edge_agent.update.ranged import Ranged
from edge_agent.update.regular import Regular
from edge_agent.update.ustar import Span, spans
from edge_agent.wire import Deadline

WINDOW_BYTES = 16_384
MAX_WINDOWS = 64
_BLOBS = "targets/blobs/"


class Readable(Protocol):
    """Bytes at an offset."""

    def read(self, offset: int, length: int, timeout_s: float, until: int = 0) -> bytes:
        """`length` bytes at most, one at least; up to `until` may be asked for. Raises LinkError, RepositoryRefusedError."""

    def close(self) -> None:
        """Let go of it."""


class BundlePlace:
    """An open bundle; a `places.Opened`."""

    def __init__(
        self, source: Readable, size_bytes: int, name: str, clock: Clock, timeout_s: float, *, may_grow: bool = True
    ) -> None:
        """Reads the headers, within `timeout_s`. Raises LinkError, RepositoryRefusedError (`bundle`); closes `source` then."""
        self._source = source
        self._size_bytes = size_bytes
        self._name = name
        self._clock = clock
        self._windows: OrderedDict[int, bytes] = OrderedDict()
        deadline = Deadline(clock, timeout_s)
        try:
            self._spans = spans(lambda offset, length: self._near(offset, length, deadline), size_bytes, may_grow=may_grow)
        except LinkError as error:
            self.close()
            raise LinkError(f"{name}: {error}") from error
        except RepositoryRefusedError as error:
            self.close()
            raise RepositoryRefusedError(error.reason, f"{name}: {error.detail}") from error
        except BaseException:
            self.close()
            raise

    def file(self, name: str, timeout_s: float) -> Iterator[bytes] | None:
        """See `places.Opened`."""
        span = self._spans.get(_name_in_bundle(name))
        return None if span is None else self._parts(span, Deadline(self._clock, timeout_s))

    def piece(self, name: str, offset: int, length: int, timeout_s: float, until: int = 0) -> bytes:
        """See `places.Opened`."""
        span = self._spans.get(_name_in_bundle(name))
        if span is None or offset + length > span.size_bytes:
            raise LinkError(f"{self._name}: does not hold {name}, or not all of it")
        return self._read(span.offset + offset, length, timeout_s, span.offset + min(until, span.size_bytes))

    def close(self) -> None:
        """See `places.Opened`."""
        self._source.close()

    def _parts(self, span: Span, deadline: Deadline) -> Iterator[bytes]:
        done = 0
        while done < span.size_bytes:
            part = self._near(span.offset + done, min(PART_BYTES, span.size_bytes - done), deadline)
            done += len(part)
            yield part

    def _near(self, offset: int, length: int, deadline: Deadline) -> bytes:
        """All of `length` bytes, by way of the windows. Raises LinkError."""
        data = bytearray()
        while len(data) < length:
            first, skipped = divmod(offset + len(data), WINDOW_BYTES)
            data += self._window(first, deadline)[skipped : skipped + length - len(data)]
        return bytes(data)

    def _window(self, number: int, deadline: Deadline) -> bytes:
        window = self._windows.get(number)
        if window is None:
            window = self._filled(number * WINDOW_BYTES, deadline)
            self._windows[number] = window
            if len(self._windows) > MAX_WINDOWS:
                self._windows.popitem(last=False)
        self._windows.move_to_end(number)
        return window

    def _filled(self, offset: int, deadline: Deadline) -> bytes:
        length = min(WINDOW_BYTES, self._size_bytes - offset)
        data = bytearray()
        while len(data) < length:
            try:
                left_s = deadline.left_s()
            except TimeoutError as error:
                raise LinkError("not read within the time that it has") from error
            data += self._read(offset + len(data), length - len(data), left_s)
        return bytes(data)

    def _read(self, offset: int, length: int, timeout_s: float, until: int = 0) -> bytes:
        try:
            return self._source.read(offset, length, timeout_s, until)
        except RepositoryRefusedError as error:  # what the headers said is of no use any more
            raise LinkError(error.detail) from error


class _Remote:
    """A bundle on a web server."""

    def __init__(self, place: jobs.RemoteBundle, clock: Clock, meter: Meter) -> None:
        self._web = Web(clock, meter, place.tls, place.authorization_file, place.authorization_scheme)
        self._ranged = Ranged(self._web, place.url)

    def read(self, offset: int, length: int, timeout_s: float, until: int = 0) -> bytes:
        """See `Readable`."""
        return self._ranged.read(offset, length, timeout_s, until)

    def close(self) -> None:
        """See `Readable`."""
        self._ranged.close()
        self._web.close()


def local(place: jobs.Bundle, clock: Clock, meter: Meter, timeout_s: float) -> BundlePlace:
    """Open a bundle in a file. Raises LinkError, RepositoryRefusedError (`bundle`)."""
    try:
        file = Regular(Path(place.path), meter)
    except FileNotFoundError as error:
        raise LinkError(f"{place.path}: there is no such file (any more)") from error
    return BundlePlace(file, file.size_bytes, place.path, clock, timeout_s)


def remote(place: jobs.RemoteBundle, clock: Clock, meter: Meter, timeout_s: float) -> BundlePlace:
    """Open a bundle behind a web server. Raises LinkError, RepositoryRefusedError (`bundle`)."""
    source = _Remote(place, clock, meter)
    return BundlePlace(source, place.size_bytes, shown(place.url), clock, timeout_s, may_grow=False)


def _name_in_bundle(name: str) -> str:
    """The name in a bundle of a file of a repository."""
    return name.partition(".")[0] if name.startswith(_BLOBS) else name
