"""The server of a stronger model as a process of its own that can be killed, and the record of what reached it.

`ModelServer.questions` reads the record back: every byte that came in over all lives of the process, so also what came from
an agent that was killed while it asked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.mosquitto import free_port

_REQUEST: Final = re.compile(rb"(?=POST /v1/chat/completions HTTP/1\.1\r\n)")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class ModelServer:
    """`tests.escalation.server` on one port; `start` takes the faults that it answers with before every answer is good."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._record = folder / "asked"
        self._record.touch()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ModelServer:
        self.start(())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """The base URL to configure."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self, faults: Sequence[str]) -> None:
        """Start the process, without waiting until it listens."""
        command = (sys.executable, "-m", "tests.escalation.server", "--port", str(self.port), "--record", str(self._record))
        self._process = subprocess.Popen((*command, *faults), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """End the process at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def questions(self) -> list[tuple[str, bytes]]:
        """Every question that came whole: its id and the exact bytes of the request's body."""
        found = []
        for request in _REQUEST.split(self._record.read_bytes())[1:]:
            head, _, rest = request.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if length is not None and len(rest) >= int(length[1]):
                body = rest[: int(length[1])]
                found.append((str(json.loads(json.loads(body)["messages"][-1]["content"])["id"]), body))
        return found
