"""Bundles read where they are: few requests, and nothing that they become while they are read does harm."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import LinkError, RepositoryRefusedError
from edge_agent.update import bundle as bundles
from edge_agent.update.exchange import Meter
from edge_agent.update.jobs import Bundle, RemoteBundle
from tests.journals import SetClock
from tests.update.bundles import bundle
from tests.update.ranges import Ranges, ignoring_ranges, ranges

DIGESTS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(10)]
FILES = {
    **{f"metadata/{number}.root.json": b"r" * 900 for number in range(1, 9)},
    "metadata/timestamp.json": b"t" * 500,
    "metadata/1.targets.json": b"T" * 5_000,
    **{f"targets/blobs/{digest}": digest.encode() * 2_000 for digest in DIGESTS},
}
DATA = bundle(FILES)


def name(digest: str) -> str:
    return f"targets/blobs/{digest}.{digest}"


def remote(server: Ranges, size_bytes: int = len(DATA), meter: Meter | None = None, secret: str = "") -> bundles.BundlePlace:
    place = RemoteBundle(url=f"{server.url}/it.tar", size_bytes=size_bytes, authorization_file=secret)
    return bundles.remote(place, SystemClock(), meter or Meter(1 << 30), 10.0)


def whole(place: bundles.BundlePlace, asked: str) -> bytes:
    parts = place.file(asked, 10.0)
    assert parts is not None
    return b"".join(parts)


def test_twenty_files_are_found_by_few_requests_and_what_is_small_is_there_with_them(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("GatewayToken x\n")
    meter = Meter(1 << 30)
    with ranges({"it.tar": DATA}) as server:
        place = remote(server, meter=meter, secret=str(tmp_path / "token"))
        headers = len(server.asked)
        assert headers <= 2 + len(DIGESTS)
        assert meter.received_bytes < headers * (bundles.WINDOW_BYTES + 500)
        assert whole(place, "metadata/1.targets.json") == b"T" * 5_000
        assert whole(place, "metadata/3.root.json") == b"r" * 900
        assert len(server.asked) == headers
        assert place.piece(name(DIGESTS[3]), 64, 64, 10.0) == DIGESTS[3].encode()
        place.close()
        assert {request.authorization for request in server.asked} == {"GatewayToken x"}
        assert len({request.connection for request in server.asked}) == 1


def test_a_bundle_that_another_one_replaces_on_the_server_is_left() -> None:
    with ranges({"it.tar": DATA}) as server:
        place = remote(server)
        server.tag = '"two"'
        with pytest.raises(LinkError, match="changed on the server"):
            place.piece(name(DIGESTS[0]), 0, 10, 10.0)
        place.close()


def test_a_small_bundle_is_read_from_a_server_that_ignores_ranges() -> None:
    with ranges({"it.tar": DATA}, ignoring_ranges) as server:
        place = remote(server)
        assert place.piece(name(DIGESTS[9]), 0, 64, 10.0) == DIGESTS[9].encode()
        place.close()


@pytest.mark.parametrize("wrong", [len(DATA) - 1, len(DATA) - 1_024, 100, 0])
def test_what_was_uploaded_in_part_is_refused_because_it_does_not_grow(wrong: int) -> None:
    with ranges({"it.tar": DATA}) as server, pytest.raises(RepositoryRefusedError, match="not uploaded whole"):
        remote(server, wrong)


def test_a_size_that_is_stated_too_large_is_refused() -> None:
    with ranges({"it.tar": DATA}) as server, pytest.raises((RepositoryRefusedError, LinkError)):
        remote(server, len(DATA) + 512)


def test_what_goes_wrong_says_which_bundle_it_was(tmp_path: Path) -> None:
    path = tmp_path / "stick.tar"
    path.write_bytes(b"x" * 2_048)
    with pytest.raises(RepositoryRefusedError, match=r"stick\.tar: at 0: not a header"):
        bundles.local(Bundle(path=str(path)), SystemClock(), Meter(1 << 20), 10.0)
    path.write_bytes(DATA[:5_000])
    with pytest.raises(LinkError, match=r"stick\.tar: ends after 5000 bytes, before its bundle"):
        bundles.local(Bundle(path=str(path)), SystemClock(), Meter(1 << 20), 10.0)
    path.unlink()
    with pytest.raises(LinkError, match=r"stick\.tar: there is no such file"):
        bundles.local(Bundle(path=str(path)), SystemClock(), Meter(1 << 20), 10.0)


def test_pulled_half_way_the_rest_is_missing_and_nothing_hangs(tmp_path: Path) -> None:
    path = tmp_path / "stick.tar"
    path.write_bytes(DATA)
    place = bundles.local(Bundle(path=str(path)), SystemClock(), Meter(1 << 30), 10.0)
    assert place.piece(name(DIGESTS[0]), 0, 64, 10.0) == DIGESTS[0].encode()
    path.unlink()
    assert place.piece(name(DIGESTS[1]), 0, 64, 10.0) == DIGESTS[1].encode()
    path.write_bytes(DATA)
    place.close()
    place = bundles.local(Bundle(path=str(path)), SystemClock(), Meter(1 << 30), 10.0)
    os.truncate(path, 30_000)
    with pytest.raises(LinkError, match="changed while it was read"):
        place.piece(name(DIGESTS[9]), 0, 64, 10.0)
    place.close()


def test_the_headers_have_one_time_for_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "stick.tar"
    path.write_bytes(DATA)
    clock = SetClock(100.0)

    class Slow:
        def read(self, offset: int, length: int, timeout_s: float, until: int = 0) -> bytes:
            clock.time_s += 3.0
            return DATA[offset : offset + length]

        def close(self) -> None:
            """Nothing."""

    with pytest.raises(LinkError, match="not read within"):
        bundles.BundlePlace(Slow(), len(DATA), "slow", clock, 10.0)


def test_windows_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_WINDOWS", 2)
    path = tmp_path / "stick.tar"
    path.write_bytes(DATA)
    place = bundles.local(Bundle(path=str(path)), SystemClock(), Meter(1 << 30), 10.0)
    assert all(whole(place, each) == data for each, data in FILES.items() if each.startswith("metadata"))
    assert len(place._windows) <= 2
    place.close()
