"""Small exchanges with one web server, each in a thread of its own, so that whoever asks never waits for a name or a server.

Rules: one exchange at a time. It has one deadline and an allowance of bytes (`exchange`); only the look-up of a name may last
longer, which keeps its thread and nobody else. Whatever goes wrong is a reply without a status, in words.
"""

from __future__ import annotations

import re
import threading

from msgspec import Struct

from edge_agent.clock import Clock
from edge_agent.config.settings import TlsSettings
from edge_agent.errors import LinkError
from edge_agent.update.exchange import Answer, Meter, Web

EXCHANGE_S = 10.0
MAX_BODY_BYTES = 262_144
MAX_BYTES = 524_288
"""Of an answer with all that stands around its body."""
MAX_RETRY_AFTER_S = 86_400.0
_SECONDS = re.compile(r"[0-9]{1,9}")


class Request(Struct, frozen=True, kw_only=True):
    """What is asked. `body` is JSON."""

    method: str = "GET"
    url: str
    headers: dict[str, str] = {}
    body: bytes | None = None


class Reply(Struct, frozen=True, kw_only=True):
    """What came back. `status` is 0 where nothing did; `problem` says why."""

    status: int = 0
    body: bytes = b""
    tag: str = ""
    retry_after_s: float = 0.0
    problem: str = ""


class Courier:
    """Asks one server. One owner."""

    def __init__(
        self, clock: Clock, *, tls: TlsSettings | None = None, authorization_file: str = "", authorization_scheme: str = ""
    ) -> None:
        self._clock = clock
        self._tls = tls
        self._authorization = (authorization_file, authorization_scheme)
        self._errand: _Errand | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a reply was not taken yet."""
        return self._errand is not None

    def send(self, request: Request) -> None:
        """Begin an exchange; there must be none."""
        if self._errand is not None:
            raise ValueError("one exchange at a time")
        web = Web(self._clock, Meter(MAX_BYTES), self._tls, *self._authorization)
        self._errand = _Errand(web, request)
        try:
            self._errand.start()
        except RuntimeError as error:  # the system has no thread left
            self._errand.reply = Reply(problem=str(error))

    def take(self) -> Reply | None:
        """The reply of the exchange under way; None while there is none."""
        errand = self._errand
        if errand is None or errand.is_alive():
            return None
        self._errand = None
        return errand.reply

    def close(self) -> None:
        """Forget the exchange under way. Its thread ends by its deadline, and nothing waits for it."""
        self._errand = None


class _Errand(threading.Thread):
    """One exchange."""

    def __init__(self, web: Web, request: Request) -> None:
        super().__init__(name="update-courier", daemon=True)
        self._web = web
        self._request = request
        self.reply = Reply(problem="the exchange ended without a reply")

    def run(self) -> None:
        """See `threading.Thread`."""
        request = self._request
        headers = {"Accept": "application/hal+json, application/json", **request.headers}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = self._web.ask(request.method, request.url, EXCHANGE_S, headers, request.body)
            try:
                self.reply = _reply(answer)
            finally:
                answer.close()
        except LinkError as error:
            self.reply = Reply(problem=str(error))
        finally:
            self._web.close()


def _reply(answer: Answer) -> Reply:
    """Raises LinkError."""
    body = bytearray()
    while part := answer.read(MAX_BODY_BYTES + 1 - len(body)):
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise LinkError(f"{answer.name}: the answer is longer than {MAX_BODY_BYTES} bytes")
    waits = answer.header("Retry-After")
    return Reply(
        status=answer.status,
        body=bytes(body),
        tag=answer.header("ETag"),
        retry_after_s=min(float(waits), MAX_RETRY_AFTER_S) if _SECONDS.fullmatch(waits) else 0.0,
    )
