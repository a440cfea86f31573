"""The courier, with real servers: one exchange at a time, and whoever asks waits for nothing."""

from __future__ import annotations

import socket
import threading

import pytest

from edge_agent.clock import SystemClock
from edge_agent.update import courier
from edge_agent.update.courier import MAX_BODY_BYTES, Courier, Reply, Request
from tests.deadline import eventually
from tests.update.server import answering


def _reply(asking: Courier, url: str, body: bytes | None = None) -> Reply:
    asking.send(Request(method="GET" if body is None else "POST", url=url, body=body))
    found: list[Reply] = []

    def taken() -> bool:
        reply = asking.take()
        if reply is not None:
            found.append(reply)
        return bool(found)

    eventually(taken)
    return found[0]


def test_a_reply_is_what_the_server_said() -> None:
    asking = Courier(SystemClock())
    answer = b'HTTP/1.1 429 Slow down\r\nETag: "x"\r\nRetry-After: 120\r\nContent-Length: 2\r\n\r\n{}'
    with answering(lambda connection: connection.sendall(answer)) as url:
        assert _reply(asking, url) == Reply(status=429, body=b"{}", tag='"x"', retry_after_s=120.0)
    assert not asking.is_busy


@pytest.mark.parametrize("waits", [b"soon", b"-1", b"1e9", b"Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_pause_that_cannot_be_read_was_not_asked_for(waits: bytes) -> None:
    asking = Courier(SystemClock())
    answer = b"HTTP/1.1 503 No\r\nRetry-After: " + waits + b"\r\nContent-Length: 0\r\n\r\n"
    with answering(lambda connection: connection.sendall(answer)) as url:
        assert _reply(asking, url).retry_after_s == 0.0


def test_whoever_asks_does_not_wait_for_a_server_that_is_silent() -> None:
    silent = threading.Event()
    asking = Courier(SystemClock())

    def keep_silent(connection: socket.socket) -> None:
        silent.wait(60)

    with answering(keep_silent) as url:
        asking.send(Request(url=url))
        assert asking.take() is None
        assert asking.is_busy
        with pytest.raises(ValueError, match="one exchange"):
            asking.send(Request(url=url))
        asking.close()
        assert not asking.is_busy
        silent.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1) + b"x" * (MAX_BODY_BYTES + 1),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (courier.MAX_BYTES + 1),
    ],
)
def test_what_goes_wrong_is_a_reply_without_a_status(answer: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(answer)

    asking = Courier(SystemClock())
    with answering(talk) as url:
        reply = _reply(asking, url, b"{}")
    assert reply.status == 0
    assert reply.problem


def test_a_server_that_is_not_there_is_a_reply_too() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    assert "refused" in _reply(Courier(SystemClock()), f"http://127.0.0.1:{port}/").problem


def test_a_system_without_threads_is_a_reply_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    assert "thread" in _reply(Courier(SystemClock()), "http://127.0.0.1:1/").problem
