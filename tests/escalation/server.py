"""A server for chat completions with every fault of `faults`, on a free loopback port, in a thread or as a process of its own.

Each request takes the next fault of the script; when that is used up, every answer is good. What it receives is kept to the
byte, for tests that look for what must never leave. As a process:

    python -m tests.escalation.server [--port N] [--record FILE] [--cert FILE --key FILE] [FAULT...]

prints its port on the first line, appends every byte that it receives to FILE as it comes, and ends when its input does.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.escalation.certificates import Identity
from tests.escalation.faults import FAULTS, Exchange, Seen

MAX_HEAD_BYTES = 65_536


class FaultServer:
    """Listens from its making on, until `close`. As a context manager it closes itself."""

    host = "127.0.0.1"

    def __init__(
        self,
        *script: str,
        port: int = 0,
        identity: Identity | None = None,
        client_ca: Path | None = None,
        record: Path | None = None,
        handshake: bool = True,
    ) -> None:
        self.script = deque(script)
        self.seen: list[Seen] = []
        self.connections = 0
        self._identity, self._client_ca = identity, client_ca
        self._record = record
        self._handshake = handshake
        self._received: list[bytearray] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((self.host, port))
        self._listener.settimeout(0.1)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The base URL to configure."""
        return f"http{'s' if self._identity else ''}://{self.host}:{self.port}/v1"

    @property
    def received(self) -> bytes:
        """Every byte that came in, after decryption, connection after connection."""
        with self._lock:
            return b"".join(self._received)

    def close(self) -> None:
        """Close the port and end every connection."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait for a connection
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type] # any callable of ours
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                raw, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, raw)

    def _serve(self, raw: socket.socket) -> None:
        # A client that gives up, or one that does not believe our certificate, is what many tests are about.
        with raw, suppress(OSError):
            raw.settimeout(10)
            if not self._handshake:
                self._stopping.wait()
                return
            wire = self._encrypted(raw)
            with wire:
                seen = self._read(wire)
                if seen is None:
                    return
                with self._lock:
                    self.seen.append(seen)
                    fault = self.script.popleft() if self.script else "good"
                name, _, argument = fault.partition(":")
                FAULTS[name](Exchange(wire, seen, argument, self._stopping))

    def _encrypted(self, raw: socket.socket) -> socket.socket:
        if self._identity is None:
            return raw
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._identity.cert_file, self._identity.key_file)
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca)
        return context.wrap_socket(raw, server_side=True)

    def _read(self, wire: socket.socket) -> Seen | None:
        """One request; None if the client ended before it was whole, or if the next fault answers before it is."""
        kept = bytearray()
        with self._lock:
            self._received.append(kept)
        data = b""
        while b"\r\n\r\n" not in data and len(data) < MAX_HEAD_BYTES:
            portion = self._take(wire, kept)
            if not portion:
                return None
            data += portion
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if self.script and self.script[0] == "early":
            self.script.popleft()
            wire.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            return None
        while len(body) < int(headers.get("content-length", "0")):
            portion = self._take(wire, kept)
            if not portion:
                return None
            body += portion
        return Seen(method, target, headers, body)

    def _take(self, wire: socket.socket, kept: bytearray) -> bytes:
        portion = wire.recv(65_536)
        with self._lock:
            kept += portion
            if self._record is not None:
                with self._record.open("ab") as file:
                    file.write(portion)
        return portion


def main(arguments: Sequence[str]) -> None:
    """Run as a process until standard input ends."""
    parser = argparse.ArgumentParser(prog="tests.escalation.server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("script", nargs="*")
    given = parser.parse_args(arguments)
    identity = Identity(given.cert, given.key) if given.cert else None
    with FaultServer(*given.script, port=given.port, identity=identity, record=given.record) as server:
        print(server.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
