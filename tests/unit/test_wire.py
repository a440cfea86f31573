"""A socket within bounds: the deadline is one for all calls, and the limit is one for all that comes in."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import TryLaterError
from edge_agent.wire import Deadline, Wire
from tests.journals import SetClock


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_deadline_counts_down_and_then_there_is_no_time_left() -> None:
    clock = SetClock(100.0)
    deadline = Deadline(clock, 5.0)
    clock.time_s += 3.0
    assert deadline.left_s() == 2.0
    clock.time_s += 2.0
    with pytest.raises(TimeoutError):
        deadline.left_s()
    deadline.renew(1.0)
    assert deadline.left_s() == 1.0


def test_what_is_sent_and_received_goes_through(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    wire = Wire(ours, Deadline(SystemClock(), 10.0), 3)
    wire.sendall(b"out")
    assert theirs.recv(10) == b"out"
    theirs.sendall(b"in!")
    theirs.shutdown(socket.SHUT_WR)
    assert wire.makefile("rb").read() == b"in!"


def test_one_byte_more_than_the_limit_is_too_long(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"four")
    with pytest.raises(TryLaterError, match="too-long"):
        Wire(ours, Deadline(SystemClock(), 10.0), 3).makefile("rb").read(1)


def test_without_a_limit_the_deadline_alone_holds(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    clock = SetClock(100.0)
    received = Wire(ours, Deadline(clock, 10.0)).makefile("rb")
    theirs.sendall(bytes(100_000))
    assert len(received.read(100_000)) == 100_000
    clock.time_s += 10.0
    with pytest.raises(TimeoutError):
        received.read(1)


def test_a_peer_that_says_nothing_and_takes_nothing_runs_into_the_deadline(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    wire = Wire(ours, Deadline(SystemClock(), 0.2))
    with pytest.raises(TimeoutError):
        wire.makefile("rb").read(1)
    with pytest.raises(TimeoutError):
        Wire(ours, Deadline(SystemClock(), 0.2)).sendall(bytes(10_000_000))
