"""The server of the tests does what the tests believe that it does, seen with a client that is not the agent's."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadline import eventually
from tests.escalation.certificates import Authority
from tests.escalation.faults import FAULTS
from tests.escalation.questions import asked
from tests.escalation.server import FaultServer

ROOT = Path(__file__).parents[2]
(EXAMPLE,) = asked().examples
QUESTION = {"chunks": [{"example": EXAMPLE}]}
BODY = json.dumps({"messages": [{"content": json.dumps(QUESTION)}], "max_tokens": 9}).encode()


def ask(port: int, body: bytes = BODY, timeout_s: float = 5.0) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", "/v1/chat/completions", body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def sentence(port: int) -> str:
    status, body = ask(port)
    assert status == 200
    content = json.loads(json.loads(body)["choices"][0]["message"]["content"])
    (found,) = content["sentences"]
    assert isinstance(found, str)
    return found


def read_all(wire: socket.socket) -> bytes:
    """What comes until the end, each portion within the socket's timeout."""
    return b"".join(iter(lambda: wire.recv(65_536), b""))


def test_the_script_is_followed_and_then_every_answer_is_good() -> None:
    with FaultServer("status:503", "status:429:Retry-After=7") as server:
        assert [ask(server.port)[0] for _ in range(3)] == [503, 429, 200]
        assert sentence(server.port) == EXAMPLE
        assert [seen.body for seen in server.seen] == [BODY] * 4
        assert server.received.count(BODY) == 4


def test_wrong_wordings_are_wrong_in_the_way_that_they_are_named_for() -> None:
    with FaultServer("number", "foreign-slot", "missing-slot", "repeated-slot", "swapped-slots") as server:
        number, foreign, missing, repeated, swapped = (sentence(server.port) for _ in range(5))
    slots = re.findall("<[a-z]+:[0-9]+>", EXAMPLE)

    def found(text: str) -> list[str]:
        return re.findall("<[a-z]+:[0-9]+>", text)

    assert re.search(r"\d", re.sub("<[^>]*>", "", number))
    assert set(found(foreign)) - set(slots)
    assert set(slots) - set(found(missing))
    assert len(found(repeated)) > len(slots)
    assert sorted(found(swapped)) == sorted(slots)
    assert found(swapped) != slots


def test_a_reset_reaches_the_client_as_one() -> None:
    with FaultServer("reset") as server, pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        ask(server.port)


@pytest.mark.parametrize("fault", ["silent", "drip-body", "drip-head", "drip-chunks"])
def test_a_slow_server_keeps_the_client_waiting(fault: str) -> None:
    with FaultServer(fault) as server, socket.create_connection(("127.0.0.1", server.port)) as wire:
        wire.sendall(b"POST /v1 HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        eventually(lambda: len(server.seen) == 1)
        wire.settimeout(0.02)
        with pytest.raises(TimeoutError):
            read_all(wire)


def test_every_fault_ends_when_the_server_is_closed() -> None:
    for fault in FAULTS:
        argument = ":500" if fault in ("status", "error") else ""
        server = FaultServer(f"{fault}{argument}")
        with socket.create_connection(("127.0.0.1", server.port)) as wire:
            wire.sendall(b"POST /v1 HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
            eventually(lambda server=server: len(server.seen) == 1)  # type: ignore[misc] # a lambda's default has no type
        server.close()
        assert not any(thread.is_alive() for thread in server._threads), fault


def test_certificates_are_good_or_bad_as_asked(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    cases = {
        "": authority.issue("good"),
        "expired": authority.issue("old", valid=("20200101", "20210101")),
        "not yet valid": authority.issue("new", valid=("20480101", "20490101")),
        "mismatch": authority.issue("other", names="DNS:other.example"),
    }
    for problem, identity in cases.items():
        with FaultServer(identity=identity) as server, socket.create_connection(("127.0.0.1", server.port)) as raw:
            if problem:
                with pytest.raises(ssl.SSLCertVerificationError, match=problem):
                    context.wrap_socket(raw, server_hostname="127.0.0.1")
            else:
                context.wrap_socket(raw, server_hostname="127.0.0.1").close()


def test_as_a_process_it_records_what_it_receives_and_can_be_killed(tmp_path: Path) -> None:
    record = tmp_path / "received"
    command = (sys.executable, "-m", "tests.escalation.server", "--record", str(record), "status:500")
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert [ask(port)[0] for _ in range(2)] == [500, 200]
        assert record.read_bytes().count(BODY) == 2
        process.kill()
        process.wait(10)
        with pytest.raises(ConnectionError):
            ask(port)
