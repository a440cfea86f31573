"""What only repositories have: object stores that say `forbidden`, files exchanged between two pieces, one file at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import LinkError
from edge_agent.update.exchange import Meter
from edge_agent.update.jobs import Repository
from edge_agent.update.repository import Folder, WebRepository
from tests.update.ranges import Handler, Sparse, never_ending, ranges


def forbidding(handler: Handler, data: bytes | Sparse) -> bool:
    handler.answer(403, b"")
    return True


def failing(handler: Handler, data: bytes | Sparse) -> bool:
    handler.answer(503, b"")
    return True


def repository(url: str, meter: Meter | None = None) -> WebRepository:
    return WebRepository(Repository(url=url), SystemClock(), meter or Meter(1 << 20))


def test_forbidden_is_missing_and_anything_else_is_no_answer() -> None:
    with ranges({"metadata/1.root.json": b""}, forbidding) as server:
        place = repository(server.url)
        assert place.file("metadata/1.root.json", 10.0) is None
        server.fault = failing
        with pytest.raises(LinkError, match="status 503"):
            place.file("metadata/1.root.json", 10.0)
        place.close()


def test_a_file_without_end_ends_with_what_may_be_received() -> None:
    meter = Meter(1 << 20)
    with ranges({"metadata/1.root.json": b""}, never_ending) as server:
        place = repository(server.url, meter)
        parts = place.file("metadata/1.root.json", 10.0)
        assert parts is not None
        with pytest.raises(LinkError, match="more came"):
            for _ in parts:
                pass
        place.close()
    assert meter.received_bytes < 2 << 20


def test_pieces_of_two_files_take_turns() -> None:
    with ranges({"a": b"a" * 10, "b": b"b" * 10}) as server:
        place = repository(server.url)
        assert [place.piece(name, at, 2, 10.0) for name, at in (("a", 0), ("b", 0), ("a", 2))] == [b"aa", b"bb", b"aa"]
        place.close()
        place.close()


def test_a_folder_reads_on_in_the_file_that_it_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    place = Folder(Repository(url=f"file://{tmp_path}"), Meter(1 << 20))
    assert place.piece("file", 0, 2, 10.0) == b"01"
    (tmp_path / "other").write_bytes(b"x")
    (tmp_path / "other").replace(tmp_path / "file")
    assert place.piece("file", 2, 2, 10.0) == b"23"
    assert place.piece("file", 4, 2, 10.0) == b"45"
    place.close()
    assert place.piece("file", 0, 2, 10.0) == b"x"
    place.close()


def test_a_folder_may_be_elsewhere_behind_a_link_but_its_files_may_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_bytes(b"x")
    (tmp_path / "real/link").symlink_to("/etc/hostname")
    (tmp_path / "here").symlink_to(tmp_path / "real")
    place = Folder(Repository(url=f"file://{tmp_path}/here"), Meter(1 << 20))
    assert place.piece("file", 0, 1, 10.0) == b"x"
    with pytest.raises(LinkError):
        place.piece("link", 0, 1, 10.0)
    place.close()
