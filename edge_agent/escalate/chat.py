"""What goes to a server for chat completions and what comes back, as values: the request's body, its cost, the answer's meaning.

Rules: pure. Servers that call themselves compatible differ in what they take: how they are told the form of an answer
(`response_format`), what they call its longest length, whether they take a temperature. A `Dialect` says what of that is used;
it begins with the strictest and is made simpler, step by step, by what a server complains of, never the other way. Texts of a
server are from outside: they are looked at for a few words and handed on only short, printable and without the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.config.settings import OpenAiSettings
from edge_agent.egress.instructions import INSTRUCTIONS, answer_schema
from edge_agent.egress.question import Question, document
from edge_agent.errors import BackendRefusalError, TryLaterError
from edge_agent.escalate.retry_after import retry_after_s

Format: TypeAlias = Literal["json_schema", "json_object", "plain"]

MAX_TOKENS_TOLD = 10_000_000
"""More than this is no count of tokens of one question: it is not believed further."""
MAX_COMPLAINT = 500
"""Characters of an error's text that are looked at: some servers quote the whole request after what they say."""
_SIMPLER: Mapping[Format, Format] = {"json_schema": "json_object", "json_object": "plain"}
_FORMAT_WORDS = ("response_format", "schema", "json_object", "grammar", "structured output", "prefixitems", "pattern", "regex")
_COMPLAINTS = frozenset({400, 404, 422, 500, 501})
"""Statuses with which servers say that they do not take a part of a request."""
_TRY_LATER = frozenset({408, 409, 425, 429})
_ONE_QUESTION = frozenset({406, 412, 416, 422, 451})
"""Final statuses that are about this question; the other ones would meet every question."""
_TOO_LONG = frozenset({"context_length_exceeded", "string_above_max_length", "exceed_context_size_error"})
_FILTERED = frozenset({"content_filter", "content_policy_violation"})


class Dialect(Struct, frozen=True, kw_only=True):
    """What of the interface is used."""

    format: Format = "json_schema"
    patterns: bool = True
    """Whether a schema holds each wording to the pattern of its chunk."""
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True


class Problem(Struct, frozen=True, kw_only=True):
    """What a server says about an error. `code` and `kind` are words of its own, `parameter` what it names as the cause."""

    code: str = ""
    kind: str = ""
    parameter: str = ""
    text: str = ""


class Completion(Struct, frozen=True, kw_only=True):
    """What a server answered: the model's text, which model it names, and the tokens that it says it took."""

    text: str
    model: str
    prompt_tokens: int | None
    answer_tokens: int | None


def first_dialect(settings: OpenAiSettings) -> Dialect:
    """What is tried first: the strictest form, or the one that is configured."""
    return Dialect(format="json_schema" if settings.answer_format == "auto" else settings.answer_format)


def dialects(settings: OpenAiSettings) -> list[Dialect]:
    """Every dialect in which a question may be asked, the one that is tried first in front."""
    forms = [first_dialect(settings)]
    if forms[0].format == "json_schema":
        forms.append(replace(forms[0], patterns=False))
    while settings.answer_format == "auto" and forms[-1].format in _SIMPLER:
        forms.append(replace(forms[-1], format=_SIMPLER[forms[-1].format]))
    warm = [replace(form, limit=limit) for form in forms for limit in ("max_tokens", "max_completion_tokens")]
    return [*warm, *(replace(dialect, temperature=False) for dialect in warm)]


def body_of(question: Question, settings: OpenAiSettings, dialect: Dialect) -> bytes:
    """The body of a request, the same bytes for the same arguments. Raises EgressError for a question that may not leave."""
    request: dict[str, object] = {
        **({"model": settings.model} if settings.model else {}),
        "messages": [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": document(question).decode()},
        ],
        dialect.limit: settings.max_answer_tokens,
        "n": 1,
        "stream": False,
    }
    if dialect.temperature:
        request["temperature"] = 0
    if dialect.format == "json_schema":
        patterns = [chunk.pattern for chunk in question.chunks] if dialect.patterns else ()
        schema = {"name": "sentences", "strict": True, "schema": answer_schema(len(question.chunks), patterns)}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.format == "json_object":
        request["response_format"] = {"type": "json_object"}
    return msgspec.json.encode(request)


def money_of(settings: OpenAiSettings, prompt_tokens: int, answer_tokens: int) -> float:
    """What so many tokens cost by the configured prices."""
    return (prompt_tokens * settings.price_in_per_million + answer_tokens * settings.price_out_per_million) / 1_000_000


