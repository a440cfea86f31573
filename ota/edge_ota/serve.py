"""Serves a repository over HTTP for trials: a fleet is served by any web server or object store.

    edge-ota serve REPO [--host 127.0.0.1] [--port 8080]

Rules: reads only, below the folder, no listings, no links followed out of it; one byte range a request (RFC 9110, section 14),
with an ETag of size and time for `If-Range`. No encryption and no limits: not for a network that is not yours.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from edge_ota.repository import TIMESTAMP_NAME
from edge_ota.signing import OperatorError
from edge_ota.task import told
from edge_ota.usage import described

_CHUNK_BYTES = 64 << 10
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of regular files."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: object, folder: Path) -> None:
        self._folder = folder.resolve()
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as the server gave them

    def do_GET(self) -> None:
        """A file, or a part of it."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """What GET would say before the bytes."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        opened = self._open()
        if opened is None:
            self._say(HTTPStatus.NOT_FOUND, 0)
            return
        with opened as file:
            facts = os.fstat(file.fileno())
            tag = f'"{facts.st_size:x}-{facts.st_mtime_ns:x}"'
            asked = self.headers.get("Range") if body else None  # a range is of a GET alone (RFC 9110, 14.2)
            whole = asked is None or self.headers.get("If-Range", tag) != tag
            part = None if whole else _part(asked or "", facts.st_size)
            if part is not None and part[0] >= part[1]:
                self._say(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, tag, f"bytes */{facts.st_size}")
                return
            start, end = part or (0, facts.st_size)
            status = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
            self._say(status, end - start, tag, None if part is None else f"bytes {start}-{end - 1}/{facts.st_size}")
            if body:
                file.seek(start)
                self._send(file, end - start)

    def _open(self) -> BinaryIO | None:
        """The file that is asked for; None where there is none, or none that is served."""
        try:
            path = (self._folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
            hidden = path.name.startswith(".")  # half written
            return path.open("rb") if path.is_relative_to(self._folder) and path.is_file() and not hidden else None
        except (OSError, ValueError):  # a name that no file can have among them
            return None

    def _say(self, status: HTTPStatus, length: int, tag: str | None = None, content_range: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        if tag:
            self.send_header("ETag", tag)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def _send(self, file: BinaryIO, length: int) -> None:
        while length > 0 and (chunk := file.read(min(_CHUNK_BYTES, length))):
            self.wfile.write(chunk)
            length -= len(chunk)


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """(first, one past the last) of what is asked; empty if there is nothing of it; None if it is no single range."""
    match = _RANGE.fullmatch(asked.strip())
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


class Server(ThreadingHTTPServer):
    """One thread a connection. A client that goes away in the middle is no news."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Said in a line, without a traceback."""
        error = sys.exception()
        print(f"{client_address}: {type(error).__name__}", file=sys.stderr)


def server(folder: Path, host: str = "127.0.0.1", port: int = 0) -> Server:
    """A server that is bound and not yet serving; port 0 picks a free one."""
    return Server((host, port), partial(Handler, folder=folder))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command until it is interrupted; returns the exit code."""
    arguments = described("serve", __doc__)
    arguments.add_argument("repository", type=Path, metavar="REPO", help="the repository's folder")
    arguments.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    arguments.add_argument("--port", type=int, default=8080, help="0 picks a free one (8080)")
    options = arguments.parse_args(argv)
    return told("serve", lambda: _serve(options.repository, options.host, options.port))


def _serve(folder: Path, host: str, port: int) -> int:
    if not (folder / TIMESTAMP_NAME).is_file():
        raise OperatorError(f"{folder}: no repository: it has no {TIMESTAMP_NAME}; give the folder that `edge-ota init` made")
    try:
        with server(folder, host, port) as running:
            print(f"http://{host}:{running.server_address[1]}/ serves {folder}; interrupt to end", flush=True)
            running.serve_forever()
    except (OSError, OverflowError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise OperatorError(f"{host}:{port}: cannot be listened on: {why}; choose another --port") from error
    except KeyboardInterrupt:  # whoever reads the line may interrupt before the next one runs
        return 0
    return 0
