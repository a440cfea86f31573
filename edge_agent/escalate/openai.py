"""The `openai` backend: any server that answers `POST <url>/chat/completions`, on the same machine, in the plant, or far away.

Rules: see `edge_agent.escalate.contract`, `http` for the exchange and `chat` for what is said. One request a question and
attempt, with the question's pseudonym as `Idempotency-Key`; the key is read from its file for each request and stands nowhere
else. When a server does not take a part of a request, that part is left out from then on, for the life of this object, and the
question is asked again by its owner: the bytes of that next request are other ones, and are logged as such before they leave.
"""

from __future__ import annotations

import re

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.config.endpoint import header_problem, parse_endpoint, url_problem
from edge_agent.config.settings import OpenAiSettings
from edge_agent.credentials import read_secret
from edge_agent.egress.question import Question
from edge_agent.errors import ConfigError, TryLaterError
from edge_agent.escalate.chat import (
    Dialect,
    body_of,
    dialects,
    first_dialect,
    money_of,
    read_completion,
    read_problem,
    refusal,
    simpler,
)
from edge_agent.escalate.contract import Reply, Request, Usage
from edge_agent.escalate.http import HttpAnswer, HttpClient, HttpLimits

LEAST_BYTES_A_TOKEN = 2
"""Of a request's body, JSON with its quotes escaped: no tokenizer in use makes more tokens of it than one for two bytes."""
MAX_KEY = 4_096
_HEAD_BYTES = 1_024
"""At most taken by the request line and the headers that every request has, without host, target, key and configured headers."""
_KEY = re.compile(r"[!-~]+")


class OpenAiBackend:
    """Asks one server. See `contract.Backend`."""

    def __init__(self, settings: OpenAiSettings, clock: Clock) -> None:
        problem = url_problem(settings.url, allow_http=settings.allow_http)
        problems = [f"escalation.openai.url: {problem}"] if problem else []
        for name, value in settings.headers.items():
            if problem := header_problem(name, value):
                problems.append(f"escalation.openai.headers: `{name}` {problem}")
        if problems:
            raise ConfigError(tuple(problems))
        endpoint = parse_endpoint(settings.url)
        limits = HttpLimits(
            connect_timeout_s=settings.connect_timeout_s,
            timeout_s=settings.timeout_s,
            max_answer_bytes=settings.max_answer_bytes,
        )
        self._settings = settings
        self._clock = clock
        self._target = endpoint.target("chat/completions")
        self._http = HttpClient(endpoint, limits, settings.tls, clock, allow_http=settings.allow_http)
        self._dialect = first_dialect(settings)
        configured = sum(len(name) + len(value) + 4 for name, value in settings.headers.items())
        self._head_bytes = (
            _HEAD_BYTES + len(endpoint.host) + len(self._target) + configured + (MAX_KEY if settings.key_file else 0)
        )

    @property
    def dialect(self) -> Dialect:
        """What of the interface this server was found to take, as far as is known."""
        return self._dialect

    def encode(self, question: Question) -> tuple[bytes, Usage]:
        """See `contract.Backend.encode`. The usage is for TCP's payload without TLS, and for tokens by length."""
        body = body_of(question, self._settings, self._dialect)
        prompt_tokens, answer_tokens = -(-len(body) // LEAST_BYTES_A_TOKEN), self._settings.max_answer_tokens
        return body, Usage(
            tokens=prompt_tokens + answer_tokens,
            bytes=len(body) + self._head_bytes,
            money=money_of(self._settings, prompt_tokens, answer_tokens),
        )

    def send(self, request: Request) -> Reply:
        """See `contract.Backend.send`. The reply, always: this server answers at once or not at all."""
        key = self._key()
        headers = self._headers(request, key)
        answer = self._http.post(self._target, headers, request.body)
        if answer.status != 200:
            raise self._refusal(answer, key)
        completion = read_completion(answer.body)
        return Reply(
            id=request.id,
            text=completion.text,
            model=completion.model,
            usage=self._usage(request, headers, completion.prompt_tokens, completion.answer_tokens),
        )

    def bodies(self, question: Question) -> list[bytes]:
        """What `encode` may give, before and after a server refused parts of requests; without repetitions."""
        return list(dict.fromkeys(body_of(question, self._settings, dialect) for dialect in dialects(self._settings)))

    def head(self, request: Request) -> str:
        """The request line and the headers that `send` would send, without what may be secret. Nothing is sent or read."""
        hidden = dict.fromkeys(self._settings.headers, "(from the configuration)")
        key = "(from key_file)" if self._settings.key_file else ""
        head = self._http.head(self._target, {**self._headers(request, key), **hidden}, request.body)
        query = self._target.partition("?")[2]
        return head.replace(f"?{query} ", "?(query from the configuration) ", 1) if query else head

    def collect(self) -> list[Reply]:
        """See `contract.Backend.collect`: nothing ever comes later."""
        return []

    def _headers(self, request: Request, key: str) -> dict[str, str]:
        headers = {
            **self._settings.headers,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"edge-agent/{__version__}",
            "Idempotency-Key": request.id,
        }
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _key(self) -> str:
        if not self._settings.key_file:
            return ""
        try:
            key = read_secret(self._settings.key_file).strip()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise TryLaterError("credentials", f"{self._settings.key_file} cannot be read: {why}") from error
        if not _KEY.fullmatch(key) or len(key) > MAX_KEY:
            raise TryLaterError("credentials", f"{self._settings.key_file} holds no key: one line of visible ASCII characters")
        return key

    def _refusal(self, answer: HttpAnswer, key: str) -> Exception:
        problem = read_problem(answer.body)
        dialect = simpler(self._dialect, self._settings, answer.status, problem)
        if dialect is not None:
            self._dialect = dialect
            left = f"{dialect.format}, {dialect.limit}" + ("" if dialect.temperature else ", no temperature")
            return TryLaterError("format-unsupported", f"the server does not take all of a request; what is left: {left}", 0.0)
        return refusal(answer.status, answer.headers, problem, key, self._clock.now_s())

    def _usage(
        self, request: Request, headers: dict[str, str], prompt_tokens: int | None, answer_tokens: int | None
    ) -> Usage | None:
        """What it took; None where the server does not say, so that what was set aside for it stays spent."""
        if prompt_tokens is None or answer_tokens is None:
            return None
        head = len(self._target) + len(self._settings.url) + sum(len(name) + len(value) + 4 for name, value in headers.items())
        return Usage(
            tokens=prompt_tokens + answer_tokens,
            bytes=len(request.body) + head,
            money=money_of(self._settings, prompt_tokens, answer_tokens),
        )
