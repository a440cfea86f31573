"""A web server on loopback that knows ranges and entity tags as RFC 9110 has them, and can be told to get each of them wrong."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Sparse:
    """A file whose bytes are made as they are asked for."""

    size_bytes: int
    read: Read


@dataclass
class Request:
    path: str
    range: str
    if_range: str
    authorization: str
    connection: int
    """The client's port: two requests on one connection have the same."""


Fault = Callable[["Handler", bytes | Sparse], bool]
"""Answers in place of the server where it says so."""


@dataclass
class Ranges:
    """What is served, and what was asked for."""

    files: Mapping[str, bytes | Sparse]
    tag: str = '"one"'
    fault: Fault | None = None
    most_bytes: int = 1 << 62
    """The longest range that is given, up to a multiple of it: a server may give less than was asked for."""
    url: str = ""
    asked: list[Request] = field(default_factory=list)
    sent_bytes: int = 0

    def asked_for(self, part: str) -> list[Request]:
        return [request for request in self.asked if part in request.path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a head and a body apart would wait for each other
    web: Ranges

    def do_GET(self) -> None:
        path = self.path.removeprefix("/")
        asked, tag, secret = (self.headers.get(name, "") for name in ("Range", "If-Range", "Authorization"))
        self.web.asked.append(Request(path, asked, tag, secret, self.client_address[1]))
        data = self.web.files.get(path)
        if data is None:
            self.answer(404, b"")
        elif self.web.fault is None or not self.web.fault(self, data):
            self.ranged(data)

    def asked_range(self) -> tuple[int, int] | None:
        """First and last byte, where a range is asked for that is to be given."""
        matched = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if matched is None or self.headers.get("If-Range", self.web.tag) != self.web.tag:
            return None
        first, most = int(matched[1]), self.web.most_bytes
        return first, min(int(matched[2] or 1 << 62), (first // most + 1) * most - 1)

    def ranged(self, data: bytes | Sparse) -> None:
        size = len(data) if isinstance(data, bytes) else data.size_bytes
        asked = self.asked_range()
        if asked is None:
            self.answer(200, piece(data, 0, size), ETag=self.web.tag)
        elif asked[0] >= size:
            self.answer(416, b"", **{"Content-Range": f"bytes */{size}"})
        else:
            first, last = asked[0], min(asked[1], size - 1)
            stated = f"bytes {first}-{last}/{size}"
            self.answer(206, piece(data, first, last - first + 1), ETag=self.web.tag, **{"Content-Range": stated})

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.head(status, **{"Content-Length": str(len(body)), **headers})
        self.send(body)

    def head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, body: bytes) -> bool:
        """Whether somebody still listens."""
        self.web.sent_bytes += len(body)  # before: who gets the last byte may look at once
        try:
            self.wfile.write(body)
        except OSError:
            self.web.sent_bytes -= len(body)
            self.close_connection = True
            return False
        return True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def piece(data: bytes | Sparse, offset: int, length: int) -> bytes:
    return data[offset : offset + length] if isinstance(data, bytes) else data.read(offset, length)


@contextmanager
def ranges(
    files: Mapping[str, bytes | Sparse],
    fault: Fault | None = None,
    tls: ssl.SSLContext | None = None,
    most_bytes: int = 1 << 62,
) -> Iterator[Ranges]:
    web = Ranges(files, fault=fault, most_bytes=most_bytes)
    server = _Server(("127.0.0.1", 0), type("_Handler", (Handler,), {"web": web}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    web.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a connection that a test keeps would be waited for

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that leaves is no event."""


# What a server can get wrong.


def ignoring_ranges(handler: Handler, data: bytes | Sparse) -> bool:
    assert isinstance(data, bytes)
    handler.answer(200, data, ETag=handler.web.tag)
    return True


def another_place(handler: Handler, data: bytes | Sparse) -> bool:
    """Sends the beginning, whatever was asked for, and says so."""
    assert isinstance(data, bytes)
    handler.answer(206, data[:100], **{"Content-Range": f"bytes 0-99/{len(data)}"})
    return True


def a_little_before(handler: Handler, data: bytes | Sparse) -> bool:
    """Begins one byte before what was asked for."""
    assert isinstance(data, bytes)
    first, last = handler.asked_range() or (0, len(data) - 1)
    handler.answer(206, data[first - 1 : last + 1], **{"Content-Range": f"bytes {first - 1}-{last}/{len(data)}"})
    return True


def a_little_more(handler: Handler, data: bytes | Sparse) -> bool:
    """Ends one byte after what was asked for."""
    assert isinstance(data, bytes)
    first, last = handler.asked_range() or (0, len(data) - 2)
    handler.answer(206, data[first : last + 2], **{"Content-Range": f"bytes {first}-{last + 1}/{len(data)}"})
    return True


def without_place(handler: Handler, data: bytes | Sparse) -> bool:
    assert isinstance(data, bytes)
    handler.answer(206, data[:100])
    return True


def compressed(handler: Handler, data: bytes | Sparse) -> bool:
    handler.answer(200, b"\x1f\x8b" + bytes(100), **{"Content-Encoding": "gzip"})
    return True


def a_page(handler: Handler, data: bytes | Sparse) -> bool:
    handler.answer(200, b"<html>Log in to the network of this hotel</html>", **{"Content-Type": "text/html"})
    return True


def a_long_page(handler: Handler, data: bytes | Sparse) -> bool:
    handler.answer(200, b"<p>please log in</p>" * 200_000, **{"Content-Type": "text/html"})
    return True


def redirecting(handler: Handler, data: bytes | Sparse) -> bool:
    handler.answer(302, b"", Location=f"http://127.0.0.1:9{handler.path}")
    return True


def unsatisfied(handler: Handler, data: bytes | Sparse) -> bool:
    handler.answer(416, b"")
    return True


def never_ending(handler: Handler, data: bytes | Sparse) -> bool:
    handler.head(200, Connection="close")
    while handler.send(bytes(65_536)):
        pass
    return True


def endless_head(handler: Handler, data: bytes | Sparse) -> bool:
    while handler.send(b"HTTP/1.1 100 Continue\r\nX: " + b"y" * 60_000 + b"\r\n\r\n"):
        pass
    return True


def shorter_than_stated(handler: Handler, data: bytes | Sparse) -> bool:
    """Says that it sends all that was asked for, and ends in the middle."""
    assert isinstance(data, bytes)
    first, last = handler.asked_range() or (0, len(data) - 1)
    last = min(last, len(data) - 1)
    length = last - first + 1
    handler.head(206, **{"Content-Length": str(length), "Content-Range": f"bytes {first}-{last}/{len(data)}"})
    handler.send(data[first : first + length // 2])
    handler.close_connection = True
    return True


def ranges_of_a_byte(handler: Handler, data: bytes | Sparse) -> bool:
    """Gives the first byte of what is asked for, and says so."""
    assert isinstance(data, bytes)
    first, _ = handler.asked_range() or (0, 0)
    handler.answer(206, data[first : first + 1], **{"Content-Range": f"bytes {first}-{first}/{len(data)}"})
    return True


def empty(handler: Handler, data: bytes | Sparse) -> bool:
    """Says that it sends all, and sends nothing."""
    assert isinstance(data, bytes)
    handler.head(200, **{"Content-Length": str(len(data))})
    handler.close_connection = True
    return True
