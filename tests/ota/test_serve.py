"""The server for trials, through real sockets: ranges, tags, what is not there, and nothing outside the folder."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from edge_ota import serve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.clock import SystemClock
from edge_agent.update.transport import Transport
from tests.deadline import eventually

DATA = bytes(range(256)) * 4
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server of a folder with one file in it, a secret beside it, and links."""
    folder = tmp_path / "repo"
    (folder / "targets").mkdir(parents=True)
    (folder / "targets/blob").write_bytes(DATA)
    (folder / "targets/with blank").write_bytes(b"blank")
    (folder / "empty").write_bytes(b"")
    (folder / ".half.tmp").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "repo.pending").mkdir()
    (tmp_path / "repo.pending/1.root.json").write_bytes(b"secret")
    (folder / "way-out").symlink_to(tmp_path / "secret")
    (folder / "way-up").symlink_to(tmp_path)
    os.mkfifo(folder / "fifo")
    with serve.server(folder) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running.server_address[1]
        running.shutdown()
        thread.join()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


def test_a_file_is_served_whole(port: int) -> None:
    status, headers, body = ask(port, "/targets/blob")
    assert (status, headers["Content-Length"], headers["Accept-Ranges"], body) == (200, "1024", "bytes", DATA)
    assert ask(port, "/targets/with%20blank")[2] == b"blank"
    assert ask(port, "/empty")[::2] == (200, b"")


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, 1024),
        ("bytes=-4", 1020, 1024),
        ("bytes=1000-5000", 1000, 1024),
        ("bytes=-5000", 0, 1024),
    ],
)
def test_a_range_is_served(port: int, asked: str, first: int, end: int) -> None:
    status, headers, body = ask(port, "/targets/blob", Range=asked)
    assert (status, headers["Content-Range"], body) == (206, f"bytes {first}-{end - 1}/1024", DATA[first:end])


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=5-4", "lines=0-1", "bytes=-", "bytes=a-b", "0-1", ""])
def test_what_is_no_single_range_gets_the_whole(port: int, asked: str) -> None:
    assert ask(port, "/targets/blob", Range=asked)[::2] == (200, DATA)


@pytest.mark.parametrize(
    ("path", "asked"), [("/targets/blob", "bytes=1024-"), ("/targets/blob", "bytes=-0"), ("/empty", "bytes=0-0")]
)
def test_a_range_beyond_the_end_is_refused_with_the_size(port: int, path: str, asked: str) -> None:
    status, headers, _ = ask(port, path, Range=asked)
    assert status == 416
    assert headers["Content-Range"] == ("bytes */1024" if path == "/targets/blob" else "bytes */0")


@given(first=st.integers(0, 1100), last=st.integers(0, 1100))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_put_together_are_the_file(port: int, first: int, last: int) -> None:
    status, _, body = ask(port, "/targets/blob", Range=f"bytes={first}-{last}")
    if first > last:
        assert (status, body) == (200, DATA)
    elif first >= len(DATA):
        assert status == 416
    else:
        assert (status, body) == (206, DATA[first : last + 1])


def test_a_range_is_continued_only_of_the_same_file(port: int, tmp_path: Path) -> None:
    tag = ask(port, "/targets/blob")[1]["ETag"]
    assert ask(port, "/targets/blob", Range="bytes=1-2", If_Range=tag)[0] == 206
    assert ask(port, "/targets/blob", Range="bytes=1-2", If_Range='"other"')[::2] == (200, DATA)
    (tmp_path / "repo/targets/blob").write_bytes(DATA + b"more")
    assert ask(port, "/targets/blob", Range="bytes=1-2", If_Range=tag)[::2] == (200, DATA + b"more")


def test_a_head_says_what_a_get_would_without_the_bytes(port: int) -> None:
    status, headers, body = ask(port, "/targets/blob", "HEAD", Range="bytes=0-1")
    assert (status, headers["Content-Length"], body) == (200, "1024", b"")
    assert headers["ETag"] == ask(port, "/targets/blob")[1]["ETag"]


NOT_THERE = ["/absent", "/", "/targets", "/targets/", "/targets/blob/x", "/../secret", "/%2e%2e/secret", "/targets/../../secret"]
NOT_THERE += ["/..%2fsecret", "/way-out", "/way-up/secret", "/repo.pending/1.root.json", "/../repo.pending/1.root.json", "/%00"]
NOT_THERE += ["/fifo", "//etc/passwd", "/%2fetc/passwd", "/targets/blob%00.txt/..", "/" + "a" * 5000, "/%ff", "/.half.tmp"]
NOT_THERE += ["http://127.0.0.1/../secret", "http://[/"]


@pytest.mark.parametrize("path", NOT_THERE)
def test_nothing_else_is_there(port: int, path: str) -> None:
    """As the path stands on the line of the request: nothing tidies it up on the way."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"secret" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(port: int, method: str, tmp_path: Path) -> None:
    assert ask(port, "/targets/blob", method)[0] == 501
    assert (tmp_path / "repo/targets/blob").read_bytes() == DATA


def test_a_client_that_leaves_does_not_disturb_the_next(port: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "repo/large").open("wb") as file:
        file.truncate(64 << 20)
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    connection.close()
    assert ask(port, "/targets/blob")[2] == DATA
    said = ""

    def told() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "Error" in said

    eventually(told)
    assert "Traceback" not in said


def test_a_gateway_fetches_from_it(port: int) -> None:
    assert Transport(SystemClock()).download_bytes(f"http://127.0.0.1:{port}/targets/blob", 2000) == DATA


def test_what_cannot_be_served_is_said_in_a_line(tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main([str(tmp_path / "none")]) == 1
    assert "no repository" in capsys.readouterr().err
    repository = tmp_path / "begun"
    (repository / "metadata").mkdir(parents=True)
    (repository / "metadata/timestamp.json").write_text("{}")
    for taken, why in ((port, "in use"), (70_000, "65535")):
        assert serve.main([str(repository), "--port", str(taken)]) == 1
        said = capsys.readouterr().err
        assert why in said
        assert "choose another --port" in said
