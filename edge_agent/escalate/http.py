"""One bounded exchange over HTTP: exact bytes out, an answer of bounded size back, within a deadline that always holds.

Rules:
* The deadline is one for the whole: looking up the name, connecting, the TLS handshake, sending, and every byte of the answer.
  A server that sends one byte now and then runs into it like one that sends none.
* The bytes received are counted on the wire, head and all, so that nothing a server writes is held beyond the limit.
* Nothing is done that was not asked for: no redirect is followed, nothing is repeated, no proxy of the environment is used, no
  cookie is kept, nothing compressed is unpacked, no connection is kept for the next exchange.
* Certificates and keys are read anew for each connection. Without TLS only this machine is spoken to, unless allowed.
* One owner; `post` blocks. What goes wrong is a TryLaterError. Its reason says whether anything left the device: not with
  `connection`, `credentials` and `tls`; perhaps with `timeout`, `reset`, `tls-alert`, `too-long` and `bad-answer`.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast

import urllib3
from msgspec import Struct
from urllib3.connection import HTTPConnection, HTTPSConnection

from edge_agent.clock import Clock
from edge_agent.config.endpoint import Endpoint
from edge_agent.config.settings import TlsSettings
from edge_agent.credentials import tls_context
from edge_agent.errors import BackendRefusalError, TryLaterError
from edge_agent.wire import Deadline, Wire

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_HEAD_BYTES = 32_768
"""Allowed of an answer besides its body: status line, headers, the sizes of chunks, interim answers."""
MAX_PROBLEM_BYTES = 8_192
"""Kept of the body of an answer that is not 200: it only says why."""
_PORTION_BYTES = 16_384


class HttpAnswer(Struct, frozen=True, kw_only=True):
    """An answer. `headers` by names in small letters; `body` is whole where `status` is 200, else at most its beginning."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpLimits(Struct, frozen=True, kw_only=True):
    """How long an exchange may take, and how much it may bring."""

    connect_timeout_s: float
    """For each address of the host's."""
    timeout_s: float
    """For all of it."""
    max_answer_bytes: int


