"""Bytes of a repository for python-tuf's client, over HTTP(S) or from a folder (`file://`). Nothing here is believed.

Rules:
* One file is one exchange within one deadline, which holds for every byte: head, chunks and body. Only the system's look-up
  of a name is beyond it; the process that updates has a time limit of its own.
* No redirect is followed, nothing is repeated, no proxy of the environment is used, nothing compressed is unpacked. A file that
  ends before its stated length is no file.
* A path of `file://` is opened without following a link at its end and without waiting, and must be a regular file: a FIFO or
  a device is not read.
* All that goes wrong is a DownloadError; a status other than 200 is a DownloadHTTPError, a missing file one of 404.
* One owner; a fetch blocks.
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

from edge_agent.clock import Clock
from edge_agent.config.settings import TlsSettings
from edge_agent.credentials import tls_context
from edge_agent.wire import Deadline, Wire

_PART_BYTES = 65_536
_PORTS = {"http": 80, "https": 443}
_KEPT = "/%?=&~:@!$'()*+,;-._"


class Transport(FetcherInterface):
    """Fetches by the scheme of the address."""

    def __init__(self, clock: Clock, *, timeout_s: float = 60.0, tls: TlsSettings | None = None) -> None:
        """`timeout_s` is for the whole of one file."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._tls = tls or TlsSettings()

    def _fetch(self, url: str) -> Iterator[bytes]:
        parts = urlsplit(url)
        if parts.scheme == "file":
            return _file(unquote(parts.path), url)
        if parts.scheme in _PORTS and parts.hostname:
            return self._over_http(parts, parts.port or _PORTS[parts.scheme], url)
        raise DownloadError(f"{url}: not an address that is fetched; use https://, http:// or file:///")

    def _over_http(self, parts: SplitResult, port: int, url: str) -> Iterator[bytes]:
        deadline = Deadline(self._clock, self._timeout_s)
        connection = http.client.HTTPConnection(parts.hostname or "", port)
        try:
            # It has what is used of a socket.
            connection.sock = cast(Any, Wire(self._connected(connection, parts, deadline), deadline))
            path = quote(parts.path or "/", safe=_KEPT) + (f"?{quote(parts.query, safe=_KEPT)}" if parts.query else "")
            connection.request("GET", path, headers={"Accept-Encoding": "identity", "Connection": "close"})
            with connection.getresponse() as response:
                if response.status != http.client.OK:
                    raise DownloadHTTPError(f"{url}: status {response.status}", response.status)
                if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
                    raise DownloadError(f"{url}: the answer is compressed, which was not asked for")
                while part := response.read1(_PART_BYTES):
                    yield part
                if response.length:
                    raise DownloadError(f"{url}: the answer ended {response.length} bytes before its end")
        except TimeoutError as error:
            raise SlowRetrievalError(f"{url}: not whole within {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DownloadError(f"{url}: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _connected(self, connection: http.client.HTTPConnection, parts: SplitResult, deadline: Deadline) -> socket.socket:
        raw = socket.create_connection((connection.host, connection.port), timeout=deadline.left_s())
        if parts.scheme == "http":
            return raw
        try:
            raw.settimeout(deadline.left_s())
            return tls_context(self._tls).wrap_socket(raw, server_hostname=connection.host.rstrip("."))
        except BaseException:
            raw.close()
            raise


def _file(path: str, url: str) -> Iterator[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise DownloadHTTPError(f"{url}: there is no such file", 404) from error
        raise DownloadError(f"{url}: {error.strerror}") from error
    except ValueError as error:
        raise DownloadError(f"{url}: {error}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise DownloadError(f"{url}: not a regular file")
        while part := os.read(fd, _PART_BYTES):
            yield part
    except OSError as error:
        raise DownloadError(f"{url}: {error.strerror}") from error
    finally:
        os.close(fd)
