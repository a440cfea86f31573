"""One exchange at a time with a web server, within a deadline and an allowance of bytes. Nothing that comes is believed.

Rules:
* One exchange has one deadline, which holds for every byte: head, chunks and body. Whoever reads a long body in parts renews
  it for each. Only the system's look-up of a name is beyond it; the process that updates has a time limit of its own.
* No redirect is followed, no proxy of the environment is used, no cookie is kept, nothing compressed is unpacked. A connection
  is kept for the next exchange with the same host; where the server ended it meanwhile, the request is sent once more.
* Every byte that comes in counts, heads and what is thrown away too (`Meter`). A head has a limit of its own.
* Certificates and secrets are read anew for each connection and each request. What a server wrote stands in messages only as
  short, printable text, and an address without its query (`shown`).
* Whatever goes wrong is a LinkError. One owner; everything blocks.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, quote, urlsplit

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.config.settings import TlsSettings
from edge_agent.credentials import read_secret, tls_context
from edge_agent.errors import LinkError
from edge_agent.wire import Deadline, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

PART_BYTES = 65_536
MAX_HEAD_BYTES = 65_536
"""Of an answer before its body: status lines and headers, also of interim answers."""
MAX_MESSAGE_CHARACTERS = 200
MAX_ADDRESSES = 8
"""Of one name that are tried."""
_PORTS = {"http": 80, "https": 443}
_KEPT = "/%?=&~:@!$'()*+,;-._"  # of an address; everything else in it is quoted
_DROPPED = str.maketrans({"\t": "%09", "\n": "%0A", "\r": "%0D"})  # by `urlsplit`, so that another file would be asked for
_ENDED_MEANWHILE = (ConnectionError, http.client.BadStatusLine)


class Meter:
    """Counts bytes that were received, and knows how many may be."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.received_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether more came than may."""
        return self.received_bytes > self.max_bytes

    def take(self, count: int) -> None:
        """`count` bytes came. Raises LinkError when that is more than may."""
        self.received_bytes += count
        if self.is_full:
            raise LinkError(f"more came than the {self.max_bytes} bytes that may be received now")


class _Request(Struct, frozen=True):
    """What is asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None


class _Host(Struct, frozen=True):
    """Whom a connection is to."""

    scheme: str
    name: str
    port: int


class Answer:
    """What a server answered. Whoever gets one closes it."""

    def __init__(self, url: str, response: http.client.HTTPResponse, deadline: Deadline, done: Callable[[bool], None]) -> None:
        """`done` is told at the end whether the connection can be used again."""
        self.name = shown(url)
        """Of what was asked for, in messages."""
        self.status = response.status
        self._response = response
        self._deadline = deadline
        self._done: Callable[[bool], None] | None = done
        self._ended = False

    def header(self, name: str) -> str:
        """A header's value, empty where there is none."""
        return str(self._response.headers.get(name, "")).strip()

    def renew(self, timeout_s: float) -> None:
        """Another part of the body is read, which may take so long."""
        self._deadline.renew(timeout_s)

    def read(self, max_bytes: int) -> bytes:
        """One byte at least and `max_bytes` at most; none where the body ends.

        Raises LinkError, also where the body ended before its stated length.
        """
        try:
            part = self._response.read1(min(max_bytes, PART_BYTES))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _failed(self.name, error) from error
        left = self._response.length
        if not part and left:
            raise LinkError(f"{self.name}: the answer ended {left} bytes before its end")
        self._ended = not part or left == 0
        return part

    def close(self) -> None:
        """The rest is not wanted. Harmless when it was closed before."""
        done, self._done = self._done, None
        if done is not None:
            ended = self._ended or self._response.length == 0
            self._response.close()
            done(ended and not self._response.will_close)


