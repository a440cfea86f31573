"""The notification protocol, against real datagram sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import pytest

from edge_agent.systemd import Notifier, notifier_from, watchdog_interval_s


def _listen(address: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(address)
    channel.settimeout(5.0)
    return channel


def test_each_call_is_one_datagram_on_a_file_system_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with _listen(path) as manager:
        notifier = notifier_from({"NOTIFY_SOCKET": path})
        notifier.ready()
        notifier.status("2 incidents\nopen")
        notifier.watchdog()
        notifier.stopping()
        received = [manager.recv(4096).decode() for _ in range(4)]
    assert received == ["READY=1", "STATUS=2 incidents open", "WATCHDOG=1", "STOPPING=1"]


def test_abstract_sockets_are_reached() -> None:
    name = f"edge-agent-test-{os.getpid()}"
    with _listen("\0" + name) as manager:
        notifier_from({"NOTIFY_SOCKET": "@" + name}).ready()
        assert manager.recv(4096) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_socket_nothing_happens(environ: dict[str, str]) -> None:
    notifier = notifier_from(environ)
    notifier.ready()
    notifier.stopping()


def test_a_manager_that_is_gone_is_survived(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nobody")).watchdog()


def test_a_manager_that_does_not_read_costs_a_wait_and_no_processor_time(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with _listen(path), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.connect(path)
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.send(b"full")
        before_s = time.thread_time()
        Notifier(path).watchdog()
        assert time.thread_time() - before_s < 0.1, "it was busy while it waited"


@pytest.mark.parametrize(
    ("environ", "expected_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "41"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval(environ: dict[str, str], expected_s: float | None) -> None:
    assert watchdog_interval_s(environ, pid=41) == expected_s
