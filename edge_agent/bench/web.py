"""One process that serves a folder on loopback, as a web server serves a repository; started by `install`.

It prints its port, and ends with its standard input. Rules: one byte range a request (RFC 9110, section 14), regular files
below the folder, names that were written for it; nothing else is asked of it.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Handler(BaseHTTPRequestHandler):
    """GET of a file, or of a part of it."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: object, folder: Path) -> None:
        self._folder = folder
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as the server gave them

    def do_GET(self) -> None:
        """Answer with the file, as much of it as was asked for."""
        path = self._folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_response(HTTPStatus.NOT_FOUND)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = path.stat().st_size
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(size, int(asked[2]) + 1) - 1 if asked and asked[2] else size - 1
        self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("ETag", f'"{size:x}"')
        self.end_headers()
        self.wfile.flush()
        with path.open("rb") as file:
            self.connection.sendfile(file, first, last + 1 - first)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the bench prints figures alone."""


def main(arguments: Sequence[str]) -> int:
    """Serve the folder that is named until standard input ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, folder=Path(arguments[0])))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
