"""One contract for every place that releases come from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import get_args

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import LinkError
from edge_agent.update.exchange import Meter
from edge_agent.update.jobs import Bundle, Place, RemoteBundle, Repository
from edge_agent.update.places import OPENERS, Opened, opened
from tests.update.bundles import bundle, in_bundle
from tests.update.ranges import ignoring_ranges, ranges

BLOB = os.urandom(200_000)
DIGEST = hashlib.sha256(BLOB).hexdigest()
BLOB_NAME = f"targets/blobs/{DIGEST}.{DIGEST}"
MANIFEST_NAME = f"targets/groups/a/{DIGEST}.release.json"
FILES = {
    "metadata/1.root.json": b"{}",
    "metadata/timestamp.json": b"t" * 70_000,
    MANIFEST_NAME: b"",
    BLOB_NAME: BLOB,
}


@contextmanager
def folder(path: Path) -> Iterator[Place]:
    for name, data in FILES.items():
        (path / "a folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "a folder" / name).write_bytes(data)
    yield Repository(url=f"file://{path}/a%20folder/")


@contextmanager
def web(path: Path) -> Iterator[Place]:
    with ranges({f"base/{name}": data for name, data in FILES.items()}) as server:
        yield Repository(url=f"{server.url}/base/")


@contextmanager
def web_without_ranges(path: Path) -> Iterator[Place]:
    with ranges(FILES, ignoring_ranges) as server:
        yield Repository(url=server.url)


@contextmanager
def file(path: Path) -> Iterator[Place]:
    (path / "bundle.tar").write_bytes(bundle(in_bundle(FILES)))
    yield Bundle(path=str(path / "bundle.tar"))


@contextmanager
def remote(path: Path) -> Iterator[Place]:
    data = bundle(in_bundle(FILES))
    with ranges({"artifact": data}) as server:
        yield RemoteBundle(url=f"{server.url}/artifact", size_bytes=len(data))


MEMBERS: tuple[Callable[[Path], AbstractContextManager[Place]], ...] = (folder, web, web_without_ranges, file, remote)


@pytest.fixture(params=MEMBERS, ids=lambda member: member.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Opened, Meter]]:
    meter = Meter(1 << 30)
    with request.param(tmp_path) as described, opened(described, SystemClock(), meter, 10.0) as found:
        yield found, meter


def test_every_kind_of_place_has_an_opener() -> None:
    assert set(OPENERS) == set(get_args(Place))


def test_a_file_comes_whole(place: tuple[Opened, Meter]) -> None:
    for name in ("metadata/1.root.json", "metadata/timestamp.json", MANIFEST_NAME):
        parts = place[0].file(name, 10.0)
        assert parts is not None
        assert b"".join(parts) == FILES[name]


def test_a_file_that_is_not_there_is_none(place: tuple[Opened, Meter]) -> None:
    for name in ("metadata/2.root.json", "metadata/1.root.json/x", "targets/blobs/none"):
        assert place[0].file(name, 10.0) is None


def test_a_name_that_leaves_the_place_gets_nothing(place: tuple[Opened, Meter], tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    for name in ("../secret", "metadata/../../secret", str(tmp_path / "secret"), "metadata//1.root.json"):
        try:
            parts = place[0].file(name, 10.0)
        except LinkError:
            continue
        assert parts is None


def test_pieces_come_from_anywhere_and_are_counted(place: tuple[Opened, Meter]) -> None:
    found, meter = place
    before = meter.received_bytes
    for offset, length in ((0, 1), (1, 99_999), (100_000, 100_000), (150_000, 10), (10, 20)):
        data = b""
        while len(data) < length:
            came = found.piece(BLOB_NAME, offset + len(data), length - len(data), 10.0)
            assert 0 < len(came) <= length - len(data)
            data += came
        assert data == BLOB[offset : offset + length]
    assert meter.received_bytes - before >= 200_030


def test_beyond_its_end_a_file_has_nothing(place: tuple[Opened, Meter]) -> None:
    with pytest.raises(LinkError):
        place[0].piece(BLOB_NAME, len(BLOB), 1, 10.0)


def test_a_piece_of_a_file_that_is_not_there_is_a_link_error(place: tuple[Opened, Meter]) -> None:
    with pytest.raises(LinkError):
        place[0].piece("targets/blobs/none", 0, 1, 10.0)
    assert place[0].piece(BLOB_NAME, 0, 1, 10.0) == BLOB[:1]


def test_no_more_is_read_than_may_be(place: tuple[Opened, Meter]) -> None:
    found, meter = place
    meter.max_bytes = meter.received_bytes + 1_000
    came: list[int] = []
    with pytest.raises(LinkError, match="more came"):
        came += (len(found.piece(BLOB_NAME, offset, 50_000, 10.0)) for offset in range(0, 200_000, 50_000))
    assert meter.is_full
    assert sum(came) < 100_000