def read_problem(body: bytes) -> Problem:
    """What a server says about an error, in whichever of the usual shapes."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem(text=body.decode("utf-8", "replace"))
    if isinstance(found, dict):
        error = found.get("error", found)
        if isinstance(error, dict):
            text = error.get("message") or error.get("detail")
            return Problem(
                code=_word(error.get("code")),
                kind=_word(error.get("type")),
                parameter=_word(error.get("param")),
                text=text if isinstance(text, str) else body.decode("utf-8", "replace"),
            )
    return Problem(text=body.decode("utf-8", "replace"))


def simpler(dialect: Dialect, settings: OpenAiSettings, status: int, problem: Problem) -> Dialect | None:
    """The dialect to go on with when a server complained of a part of this one; None if it complained of something else."""
    if status not in _COMPLAINTS:
        return None
    text = f"{problem.parameter} {problem.code} {problem.kind} {problem.text[:MAX_COMPLAINT]}".lower()
    if dialect.limit == "max_tokens" and "max_completion_tokens" in text:
        return replace(dialect, limit="max_completion_tokens")
    if dialect.temperature and (problem.parameter == "temperature" or ("temperature" in text and "support" in text)):
        return replace(dialect, temperature=False)
    if not any(word in text for word in _FORMAT_WORDS):
        return None
    if dialect.format == "json_schema" and dialect.patterns:
        return replace(dialect, patterns=False)
    if settings.answer_format == "auto" and dialect.format in _SIMPLER:
        return replace(dialect, format=_SIMPLER[dialect.format])
    return None


def refusal(
    status: int, headers: Mapping[str, str], problem: Problem, secret: str, now_s: float
) -> TryLaterError | BackendRefusalError:
    """What a status other than 200 means for the question: ask again later, or never, and whether for every other one too."""
    said = outside_text(problem.text, secret)
    if "insufficient_quota" in (problem.code, problem.kind):
        return BackendRefusalError("insufficient-quota", "the account's quota is used up: raise it or wait for it", breaks=True)
    if status in _TRY_LATER or status >= 500:
        return TryLaterError(f"status-{status}", said, retry_after_s(headers, now_s))
    if status < 300:
        return TryLaterError("bad-answer", f"status {status} says neither that it worked nor that it did not")
    if status < 400:
        where = f"the server sends on to {_host(headers.get('location', ''))}; if that is right, write it into `url`"
        return BackendRefusalError("redirect", where, breaks=True)
    words = {problem.code, problem.kind}
    if status == 413 or words & _TOO_LONG:
        return BackendRefusalError("question-too-long", said)
    if words & _FILTERED:
        return BackendRefusalError("content-filter", said)
    return BackendRefusalError(f"status-{status}", said, breaks=status not in _ONE_QUESTION)


def _host(location: str) -> str:
    try:
        return outside_text(urlsplit(location).hostname or "another path", "")
    except ValueError:
        return "nowhere that can be read"


def read_completion(body: bytes) -> Completion:
    """The model's text out of a server's answer.

    Raises TryLaterError(`bad-answer`) for what is no answer at all, such as the page of a portal or one that was cut;
    BackendRefusalError where the model gave none: `answer-cut`, `content-filter`, `model-refused`, `answer-empty`.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TryLaterError("bad-answer", "the answer is not JSON") from error
    choices = found.get("choices") if isinstance(found, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(found, dict) or not isinstance(choice, dict) or not isinstance(message, dict):
        raise TryLaterError("bad-answer", "the answer is JSON but no chat completion")
    finish = choice.get("finish_reason")
    if finish == "length":
        raise BackendRefusalError("answer-cut", "the answer did not fit into `max_answer_tokens`")
    if finish == "content_filter":
        raise BackendRefusalError("content-filter", "the server's filter held the answer back")
    text = message.get("content")
    if message.get("refusal"):
        raise BackendRefusalError("model-refused", "the model said that it will not answer")
    if text is not None and not isinstance(text, str):
        raise TryLaterError("bad-answer", "the content of the answer is no text")
    if not text or not text.strip():
        raise BackendRefusalError("answer-empty", "the model said nothing")
    usage = found.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Completion(
        text=text,
        model=_word(found.get("model")),
        prompt_tokens=_count(counts.get("prompt_tokens")),
        answer_tokens=_count(counts.get("completion_tokens")),
    )


def outside_text(text: str, secret: str) -> str:
    """A server's words as they may be shown: at most 120 printable characters, without the key that we sent."""
    shown = text.replace(secret, "[key]") if secret else text
    return "".join(c if c.isprintable() else " " for c in shown[:120])


def _count(value: object) -> int | None:
    """A number of tokens, never below zero; None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(min(max(value, 0), MAX_TOKENS_TOLD))


def _word(value: object) -> str:
    return outside_text(value, "") if isinstance(value, str) else ""