class HttpClient:
    """Posts to one endpoint."""

    def __init__(
        self, endpoint: Endpoint, limits: HttpLimits, tls: TlsSettings | None, clock: Clock, *, allow_http: bool
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._tls = tls or TlsSettings()
        self._clock = clock
        self._allow_http = allow_http
        self._lookup: _Lookup | None = None
        # Its warnings quote what a server sent.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def post(self, target: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send `body` as it is to `target`; the answer, whatever its status.

        Raises TryLaterError where there is none, BackendRefusalError where the host is not spoken to without TLS.
        """
        deadline = Deadline(self._clock, self._limits.timeout_s)
        connection = self._connection()
        wire = self._reached(deadline)
        try:
            # It has what is used of a socket.
            connection.sock = cast(Any, wire)
            _send(connection, target, headers, body)
            with closing(connection.getresponse()) as response:
                return _receive(response, self._limits.max_answer_bytes)
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise self._unanswered(error) from error
        finally:
            connection.close()

    def head(self, target: str, headers: Mapping[str, str], body: bytes) -> str:
        """The request line and the headers that `post` would send with `body`. Nothing is sent."""
        caught = _Caught()
        connection = self._connection()
        connection.sock = cast(Any, caught)
        _send(connection, target, headers, body)
        return bytes(caught.data).partition(b"\r\n\r\n")[0].decode("latin-1")

    def _connection(self) -> HTTPConnection:
        """The library's side of a connection; it is handed what it speaks on."""
        kind = HTTPSConnection if self._endpoint.scheme == "https" else HTTPConnection
        return kind(self._endpoint.host, self._endpoint.port)

    def _reached(self, deadline: Deadline) -> Wire:
        """A connection on which nothing was said yet. Whatever fails until then is told apart: nothing has left."""
        raw = self._connected(deadline)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._endpoint.scheme == "https":
                raw = self._encrypted(raw, deadline)
        except (OSError, ValueError) as error:
            raw.close()
            raise self._unreached(error) from error
        except BaseException:
            raw.close()
            raise
        return Wire(raw, deadline, self._limits.max_answer_bytes + MAX_HEAD_BYTES)

    def _connected(self, deadline: Deadline) -> socket.socket:
        """A connection to the first of the host's addresses that takes one."""
        error: OSError = OSError("the name has no address")
        for family, address in self._addresses(deadline):
            if self._endpoint.scheme == "http" and not self._allow_http and not ip_address(str(address[0])).is_loopback:
                raise BackendRefusalError("no-tls", "the host is not this machine; use https://, or allow_http", breaks=True)
            raw = socket.socket(family, socket.SOCK_STREAM)
            try:
                raw.settimeout(min(self._limits.connect_timeout_s, deadline.left_s()))
                raw.connect(address)
            except OSError as problem:
                raw.close()
                error = problem
            else:
                return raw
        raise self._unreached(error) from error

    def _addresses(self, deadline: Deadline) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
        """Where the host is. No system call looks up a name within a time, so that a thread of its own does; one at a time."""
        if self._lookup is None or not self._lookup.is_alive():
            self._lookup = _Lookup(self._endpoint.host, self._endpoint.port)
            self._lookup.start()
        self._lookup.join(deadline.left_s())
        if self._lookup.is_alive():
            raise TryLaterError("connection", f"nobody says where {self._endpoint.host} is")
        lookup, self._lookup = self._lookup, None
        if lookup.error is not None:
            raise TryLaterError("connection", f"{self._endpoint.host} is not found: {_plain(lookup.error)}")
        return lookup.found

    def _encrypted(self, raw: socket.socket, deadline: Deadline) -> socket.socket:
        try:
            context = tls_context(self._tls)
        except (OSError, ValueError) as error:
            raise TryLaterError("credentials", f"a certificate or its key cannot be read: {_plain(error)}") from error
        raw.settimeout(deadline.left_s())
        # A handshake is bounded as a whole by the socket's timeout.
        return context.wrap_socket(raw, server_hostname=self._endpoint.host.rstrip("."))

    @property
    def _where(self) -> str:
        return f"{self._endpoint.host} port {self._endpoint.port}"

    def _unreached(self, error: OSError | ValueError) -> TryLaterError:
        """What went wrong before anything was said, under its stable reason."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return TryLaterError("tls", _what_to_do(error, self._endpoint.host, self._clock.now_s()))
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return TryLaterError("tls", f"{self._where}: {_plain(error)}")
        return TryLaterError("connection", f"{self._where}: {_plain(error)}")

    def _unanswered(self, error: Exception) -> TryLaterError:
        """What went wrong after that, under its stable reason."""
        cause = error
        while isinstance(cause, urllib3.exceptions.HTTPError) and cause.args and isinstance(cause.args[-1], Exception):
            cause = cause.args[-1]
        if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError):
            return TryLaterError("timeout", f"no whole answer of {self._where} within {self._limits.timeout_s:g} s")
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            # With TLS 1.3 a server says only now that it does not believe our certificate.
            return TryLaterError("tls-alert", f"{self._where}: {_plain(cause)}")
        if isinstance(cause, OSError | http.client.IncompleteRead):
            return TryLaterError("reset", f"{self._where} ended the connection before its answer was whole")
        return TryLaterError("bad-answer", f"what {self._where} sends is not HTTP: {type(cause).__name__}")


class _Lookup(threading.Thread):
    """Looks one name up. It ends when the system's resolver gives up, which nothing can hasten."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(name="escalate-lookup", daemon=True)
        self._host, self._port = host, port
        self.found: list[tuple[socket.AddressFamily, tuple[Any, ...]]] = []
        self.error: Exception | None = None

    def run(self) -> None:
        """See `threading.Thread`."""
        try:
            results = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self.found = [(family, address) for family, _, _, _, address in results]
        except (OSError, ValueError) as error:  # UnicodeError, a ValueError, for a name with a label that is too long
            self.error = error


class _Caught:
    """What the HTTP library sees of a socket that keeps what is sent on it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def sendall(self, data: Buffer) -> None:
        """See `socket.sendall`."""
        self.data += data

    def settimeout(self, timeout_s: float | None) -> None:
        """Nothing: there is nothing to wait for."""


def _send(connection: HTTPConnection, target: str, headers: Mapping[str, str], body: bytes) -> None:
    """Send everything, unless the server answers before it has it all: then its answer is what counts."""
    fixed = {"Accept-Encoding": "identity", "Connection": "close"}
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", target, body=body, headers={**headers, **fixed}, preload_content=False, decode_content=False)


def _receive(response: urllib3.HTTPResponse, max_answer_bytes: int) -> HttpAnswer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.status != http.client.OK:
        problem = b""
        with suppress(TryLaterError, OSError, http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError):
            problem = response.read(MAX_PROBLEM_BYTES, decode_content=False)
        return HttpAnswer(status=response.status, headers=headers, body=problem)
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise TryLaterError("bad-answer", "the answer is compressed, which was not asked for")
    if response.length_remaining is not None and response.length_remaining > max_answer_bytes:
        raise TryLaterError("too-long", "the answer is longer than `max_answer_bytes`")
    body = bytearray()
    while portion := response.read(min(_PORTION_BYTES, max_answer_bytes + 1 - len(body)), decode_content=False):
        body += portion
        if len(body) > max_answer_bytes:
            raise TryLaterError("too-long", "the answer is longer than `max_answer_bytes`")
    return HttpAnswer(status=response.status, headers=headers, body=bytes(body))


def _what_to_do(error: ssl.SSLCertVerificationError, host: str, now_s: float) -> str:
    """What a person must do about a certificate that is not believed. The codes are those of OpenSSL's `X509_V_ERR_*`."""
    clock = f"this device's clock says {datetime.fromtimestamp(now_s, UTC):%Y-%m-%d %H:%M} UTC"
    match error.verify_code:
        case 9:
            return f"the certificate of {host} is not valid yet; {clock}: set it if that is wrong"
        case 10:
            return f"the certificate of {host} has expired, and must be renewed there; {clock}: set it if that is wrong"
        case 18 | 19 | 20 | 21:
            return f"the certificate of {host} is of an authority that is not known here; name its file in `tls.ca_file`"
        case 62 | 64:
            return f"the certificate is not for {host}; use the name that it was made for in `url`"
    return f"the certificate of {host} is not believed: {_plain(error)}"


def _plain(error: Exception) -> str:
    """An error's text as one short printable line: a part of it may come from outside."""
    text = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
    return "".join(c if c.isprintable() else " " for c in str(text))[:200]