class Web:
    """Asks web servers. At most one connection is kept."""

    def __init__(
        self,
        clock: Clock,
        meter: Meter,
        tls: TlsSettings | None = None,
        authorization_file: str = "",
        authorization_scheme: str = "",
    ) -> None:
        """`authorization_file` holds the value of the header `Authorization`, or what follows the scheme; empty for none."""
        self._clock = clock
        self._meter = meter
        self._tls = tls or TlsSettings()
        self._authorization_file = authorization_file
        self._authorization_scheme = authorization_scheme
        self._kept: tuple[_Host, socket.socket] | None = None

    def get(self, url: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a GET, whatever its status, unless it is compressed. Raises LinkError."""
        return self.ask("GET", url, timeout_s, headers)

    def ask(
        self, method: str, url: str, timeout_s: float, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """The same for another method; what is asked must do no harm when it comes twice. Raises LinkError."""
        answer = self._answer(method, url, timeout_s, headers or {}, body)
        if answer.header("Content-Encoding").lower() not in ("", "identity"):
            answer.close()
            raise LinkError(f"{answer.name}: the answer is compressed, which was not asked for")
        return answer

    def _answer(self, method: str, url: str, timeout_s: float, headers: Mapping[str, str], body: bytes | None) -> Answer:
        parts, host = _split(url)
        path = quote(parts.path or "/", safe=_KEPT) + (f"?{quote(parts.query, safe=_KEPT)}" if parts.query else "")
        deadline = Deadline(self._clock, timeout_s)
        kept, self._kept = self._kept, None
        try:
            request = _Request(method, path, {**headers, **self._fixed()}, body)
            if kept is not None and kept[0] == host:
                try:
                    return self._asked(kept, url, request, deadline)
                except _ENDED_MEANWHILE:
                    pass
            elif kept is not None:
                kept[1].close()
            return self._asked((host, self._connected(host, deadline)), url, request, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _failed(shown(url), error) from error

    def close(self) -> None:
        """End the connection that is kept."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept[1].close()

    def _fixed(self) -> dict[str, str]:
        """Headers of every request. Raises OSError, ValueError."""
        fixed = {"Accept-Encoding": "identity"}
        if self._authorization_file:
            secret = read_secret(self._authorization_file)
            if not (secret.isascii() and secret.isprintable()):
                # The HTTP library would refuse it too, and quote it.
                raise ValueError(f"{self._authorization_file} holds more than one line, or what no header may have")
            fixed["Authorization"] = f"{self._authorization_scheme} {secret}".lstrip()
        return fixed

    def _asked(self, line: tuple[_Host, socket.socket], url: str, request: _Request, deadline: Deadline) -> Answer:
        """Send a request on the connection `line`, which is closed where that fails."""
        host, raw = line
        wire = _Metered(raw, deadline, self._meter)

        def done(is_usable: bool) -> None:
            if is_usable and self._kept is None:
                self._kept = line
            else:
                raw.close()

        try:
            connection = http.client.HTTPConnection(host.name, host.port)
            connection.sock = cast(Any, wire)  # it has what is used of a socket
            connection.request(request.method, request.path, body=request.body, headers=request.headers)
            response = connection.getresponse()
        except BaseException:
            raw.close()
            raise
        wire.head_ended()
        return Answer(url, response, deadline, done)

    def _connected(self, host: _Host, deadline: Deadline) -> socket.socket:
        raw = _reached(host, deadline)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if host.scheme == "http":
                return raw
            raw.settimeout(deadline.left_s())
            return tls_context(self._tls).wrap_socket(raw, server_hostname=host.name.rstrip("."))
        except BaseException:
            raw.close()
            raise


class _Metered(Wire):
    """A wire whose incoming bytes are counted."""

    def __init__(self, raw: socket.socket, deadline: Deadline, meter: Meter) -> None:
        super().__init__(raw, deadline)
        self._meter = meter
        self._files: list[_Counted] = []

    def makefile(self, mode: str) -> io.BufferedReader:
        """See `Wire`."""
        counted = _Counted(super().makefile(mode).detach(), self._meter)
        self._files.append(counted)
        return io.BufferedReader(counted)

    def head_ended(self) -> None:
        """What comes from now on is the body, whose reader knows how much he wants."""
        for file in self._files:
            file.head_left = None


class _Counted(io.RawIOBase):
    """The receiving side of a wire."""

    def __init__(self, inner: io.RawIOBase, meter: Meter) -> None:
        super().__init__()
        self.head_left: int | None = MAX_HEAD_BYTES
        self._inner = inner
        self._meter = meter

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        """See `io.RawIOBase`. Raises LinkError beyond a limit."""
        count = cast("int | None", cast(Any, self._inner).readinto(buffer))
        self._meter.take(count or 0)
        if self.head_left is not None:
            self.head_left -= count or 0
            if self.head_left < 0:
                raise LinkError(f"the answer's head is longer than {MAX_HEAD_BYTES} bytes")
        return count

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self._inner.close()
        super().close()


def _reached(host: _Host, deadline: Deadline) -> socket.socket:
    """A connection to one of the addresses of `host`, which share the time that is left evenly. Raises OSError."""
    found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)[:MAX_ADDRESSES]
    problem = OSError("the name has no address")
    for tried, (family, kind, protocol, _, address) in enumerate(found):
        raw: socket.socket | None = None
        try:
            raw = socket.socket(family, kind, protocol)
            raw.settimeout(deadline.left_s() / (len(found) - tried))
            raw.connect(address)
        except OSError as error:  # also that this system knows no addresses of that family
            problem = error
            if raw is not None:
                raw.close()
        else:
            return raw
    raise problem


def shown(url: str) -> str:
    """An address as it stands in messages: without its query and without a user, which may open what is there to anyone."""
    place = url.partition("?")[0]
    scheme, slashes, rest = place.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def _split(url: str) -> tuple[SplitResult, _Host]:
    """Raises LinkError for an address that is not fetched from a server."""
    try:
        parts = urlsplit(url.translate(_DROPPED))
        if parts.scheme in _PORTS and parts.hostname:
            return parts, _Host(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])
    except ValueError as error:
        raise LinkError(f"{shown(url)}: {error}") from error
    raise LinkError(f"{shown(url)}: not an address that is fetched; use https://, http:// or file:///")


def _failed(name: str, error: Exception) -> LinkError:
    """`error` in words."""
    if isinstance(error, TimeoutError):
        return LinkError(f"{name}: not whole within the time that it has")
    text = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error) or type(error).__name__
    return LinkError(f"{name}: {''.join(c if c.isprintable() else ' ' for c in str(text))[:MAX_MESSAGE_CHARACTERS]}")
