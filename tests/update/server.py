"""A web server on loopback for a simulated repository, and one that answers with any bytes at any pace."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

State = dict[str, bytes]


class Web:
    """Serves `files`, which tests exchange, and notes what was asked for."""

    def __init__(self, files: State) -> None:
        self.files = files
        self.asked: list[str] = []
        self.url = ""


@contextmanager
def served(files: State) -> Iterator[Web]:
    web = Web(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/")
            web.asked.append(path)
            data = web.files.get(path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that takes one connection, reads a request's beginning and hands the connection to `answer`; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(10)

    def run() -> None:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(10)
            try:
                connection.recv(65536)
                answer(connection)
            except OSError:
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()
        thread.join()
