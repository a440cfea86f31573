"""Fetching from a web server and from a folder: bounded in time, nothing followed, nothing half taken for whole."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError

from edge_agent.clock import SystemClock
from edge_agent.update.transport import Transport
from tests.update.server import answering, served

LIMIT = 1 << 20


def transport(timeout_s: float = 10.0) -> Transport:
    return Transport(SystemClock(), timeout_s=timeout_s)


def sending(answer: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(answer)


def test_a_file_comes_whole_over_http() -> None:
    data = os.urandom(300_000)
    with served({"metadata/1.root.json": data, "targets/a%20b/c?d=e": b"quoted"}) as web:
        assert transport().download_bytes(f"{web.url}/metadata/1.root.json", LIMIT) == data
        assert transport().download_bytes(f"{web.url}/targets/a b/c?d=e", LIMIT) == b"quoted"
        with pytest.raises(DownloadHTTPError) as told:
            transport().download_bytes(f"{web.url}/metadata/2.root.json", LIMIT)
        assert told.value.status_code == 404
        with pytest.raises(DownloadLengthMismatchError):
            transport().download_bytes(f"{web.url}/metadata/1.root.json", 1000)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nab",
    ],
)
def test_any_status_but_200_is_no_file(answer: bytes) -> None:
    with answering(sending(answer)) as url, pytest.raises(DownloadError, match="status"):
        transport().download_bytes(f"{url}/x", LIMIT)


@pytest.mark.parametrize("status", [403, 404])
def test_a_missing_file_is_told_apart_also_by_object_stores(status: int) -> None:
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    with answering(sending(answer)) as url, pytest.raises(DownloadHTTPError) as told:
        transport().download_bytes(f"{url}/x", LIMIT)
    assert told.value.status_code == 404


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
def test_what_is_not_a_whole_plain_answer_is_no_file(answer: bytes) -> None:
    with answering(sending(answer)) as url, pytest.raises(DownloadError):
        transport().download_bytes(f"{url}/x", LIMIT)


def _dripping(first: bytes) -> Callable[[socket.socket], None]:
    """Sends `first`, then a byte at a time for as long as someone listens."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        pause, _ = socket.socketpair()
        pause.settimeout(0.02)
        for _ in itertools.repeat(None):
            connection.sendall(b"a")
            try:
                pause.recv(1)
            except TimeoutError:
                continue

    return answer


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_a_server_that_drips_runs_into_the_deadline(first: bytes) -> None:
    with answering(_dripping(first)) as url, pytest.raises(DownloadError, match="not whole within"):
        transport(timeout_s=0.3).download_bytes(f"{url}/x", LIMIT)


def test_nobody_there_is_a_download_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(DownloadError):
        transport().download_bytes(f"http://127.0.0.1:{port}/x", LIMIT)


@pytest.mark.parametrize("url", ["ftp://host/x", "x", "http://", "http://127.0.0.1:port/x", "https://[::1/x"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(DownloadError):
        transport().download_bytes(url, LIMIT)


def test_without_tls_nothing_is_taken_from_a_server_that_should_have_it() -> None:
    with answering(sending(b"HTTP/1.1 200 OK\r\n\r\n")) as url, pytest.raises(DownloadError):
        transport().download_bytes(f"{url.replace('http', 'https')}/x", LIMIT)


def test_a_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a b.json").write_bytes(b"{}")
    assert transport().download_bytes(f"file://{tmp_path}/a b.json", LIMIT) == b"{}"
    assert transport().download_bytes(f"file://{tmp_path}/a%20b.json", LIMIT) == b"{}"
    with pytest.raises(DownloadHTTPError) as told:
        transport().download_bytes(f"file://{tmp_path}/none", LIMIT)
    assert told.value.status_code == 404


def test_what_is_no_regular_file_is_not_opened_or_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "link", "folder", "nul%00"):
        with pytest.raises(DownloadError):
            transport().download_bytes(f"file://{tmp_path}/{name}", LIMIT)
    with pytest.raises(DownloadError):
        transport().download_bytes("file:///dev/zero", LIMIT)
