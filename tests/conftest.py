"""Fixtures that tests of every kind share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mosquitto import BINARY, Mosquitto


def pytest_configure() -> None:
    """A shell without job control has what it starts behind `&` ignore an interrupt, and children of the tests inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running mosquitto on a free loopback port, without TLS, open to everybody."""
    if BINARY is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    with Mosquitto(tmp_path) as broker:
        yield broker
