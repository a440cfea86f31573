"""One GET: counted, bounded, on a connection that is kept, whatever the server does."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import LinkError
from edge_agent.update.exchange import Answer, Meter, Web
from edge_agent.update.ranged import Ranged
from tests.journals import SetClock
from tests.update.ranges import compressed, endless_head, ranges
from tests.update.server import answering

MANY = 1 << 30


def web(max_bytes: int = MANY, authorization_file: str = "") -> tuple[Web, Meter]:
    meter = Meter(max_bytes)
    return Web(SystemClock(), meter, authorization_file=authorization_file), meter


def body(asking: Web, url: str, timeout_s: float = 10.0) -> bytes:
    answer = asking.get(url, timeout_s)
    data = b""
    while part := answer.read(1 << 20):
        data += part
    answer.close()
    return data


def rest(answer: Answer) -> bytes:
    return b"".join(iter(lambda: answer.read(1 << 20), b""))


def test_a_meter_says_when_more_came_than_may() -> None:
    meter = Meter(3)
    meter.take(3)
    assert not meter.is_full
    with pytest.raises(LinkError, match="more came than the 3 bytes"):
        meter.take(1)
    assert meter.is_full
    assert meter.received_bytes == 4


def test_one_connection_serves_one_request_after_the_other_and_every_byte_counts() -> None:
    asking, meter = web()
    with ranges({"a": b"a" * 100_000, "b": b"b", "c%09%0Ad": b"c"}) as server:
        assert body(asking, f"{server.url}/a") == b"a" * 100_000
        assert body(asking, f"{server.url}/c\t\nd") == b"c"
        assert body(asking, f"{server.url}/b") == b"b"
        asking.close()
        assert len({request.connection for request in server.asked}) == 1
        assert meter.received_bytes > server.sent_bytes  # heads too


def test_an_answer_without_a_body_leaves_the_connection_to_the_next() -> None:
    asking, _ = web()
    with ranges({"b": b"b"}) as server:
        missing = asking.get(f"{server.url}/a", 10.0)
        missing.close()
        assert missing.status == 404
        assert body(asking, f"{server.url}/b") == b"b"
        asking.close()
        assert len({request.connection for request in server.asked}) == 1


def test_an_answer_that_was_not_read_to_its_end_takes_its_connection_with_it() -> None:
    asking, _ = web()
    with ranges({"a": b"a" * 100_000, "b": b"b"}) as server:
        answer = asking.get(f"{server.url}/a", 10.0)
        answer.read(10)
        answer.close()
        answer.close()
        assert body(asking, f"{server.url}/b") == b"b"
        asking.close()
        assert len({request.connection for request in server.asked}) == 2


def test_a_connection_that_the_server_ended_meanwhile_is_opened_again() -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    thread = threading.Thread(target=serve)
    thread.start()
    asking, _ = web()
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/x"
        assert [body(asking, url), body(asking, url)] == [b"ok", b"ok"]
    finally:
        asking.close()
        thread.join()
        listening.close()


def test_no_more_is_received_than_may_be() -> None:
    asking, meter = web(max_bytes=100_000)
    with ranges({"a": b"a" * 1_000_000}) as server, pytest.raises(LinkError, match="more came than"):
        body(asking, f"{server.url}/a")
    assert meter.received_bytes < 200_000


def test_a_head_without_end_is_left() -> None:
    asking, meter = web()
    with ranges({"a": b""}, endless_head) as server, pytest.raises(LinkError, match="head is longer"):
        asking.get(f"{server.url}/a", 10.0)
    assert meter.received_bytes < 200_000


def test_a_compressed_answer_is_none() -> None:
    asking, _ = web()
    with ranges({"a": b""}, compressed) as server, pytest.raises(LinkError, match="compressed"):
        asking.get(f"{server.url}/a", 10.0)


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nA\r\n"])
def test_an_answer_that_ends_before_its_stated_length_is_said(framing: bytes) -> None:
    with answering(lambda line: line.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"half")) as url:
        answer = web()[0].get(f"{url}/x", 10.0)
        with pytest.raises(LinkError):
            rest(answer)
        answer.close()


def test_the_deadline_is_one_for_all_and_is_renewed_by_the_reader() -> None:
    clock = SetClock(100.0)
    asking = Web(clock, Meter(MANY))
    with ranges({"x": bytes(200_000)}) as server:
        answer = asking.get(f"{server.url}/x", 10.0)
        assert answer.read(2) == bytes(2)
        clock.time_s += 11.0
        with pytest.raises(LinkError, match="not whole within"):
            rest(answer)
        answer.renew(10.0)
        assert rest(answer)
        answer.close()


def test_an_authorization_is_read_anew_for_each_request(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("TargetToken one\n")
    asking, _ = web(authorization_file=str(secret))
    with ranges({"a": b"a"}) as server:
        body(asking, f"{server.url}/a")
        secret.write_text("TargetToken two\n")
        body(asking, f"{server.url}/a")
        assert [request.authorization for request in server.asked] == ["TargetToken one", "TargetToken two"]
        secret.unlink()
        with pytest.raises(LinkError, match="No such file"):
            asking.get(f"{server.url}/a", 10.0)
        asking.close()


def test_an_authorization_may_have_its_scheme_from_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("abc\n")
    asking = Web(SystemClock(), Meter(MANY), authorization_file=str(secret), authorization_scheme="TargetToken")
    with ranges({"a": b"a"}) as server:
        body(asking, f"{server.url}/a")
        assert server.asked[0].authorization == "TargetToken abc"
    asking.close()


def test_a_secret_that_no_header_may_hold_is_not_quoted(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("very\nhidden\n")
    asking, _ = web(authorization_file=str(secret))
    with ranges({"a": b"a"}) as server:
        with pytest.raises(LinkError, match="more than one line") as caught:
            asking.get(f"{server.url}/a", 10.0)
        assert "hidden" not in str(caught.value)


def test_another_method_sends_its_body() -> None:
    asked: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with server, server.accept()[0] as connection:
            data = b""
            while not data.endswith(b"{}"):
                data += connection.recv(65_536)
            asked.append(data)
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=run)
    thread.start()
    asking, _ = web()
    url = f"http://127.0.0.1:{server.getsockname()[1]}/feedback"
    reply = asking.ask("POST", url, 10.0, {"Content-Type": "application/json"}, b"{}")
    assert reply.status == 201
    reply.close()
    asking.close()
    thread.join()
    assert asked[0].startswith(b"POST /feedback HTTP/1.1")
    assert b"Content-Length: 2" in asked[0]


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "x", "http://", "http://127.0.0.1:port/x", "https://[::1/x", "file:///etc/hostname"]
)
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(LinkError, match=r"not an address|Invalid|port"):
        web()[0].get(url, 1.0)


def test_an_address_that_answers_nothing_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ranges({"x": b"bytes"}) as server:
        port = int(server.url.rpartition(":")[2])
        callers = [socket.socket() for _ in range(4)]  # more than wait in its queue: whoever comes after them is not heard
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        unknown: list[tuple[object, ...]] = [(97, socket.SOCK_STREAM, 6, "", ("::1", 1, 0, 0))]
        addresses = (full.getsockname(), ("127.0.0.1", port))
        found = unknown + [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **named: found)
        assert body(web()[0], f"http://releases.example:{port}/x", 1.0) == b"bytes"
        for caller in callers:
            caller.close()


def test_what_may_open_a_file_to_anyone_stands_in_no_message(tmp_path: Path) -> None:
    told = []
    for name in ("http://user:word@127.0.0.1:1/a.tar?key=word&a@b/c", "ftp://user:word@host/?word", "http://[::1/?word"):
        with pytest.raises(LinkError) as failed:
            web()[0].get(name, 1.0)
        told.append(str(failed.value))
        with pytest.raises(LinkError) as failed:
            Ranged(web()[0], name).read(0, 1, 1.0)
        told.append(str(failed.value))
    assert not [text for text in told if "word" in text]
    assert told[0].startswith("http://127.0.0.1:1/a.tar: ")


def test_what_a_server_says_in_an_error_is_short_and_printable() -> None:
    with answering(lambda line: line.sendall(b"\x1b[31m" + b"x" * 5_000 + b"\r\n\r\n")) as url:
        with pytest.raises(LinkError) as told:
            web()[0].get(f"{url}/x", 5.0)
        assert str(told.value).isprintable()
        assert len(str(told.value)) < 300
