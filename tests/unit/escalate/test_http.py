"""One exchange stays within its bounds, whatever a real server does on a real socket."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.config.endpoint import parse_endpoint
from edge_agent.config.settings import OpenAiSettings, TlsSettings
from edge_agent.errors import BackendRefusalError, TryLaterError
from edge_agent.escalate.chat import body_of, first_dialect
from edge_agent.escalate.http import MAX_PROBLEM_BYTES, HttpAnswer, HttpClient, HttpLimits
from tests.deadline import eventually
from tests.escalation.certificates import Authority, Identity
from tests.escalation.faults import completion
from tests.escalation.questions import asked
from tests.escalation.server import FaultServer
from tests.mosquitto import free_port

BODY = body_of(asked().question, OpenAiSettings(), first_dialect(OpenAiSettings()))
GOOD = completion(asked().examples)


def client(url: str, tls: TlsSettings | None = None, *, allow_http: bool = False, **limits: Any) -> HttpClient:
    bounds = {"connect_timeout_s": 0.5, "timeout_s": 5.0, "max_answer_bytes": 65_536, **limits}
    return HttpClient(parse_endpoint(url), HttpLimits(**bounds), tls, SystemClock(), allow_http=allow_http)


def post(url: str, tls: TlsSettings | None = None, **limits: Any) -> HttpAnswer:
    return client(url, tls, **limits).post("/v1/chat/completions?v=1", {"X-Test": "yes"}, BODY)


def later(url: str, tls: TlsSettings | None = None, **limits: Any) -> TryLaterError:
    with pytest.raises(TryLaterError) as caught:
        post(url, tls, **limits)
    return caught.value


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue("server")


@pytest.fixture(autouse=True)
def _no_thread_and_no_socket_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    eventually(lambda: set(threading.enumerate()) <= before)


def test_the_body_travels_as_it_is_and_only_known_headers_with_it() -> None:
    with FaultServer() as server:
        answer = post(server.url)
        (seen,) = server.seen
        received = server.received
    assert answer.status == 200
    assert answer.body == GOOD
    assert (seen.method, seen.target, seen.body) == ("POST", "/v1/chat/completions?v=1", BODY)
    assert received.endswith(b"\r\n\r\n" + BODY)
    assert seen.headers.pop("user-agent").startswith("python-urllib3/")  # unless the caller gives one
    assert seen.headers == {
        "host": f"127.0.0.1:{server.port}",
        "content-length": str(len(BODY)),
        "accept-encoding": "identity",
        "connection": "close",
        "x-test": "yes",
    }


@pytest.mark.parametrize("fault", ["continue", "http10", "chunked", "wrong-kind"])
def test_every_way_to_send_a_whole_answer_is_read(fault: str) -> None:
    with FaultServer(fault) as server:
        answer = post(server.url)
    assert (answer.status, answer.body) == (200, GOOD)


@pytest.mark.parametrize("fault", ["silent", "drip-head", "drip-body", "drip-chunks", "promised-huge"])
def test_the_deadline_holds_for_the_whole_however_often_a_byte_comes(fault: str) -> None:
    begun_s = time.monotonic()
    with FaultServer(fault) as server:
        error = later(server.url, timeout_s=0.4, max_answer_bytes=10**13)
    assert error.reason == "timeout"
    # A byte comes every 0.05 s: a limit for each of them alone would hold for minutes.
    assert time.monotonic() - begun_s < 20


def test_the_deadline_holds_for_a_server_that_never_ends_the_handshake(authority: Authority) -> None:
    with FaultServer(handshake=False) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert later(url, TlsSettings(ca_file=str(authority.ca_file)), timeout_s=0.3).reason == "connection"


def test_the_deadline_holds_for_a_server_that_takes_nothing() -> None:
    with FaultServer(handshake=False) as server, pytest.raises(TryLaterError, match="timeout"):
        client(server.url, timeout_s=0.3).post("/", {}, b"x" * 50_000_000)


def test_the_deadline_holds_while_nobody_says_where_the_host_is(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    lookups = []
    real = socket.getaddrinfo

    def slow(*arguments: Any, **named: Any) -> Any:
        lookups.append(arguments)
        answered.wait(10)
        return real(*arguments, **named)

    with FaultServer() as server:
        # No name server can be made slow on loopback without a system's configuration.
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        asking = client(server.url, timeout_s=0.2)
        for _ in range(3):
            with pytest.raises(TryLaterError, match="connection: nobody says where"):
                asking.post("/v1/chat/completions", {}, BODY)
        assert len(lookups) == 1, "a lookup that is still waiting is not joined by others"
        answered.set()
        eventually(lambda: _answers(asking))


def _answers(asking: HttpClient) -> bool:
    try:
        return asking.post("/v1/chat/completions", {}, BODY).status == 200
    except TryLaterError:
        return False


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("huge", "too-long"),
        ("huge-head", "too-long"),
        ("continue-flood", "too-long"),
        ("chunked-negative", "too-long"),
        ("promised-huge", "too-long"),
        ("gzip-bomb", "bad-answer"),
        ("many-heads", "bad-answer"),
        ("chunked-garbage", "reset"),
        ("chunked-cut", "reset"),
        ("cut-body", "reset"),
        ("reset", "reset"),
        ("close", "reset"),
        ("not-http", "bad-answer"),
        ("two-lengths", "bad-answer"),
    ],
)
def test_what_is_no_whole_bounded_answer_may_be_asked_for_again(fault: str, reason: str) -> None:
    with FaultServer(fault) as server:
        error = later(server.url)
    assert error.reason == reason
    assert "xxxx" not in str(error)
    assert len(str(error)) < 300


def test_no_more_is_taken_in_than_the_limit() -> None:
    with FaultServer() as server:
        assert post(server.url, max_answer_bytes=len(GOOD)).body == GOOD
        assert later(server.url, max_answer_bytes=len(GOOD) - 1).reason == "too-long"
        server.script.append("http10")
        assert later(server.url, max_answer_bytes=len(GOOD) - 1).reason == "too-long"
        server.script.append("chunked")
        assert later(server.url, max_answer_bytes=len(GOOD) - 1).reason == "too-long"


def test_no_redirect_is_followed() -> None:
    with FaultServer() as other, FaultServer(f"redirect:{other.url}", "redirect:/v1/elsewhere") as server:
        for _ in range(2):
            answer = post(server.url)
            assert answer.status == 307
        assert other.connections == 0
        assert server.connections == 2


def test_nothing_is_repeated_and_no_connection_is_kept() -> None:
    with FaultServer("status:503", "close", "cut-body") as server:
        asking = client(server.url)
        assert asking.post("/", {}, BODY).status == 503
        for _ in range(2):
            with pytest.raises(TryLaterError):
                asking.post("/", {}, BODY)
        assert server.connections == len(server.seen) == 3


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as proxy, FaultServer() as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post(server.url).status == 200
        assert proxy.connections == 0


def test_an_error_has_the_beginning_of_its_body_and_nothing_that_it_promises() -> None:
    with FaultServer("status:400:Retry-After=5", "echo:500") as server:
        answer = post(server.url)
        assert (answer.status, answer.headers["retry-after"]) == (400, "5")
        assert b"status 400" in answer.body
        assert len(post(server.url).body) <= MAX_PROBLEM_BYTES


def test_an_answer_that_comes_before_all_is_sent_counts() -> None:
    with FaultServer("early") as server:
        # More than the kernels' buffers hold, so that the server is done while we are still sending.
        try:
            status = client(server.url).post("/", {}, b"x" * 20_000_000).status
        except TryLaterError as error:
            # A reset may overtake the answer; then nothing was said.
            assert error.reason == "reset"  # noqa: PT017 # either of two outcomes is right
        else:
            assert status == 401


def test_nobody_listening_is_a_failure_to_connect() -> None:
    port = free_port()
    error = later(f"http://127.0.0.1:{port}")
    assert error.reason == "connection"
    assert str(port) in error.detail


def test_a_name_that_does_not_exist_is_a_failure_to_connect() -> None:
    assert later("https://no-such-host.invalid").reason == "connection"


def test_without_tls_only_this_machine_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: elsewhere)
    with pytest.raises(BackendRefusalError, match="no-tls") as caught:
        post("http://localhost")
    assert caught.value.breaks


def test_all_addresses_of_a_host_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as server:
        dead = ("127.0.0.1", free_port())
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (dead, ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert post("http://localhost").status == 200


def test_tls_with_a_private_authority(authority: Authority, identity: Identity) -> None:
    with FaultServer(identity=identity) as server:
        answer = post(server.url, TlsSettings(ca_file=str(authority.ca_file)))
        assert (answer.status, answer.body) == (200, GOOD)
        by_name = server.url.replace("127.0.0.1", "localhost")
        assert post(by_name, TlsSettings(ca_file=str(authority.ca_file))).status == 200
        assert server.seen[1].headers["host"] == f"localhost:{server.port}"


@pytest.mark.parametrize("fault", ["drip-body", "silent"])
def test_the_deadline_holds_under_tls(authority: Authority, identity: Identity, fault: str) -> None:
    with FaultServer(fault, identity=identity) as server:
        # The handshake must be over in time even on a busy machine: a deadline that ends it says "connection".
        assert later(server.url, TlsSettings(ca_file=str(authority.ca_file)), timeout_s=1.0).reason == "timeout"


@pytest.mark.parametrize(
    ("case", "advice"),
    [
        ("expired", "has expired.*renewed.*this device's clock says 20"),
        ("not-yet", "not valid yet; this device's clock says 20.*set it"),
        ("other-host", "is not for 127.0.0.1"),
        ("unknown-authority", "authority.*tls.ca_file"),
    ],
)
def test_a_certificate_that_is_not_believed_says_what_to_do(authority: Authority, tmp_path: Path, case: str, advice: str) -> None:
    match case:
        case "expired":
            identity = authority.issue("expired", valid=("20200101", "20210101"))
        case "not-yet":
            identity = authority.issue("not-yet", valid=("20480101", "20490101"))
        case "other-host":
            identity = authority.issue("other-host", names="DNS:models.example")
        case _:
            identity = Authority(tmp_path, "other-ca").issue("stranger")
    with FaultServer(identity=identity) as server:
        error = later(server.url, TlsSettings(ca_file=str(authority.ca_file)))
        assert server.received == b"", "nothing is said to a server that is not believed"
    assert error.reason == "tls"
    assert re.search(advice, error.detail), error.detail


def test_the_systems_authorities_are_believed_where_none_is_named(identity: Identity) -> None:
    with FaultServer(identity=identity) as server:
        assert later(server.url).reason == "tls"


def test_a_client_certificate_is_shown_and_read_anew_each_time(authority: Authority, identity: Identity, tmp_path: Path) -> None:
    ours = authority.issue_client("client")
    cert, key = tmp_path / "client.crt", tmp_path / "client.key"
    tls = TlsSettings(ca_file=str(authority.ca_file), cert_file=str(cert), key_file=str(key))
    with FaultServer(identity=identity, client_ca=authority.ca_file) as server:
        asking = client(server.url, tls)
        with pytest.raises(TryLaterError, match="credentials"):
            asking.post("/", {}, BODY)
        cert.write_bytes(ours.cert_file.read_bytes())
        key.write_bytes(ours.key_file.read_bytes())
        assert asking.post("/", {}, BODY).status == 200
        # The reset that follows the alert may overtake it.
        assert later(server.url, TlsSettings(ca_file=str(authority.ca_file))).reason in ("tls-alert", "reset")


def test_a_server_without_tls_where_tls_is_expected() -> None:
    with FaultServer() as server:
        assert later(server.url.replace("http:", "https:"), timeout_s=0.5).reason in ("tls", "connection")
        assert b"messages" not in server.received
