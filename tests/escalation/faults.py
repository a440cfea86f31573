"""What the server of the tests can do instead of answering well: one function a fault, found by name in `FAULTS`.

A fault gets the connection and the request that came on it. Its name may carry an argument after `:`, such as `status:503`.
Everything that the server says of a question is computed from that question, so that the good answer is good for any of them.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from http.client import responses
from typing import Any

from msgspec import Struct

DRIP_S = 0.05


class Seen(Struct, frozen=True):
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def question(self) -> dict[str, Any]:
        """The question in it: the user's message."""
        found: dict[str, Any] = json.loads(self.document["messages"][-1]["content"])
        return found


class Exchange(Struct, frozen=True):
    """A connection with a request on it. `stopping` is set when the server is to end; `argument` is what follows the name."""

    wire: socket.socket
    seen: Seen
    argument: str
    stopping: threading.Event

    def write(self, data: bytes) -> None:
        """Send these bytes."""
        self.wire.sendall(data)

    def answer(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        """Send a whole answer; `_` in a header's name stands for `-`."""
        self.write(head(status, {"Content-Type": kind, "Content-Length": str(len(body)), **dashed(headers)}) + body)

    def fail(self, status: int, error: dict[str, Any], **headers: str) -> None:
        """Send an error as OpenAI's servers write it."""
        self.answer(json.dumps({"error": error}).encode(), status, **headers)

    def drip(self, data: bytes) -> None:
        """Send these bytes one by one, slowly, as long as anybody listens."""
        for byte in data:
            self.write(bytes([byte]))
            if self.stopping.wait(DRIP_S):
                return

    def wait(self) -> None:
        """Until the client or the server ends."""
        self.wire.settimeout(0.1)
        while not self.stopping.is_set():
            try:
                if not self.wire.recv(1):
                    return
            except TimeoutError:
                continue


def dashed(headers: Mapping[str, str]) -> dict[str, str]:
    """Names of keyword arguments as names of headers."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


def head(status: int, headers: Mapping[str, str], version: str = "HTTP/1.1") -> bytes:
    """A status line and headers."""
    lines = [f"{version} {status} {responses.get(status, 'Odd')}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def examples(seen: Seen) -> list[str]:
    """The true wordings that the question itself gives."""
    return [chunk["example"] for chunk in seen.question["chunks"]]


def completion(texts: list[str] | None, **changes: Any) -> bytes:
    """A chat completion with these sentences. `changes` replace members of the message, or `finish`, or the whole `content`."""
    content = changes.pop("content", None if texts is None else json.dumps({"sentences": texts}))
    finish = changes.pop("finish", "stop")
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "fake-large",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **changes}}],
        "usage": {"prompt_tokens": 700, "completion_tokens": 60, "total_tokens": 760},
    }
    return json.dumps(document).encode()


def _good(exchange: Exchange) -> None:
    exchange.answer(completion(examples(exchange.seen)))


def _reworded(change: Callable[[str], str]) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        exchange.answer(completion([change(text) for text in examples(exchange.seen)]))

    return fault


def _swap_slots(text: str) -> str:
    """The first and the last slot in each other's places."""
    slots = re.findall(r"<[a-z]+:\d+>", text)
    first, last = slots[0], slots[-1]
    return text.replace(first, "\0").replace(last, first).replace("\0", last)


def _status(exchange: Exchange) -> None:
    code, _, headers = exchange.argument.partition(":")
    pairs = dict(pair.split("=", 1) for pair in headers.split(";") if pair)
    exchange.fail(int(code), {"message": f"status {code}", "type": "server_error", "code": None}, **pairs)


def _error(exchange: Exchange) -> None:
    """`error:STATUS:CODE`: an error that names its kind."""
    status, _, code = exchange.argument.partition(":")
    exchange.fail(int(status), {"message": "no", "type": code, "param": None, "code": code})


def _complains(key: str, value: str, message: str, status: int = 400) -> Callable[[Exchange], None]:
    """Refuses a request whose `key` is (or, where it is an object, has as its type) `value`; any value if that is empty."""

    def fault(exchange: Exchange) -> None:
        found = exchange.seen.document.get(key)
        kind = found.get("type") if isinstance(found, dict) else found
        if found is None or (value and kind != value):
            _good(exchange)
        else:
            exchange.fail(status, {"message": message, "type": "invalid_request_error", "param": key, "code": None})

    return fault


def _no_patterns(exchange: Exchange) -> None:
    if "prefixItems" in json.dumps(exchange.seen.document.get("response_format")):
        message = "Invalid schema for response_format 'sentences': 'prefixItems' is not permitted."
        exchange.fail(400, {"message": message, "type": "invalid_request_error", "param": "response_format", "code": None})
    else:
        _good(exchange)


def _echo(exchange: Exchange) -> None:
    """An error that quotes everything it was sent, key and all."""
    said = f"{exchange.seen.headers.get('authorization')} said {exchange.seen.body.decode()}"
    exchange.fail(int(exchange.argument or 500), {"message": said, "type": "server_error", "code": None})


def _drip_head(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000)


def _drip_body(exchange: Exchange) -> None:
    body = completion(examples(exchange.seen))
    exchange.write(head(200, {"Content-Length": str(len(body))}))
    exchange.drip(body)


def _drip_chunks(exchange: Exchange) -> None:
    exchange.write(head(200, {"Transfer-Encoding": "chunked"}))
    exchange.drip(b"1\r\n \r\n" * 10_000)


def _silent(exchange: Exchange) -> None:
    exchange.wait()


def _cut_json(exchange: Exchange) -> None:
    body = completion(examples(exchange.seen))
    exchange.answer(body[: len(body) // 2])


def _cut_body(exchange: Exchange) -> None:
    body = completion(examples(exchange.seen))
    exchange.write(head(200, {"Content-Length": str(len(body))}) + body[: len(body) // 2])


def _reset(exchange: Exchange) -> None:
    _cut_body(exchange)
    # To close a socket that lingers for no time resets the connection.
    exchange.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _close(exchange: Exchange) -> None:
    """No answer at all."""


def _redirect(exchange: Exchange) -> None:
    exchange.answer(b"", 307, Location=exchange.argument)


def _gzip_bomb(exchange: Exchange) -> None:
    exchange.answer(gzip.compress(b" " * 20_000_000), Content_Encoding="gzip")


def _huge(exchange: Exchange) -> None:
    exchange.write(head(200, {"Content-Type": "application/json", "Connection": "close"}))
    while not exchange.stopping.is_set():
        exchange.write(b" " * 65_536)


def _promised_huge(exchange: Exchange) -> None:
    exchange.write(head(200, {"Content-Length": str(10**12)}))
    exchange.wait()


def _huge_head(exchange: Exchange) -> None:
    exchange.write(b"HTTP/1.1 200 OK\r\n")
    while not exchange.stopping.is_set():
        exchange.write(b"X-Filler: " + b"x" * 60_000 + b"\r\n")


def _continue_flood(exchange: Exchange) -> None:
    while not exchange.stopping.is_set():
        exchange.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)


def _continue(exchange: Exchange) -> None:
    exchange.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    _good(exchange)


def _http10(exchange: Exchange) -> None:
    exchange.write(head(200, {"Content-Type": "application/json"}, "HTTP/1.0") + completion(examples(exchange.seen)))


def _chunked(exchange: Exchange) -> None:
    body = completion(examples(exchange.seen))
    exchange.write(head(200, {"Transfer-Encoding": "chunked"}))
    for start in range(0, len(body), 100):
        part = body[start : start + 100]
        exchange.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    exchange.write(b"0\r\n\r\n")


def _chunked_as(chunks: bytes) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        exchange.write(head(200, {"Transfer-Encoding": "chunked"}) + chunks)

    return fault


def _chunked_negative(exchange: Exchange) -> None:
    """A chunk of length -1, which a reader may take for "all there is"."""
    exchange.write(head(200, {"Transfer-Encoding": "chunked"}) + b"-1\r\n")
    while not exchange.stopping.is_set():
        exchange.write(b" " * 65_536)


def _raw(data: bytes) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        exchange.write(data)

    return fault


def _body(body: bytes, kind: str = "application/json") -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        exchange.answer(body, kind=kind)

    return fault


def _message(**changes: Any) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        exchange.answer(completion(examples(exchange.seen), **changes))

    return fault


def _text(exchange: Exchange) -> None:
    """`text:WORDS`: these words as the model's whole text."""
    exchange.answer(completion(None, content=exchange.argument))


def _wrong_kind(exchange: Exchange) -> None:
    exchange.answer(completion(examples(exchange.seen)), kind="text/html")


def _no_usage(exchange: Exchange) -> None:
    document = json.loads(completion(examples(exchange.seen)))
    del document["usage"]
    exchange.answer(json.dumps(document).encode())


FAULTS: Mapping[str, Callable[[Exchange], None]] = {
    "good": _good,
    "number": _reworded(lambda text: text.replace(".", " at 42 .", 1)),
    "foreign-slot": _reworded(lambda text: re.sub(r"<at:\d+>", "<at:9>", text)),
    "missing-slot": _reworded(lambda text: re.sub(r" at <at:\d+>", "", text)),
    "repeated-slot": _reworded(lambda text: re.sub(r"(<at:\d+>)", r"\1 , \1", text)),
    "swapped-slots": _reworded(_swap_slots),
    "text": _text,
    "status": _status,
    "error": _error,
    "echo": _echo,
    "no-patterns": _no_patterns,
    "no-schema": _complains("response_format", "json_schema", "response_format of type json_schema is not supported"),
    "no-format": _complains("response_format", "", "'response_format' is not supported by this model", 404),
    "no-max-tokens": _complains("max_tokens", "", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
    "no-temperature": _complains("temperature", "", "Unsupported value: only the default (1) value is supported."),
    "drip-head": _drip_head,
    "drip-body": _drip_body,
    "drip-chunks": _drip_chunks,
    "silent": _silent,
    "cut-json": _cut_json,
    "cut-body": _cut_body,
    "reset": _reset,
    "close": _close,
    "redirect": _redirect,
    "gzip-bomb": _gzip_bomb,
    "huge": _huge,
    "promised-huge": _promised_huge,
    "huge-head": _huge_head,
    "many-heads": _raw(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: x\r\n" * 200 + b"\r\n"),
    "continue": _continue,
    "continue-flood": _continue_flood,
    "http10": _http10,
    "chunked": _chunked,
    "chunked-garbage": _chunked_as(b"zz\r\n{}\r\n0\r\n\r\n"),
    "chunked-cut": _chunked_as(b"ff\r\n{"),
    "chunked-negative": _chunked_negative,
    "not-http": _raw(b"220 mail.example ESMTP\r\n"),
    "two-lengths": _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "odd-status": _raw(b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n"),
    "html": _body(b"<!DOCTYPE html><title>Log in to the network</title>", "text/html"),
    "no-usage": _no_usage,
    "wrong-kind": _wrong_kind,
    "nan": _body(b'{"choices": [{"message": {"content": "x"}, "logprob": NaN}]}'),
    "deep": _body(b"[" * 30_000 + b"]" * 30_000),
    "not-utf-8": _body(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    "lone-surrogate": _body(b'{"choices": [{"message": {"content": "\\ud800"}}]}'),
    "empty": _body(b""),
    "no-choices": _body(b'{"choices": []}'),
    "error-in-200": _body(b'{"error": {"message": "upstream is busy", "code": 502}}'),
    "choices-wrong": _body(b'{"choices": "none"}'),
    "content-list": _message(content=[{"type": "text", "text": "x"}]),
    "length": _message(finish="length"),
    "filtered": _message(finish="content_filter"),
    "refused": _message(refusal="I will not."),
    "null": _message(content=None),
    "blank": _message(content=" \n "),
}  # fmt: skip
