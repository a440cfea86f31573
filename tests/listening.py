"""A listening socket for servers that tests write themselves: it accepts in a thread, and ends with its `with` block."""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

POLL_S = 0.05
"""How often a thread looks whether it is to end; also the timeout for sockets that are read in one."""


class Listener(ABC):
    """Listens on loopback from its making on, on a free port or the one given."""

    def __init__(self, port: int = 0) -> None:
        self._server = socket.create_server(("127.0.0.1", port))
        self._server.settimeout(POLL_S)
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(10)
        self._server.close()

    @abstractmethod
    def accepted(self, peer: socket.socket) -> None:
        """A connection came in, on the accepting thread."""

    def serve(self, target: Callable[..., None], *arguments: Any) -> None:
        """Run `target` on a thread that is waited for at the end."""
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                peer, _ = self._server.accept()
            except TimeoutError:
                continue
            self.accepted(peer)
