"""Fetching from servers that do everything wrong, through cuts and kills: nothing false is kept, nothing is paid for twice."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge_agent.clock import SystemClock
from edge_agent.release.manifest import MAX_CHUNK_BYTES, Component, Stored, encode_manifest
from edge_agent.update.exchange import Meter
from edge_agent.update.fetch import SPARE_BYTES, Stop, fetch
from edge_agent.update.jobs import Bundle, Fetched, FetchJob, Place, Progress, RemoteBundle, Repository
from edge_agent.update.places import opened
from edge_agent.update.store import Store
from tests.deadline import eventually
from tests.update import fleet
from tests.update.bundles import END, bundle, header, in_bundle, padded
from tests.update.peaks import peak_rss_bytes
from tests.update.ranges import (
    Fault,
    Handler,
    Ranges,
    Sparse,
    a_long_page,
    a_page,
    another_place,
    compressed,
    empty,
    endless_head,
    ignoring_ranges,
    never_ending,
    piece,
    ranges,
    redirecting,
    shorter_than_stated,
    unsatisfied,
    without_place,
)

CHUNK = fleet.CHUNK
FILES = fleet.contents(1, writer_model_bin=25 * CHUNK + 7, classifier_tflite=0)
MANIFEST = fleet.made(FILES)
BLOBS = {f"targets/blobs/{fleet.digest(data)}.{fleet.digest(data)}": data for data in FILES.values()}
TOTAL = sum(map(len, FILES.values()))
LARGE = f"targets/blobs/{fleet.digest(FILES['writer/model.bin'])}.{fleet.digest(FILES['writer/model.bin'])}"


class Device:
    """A store with one manifest, and fetches into it."""

    def __init__(self, folder: Path, manifest: bytes = MANIFEST) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.store = Store(folder)
        self.store.prepare()
        self.sha256 = self.store.put_manifest(manifest)

    def job(self, place: Place, timeout_s: float = 10.0, max_bytes: int = 1 << 40) -> FetchJob:
        return FetchJob(
            place=place,
            store_folder=str(self.folder),
            manifest_sha256=self.sha256,
            max_bytes=max_bytes,
            min_free_bytes=0,
            timeout_s=timeout_s,
        )

    def fetch(self, place: Place, timeout_s: float = 10.0, max_bytes: int = 1 << 40) -> Fetched:
        return fetch(self.job(place, timeout_s, max_bytes), SystemClock(), lambda line: None, Stop(), pause_s=0.0)

    def missing_bytes(self) -> int:
        return self.store.missing_bytes(self.store.manifest(self.sha256))

    def there_bytes(self) -> int:
        return TOTAL - self.missing_bytes()

    def all_is_there(self) -> bool:
        """Every blob, with its own bytes, and nothing left over."""
        blobs = {path.name: path.read_bytes() for path in (self.folder / "blobs").iterdir()}
        parts = list((self.folder / "parts").iterdir())
        return blobs == {fleet.digest(data): data for data in FILES.values()} and not parts


@pytest.fixture
def device(memory: Path) -> Device:
    return Device(memory / "store")


def why(fetched: Fetched) -> tuple[str, str]:
    assert not fetched.complete
    assert fetched.problem is not None
    return fetched.problem.kind, fetched.problem.reason


def other_bytes(handler: Handler, data: bytes | Sparse) -> bool:
    """The right range of another file."""
    asked = handler.asked_range()
    if asked is None or not isinstance(data, bytes):
        return False
    last = min(asked[1], len(data) - 1)
    stated = f"bytes {asked[0]}-{last}/{len(data)}"
    handler.answer(206, bytes(last - asked[0] + 1), **{"Content-Range": stated})
    return True


def cut_off(handler: Handler, data: bytes, length: int) -> bool:
    """States all that is asked for, sends `length` bytes of it, and ends."""
    first, last = handler.asked_range() or (0, 0)
    last = min(last, len(data) - 1)
    stated = f"bytes {first}-{last}/{len(data)}"
    handler.head(206, ETag=handler.web.tag, **{"Content-Length": str(last - first + 1), "Content-Range": stated})
    handler.send(data[first : min(last + 1, first + length)])
    handler.close_connection = True
    return True


def stated_too_long(handler: Handler, data: bytes | Sparse) -> bool:
    """Says that there is more than is asked for, and never sends it."""
    assert isinstance(data, bytes)
    first, last = handler.asked_range() or (0, len(data) - 1)
    handler.head(206, **{"Content-Length": str(1 << 40), "Content-Range": f"bytes {first}-{last + (1 << 40)}/{1 << 41}"})
    handler.send(data[first : last + 1])
    handler.close_connection = True
    return True


def failing(handler: Handler, data: bytes | Sparse) -> bool:
    handler.answer(503, b"")
    return True


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (other_bytes, ("refused", "chunk")),
        (never_ending, ("refused", "chunk")),
        (a_long_page, ("refused", "chunk")),
        (a_page, ("link", "link")),
        (stated_too_long, ("link", "link")),
        (shorter_than_stated, ("link", "link")),
        (empty, ("link", "link")),
        (another_place, ("link", "link")),
        (without_place, ("link", "link")),
        (compressed, ("link", "link")),
        (redirecting, ("link", "link")),
        (unsatisfied, ("link", "link")),
        (failing, ("link", "link")),
        (endless_head, ("link", "link")),
    ],
)
def test_a_server_that_sends_something_else_is_left_and_costs_little(device: Device, fault: Fault, told: tuple[str, str]) -> None:
    with ranges(BLOBS, fault) as server:
        place = Repository(url=server.url)
        fetched = device.fetch(place)
        assert why(fetched) == told
        assert fetched.fetched_bytes < 1 << 20
        assert {path.read_bytes() for path in (device.folder / "blobs").iterdir()} <= set(FILES.values())
        server.fault = None
        assert device.fetch(place).complete
    assert device.all_is_there()


def test_a_server_that_does_not_answer_is_asked_once(device: Device) -> None:
    with ranges(BLOBS, failing) as server:
        assert why(device.fetch(Repository(url=server.url))) == ("link", "link")
        assert len(server.asked) == 1


def test_a_blob_is_asked_for_in_one_request_however_many_chunks_it_has(device: Device) -> None:
    with ranges(BLOBS) as server:
        assert device.fetch(Repository(url=server.url)).complete
        assert len(server.asked) == len([data for data in FILES.values() if data])
        assert server.sent_bytes == TOTAL
    assert device.all_is_there()


def test_no_more_is_asked_for_than_may_be_fetched(device: Device) -> None:
    with ranges(BLOBS) as server:
        assert why(device.fetch(Repository(url=server.url), max_bytes=10 * CHUNK + 5)) == ("budget", "bytes")
        assert server.sent_bytes <= 10 * CHUNK + 5


def test_a_server_that_ignores_ranges_is_enough(device: Device) -> None:
    with ranges(BLOBS, ignoring_ranges) as server:
        fetched = device.fetch(Repository(url=server.url))
        assert fetched.complete
        assert fetched.fetched_bytes < TOTAL + 10_000
        assert len(server.asked) == len([data for data in FILES.values() if data])
    assert device.all_is_there()


def test_a_server_that_ignores_ranges_costs_what_was_there_when_it_is_gone_on_with(device: Device) -> None:
    with ranges(BLOBS, ignoring_ranges) as server:
        place = Repository(url=server.url)
        assert why(device.fetch(place, max_bytes=15 * CHUNK)) == ("budget", "bytes")
        fetched = device.fetch(place)
        assert fetched.complete
        assert fetched.fetched_bytes < TOTAL + 10_000
    assert device.all_is_there()


def test_tags_that_change_all_the_time_cost_requests_and_nothing_else(device: Device) -> None:
    numbers = iter(range(1_000_000))

    def changing(handler: Handler, data: bytes | Sparse) -> bool:
        handler.web.tag = f'"{next(numbers)}"'
        return False

    with ranges(BLOBS, changing, most_bytes=CHUNK) as server:
        fetched = device.fetch(Repository(url=server.url))
        assert fetched.complete
        chunks = sum(-(-len(data) // CHUNK) for data in FILES.values())
        assert chunks < len(server.asked) <= 2 * chunks
    assert device.all_is_there()


def test_a_chunk_that_is_wrong_once_is_asked_for_once_more(device: Device) -> None:
    spoilt: list[str] = []

    def once(handler: Handler, data: bytes | Sparse) -> bool:
        asked = f"{handler.path} {handler.asked_range()}"
        if asked in spoilt:
            return False
        spoilt.append(asked)
        return other_bytes(handler, data)

    with ranges(BLOBS, once, most_bytes=CHUNK) as server:
        fetched = device.fetch(Repository(url=server.url))
        assert fetched.complete
        assert fetched.fetched_bytes >= 2 * TOTAL
    assert device.all_is_there()


@pytest.mark.parametrize(("most_bytes", "tries"), [(CHUNK, 2), (1 << 30, 1)], ids=["in answers of its own", "within one"])
def test_a_chunk_that_stays_wrong_is_asked_for_once_more_and_what_was_good_before_it_is_kept(
    device: Device, most_bytes: int, tries: int
) -> None:
    spoilt = 7 * CHUNK

    def here(handler: Handler, data: bytes | Sparse) -> bool:
        asked = handler.asked_range()
        return asked is not None and asked[0] == spoilt and other_bytes(handler, data)

    with ranges(BLOBS, here, most_bytes=most_bytes) as server:
        if most_bytes > CHUNK:
            server.fault, server.files = None, {**BLOBS, LARGE: BLOBS[LARGE][:spoilt] + bytes(len(BLOBS[LARGE]) - spoilt)}
        assert why(device.fetch(Repository(url=server.url))) == ("refused", "chunk")
        asked = [request.range for request in server.asked_for(LARGE)]
        assert sum(each.startswith(f"bytes={spoilt}-") for each in asked) == tries
        server.fault, server.files, before = None, BLOBS, len(server.asked)
        assert device.fetch(Repository(url=server.url)).complete
        assert server.asked[before].range.startswith(f"bytes={spoilt}-")
    assert device.all_is_there()


def test_a_connection_that_breaks_off_again_and_again_costs_no_byte_twice(device: Device) -> None:
    def breaking(handler: Handler, data: bytes | Sparse) -> bool:
        assert isinstance(data, bytes)
        asked = handler.asked_range()
        if asked is None or asked[0] % (2 * CHUNK):
            return False
        return cut_off(handler, data, 333)

    with ranges(BLOBS, breaking, most_bytes=2 * CHUNK) as server:
        assert device.fetch(Repository(url=server.url)).complete
        assert server.sent_bytes == TOTAL
    assert device.all_is_there()


def test_a_connection_that_breaks_off_between_two_chunks_is_made_again(device: Device) -> None:
    def breaking(handler: Handler, data: bytes | Sparse) -> bool:
        assert isinstance(data, bytes)
        return cut_off(handler, data, CHUNK)

    with ranges(BLOBS, breaking) as server:
        assert device.fetch(Repository(url=server.url)).complete
        assert server.sent_bytes == TOTAL
    assert device.all_is_there()


def test_a_way_that_is_gone_for_a_moment_within_a_chunk_costs_nothing_either(device: Device) -> None:
    left = [0]

    def gone(handler: Handler, data: bytes | Sparse) -> bool:
        assert isinstance(data, bytes)
        asked = handler.asked_range() or (0, 0)
        if asked[0] % CHUNK == 0:
            left[0] = 3
            return shorter_than_stated(handler, data)
        left[0] -= 1
        return left[0] > 0 and failing(handler, data)

    with ranges(BLOBS, gone, most_bytes=CHUNK) as server:
        assert device.fetch(Repository(url=server.url)).complete
        assert server.sent_bytes == TOTAL
    assert device.all_is_there()


def test_a_server_that_drips_is_left_within_the_time_for_a_chunk(device: Device) -> None:
    ended = threading.Event()

    def dripping(handler: Handler, data: bytes | Sparse) -> bool:
        assert isinstance(data, bytes)
        asked = handler.asked_range() or (0, 0)
        last = min(asked[1], len(data) - 1)
        stated = f"bytes {asked[0]}-{last}/{len(data)}"
        handler.head(206, **{"Content-Length": str(last - asked[0] + 1), "Content-Range": stated})
        while handler.send(data[asked[0] : asked[0] + 1]) and not ended.wait(0.01):
            pass
        return True

    with ranges(BLOBS, dripping) as server:
        assert why(device.fetch(Repository(url=server.url), timeout_s=0.4)) == ("link", "link")
        ended.set()
        assert len(server.asked) == 1


def test_a_skip_that_does_not_fit_into_what_may_be_fetched_is_cut_short(device: Device) -> None:
    large = random.Random(1).randbytes(6 << 20)
    files = {**FILES, "writer/model.bin": large}
    device = Device(device.folder, fleet.made(files))
    blobs = {f"targets/blobs/{fleet.digest(data)}.{fleet.digest(data)}": data for data in files.values()}
    with ranges(blobs) as server:
        place = Repository(url=server.url)
        assert why(device.fetch(place, max_bytes=5 << 20)) == ("budget", "bytes")
        server.fault = ignoring_ranges
        fetched = device.fetch(place, max_bytes=1 << 20)
        assert why(fetched) == ("budget", "bytes")
        assert fetched.fetched_bytes <= (1 << 20) + SPARE_BYTES + 65_536


# Processes that are killed.


def _stalling(server: Ranges, at: list[int], stalled: threading.Event, go_on: threading.Event) -> Fault:
    """Sends byte for byte what it should until so many bytes were sent in all; then it waits until it may go on."""

    def fault(handler: Handler, data: bytes | Sparse) -> bool:
        asked = handler.asked_range()
        assert asked is not None
        assert isinstance(data, bytes)
        first, last = asked[0], min(asked[1], len(data) - 1)
        body = piece(data, first, last - first + 1)
        stated = f"bytes {first}-{last}/{len(data)}"
        handler.head(206, ETag=server.tag, **{"Content-Length": str(len(body)), "Content-Range": stated})
        while body:
            room = at[0] - server.sent_bytes
            if room <= 0:
                stalled.set()
                go_on.wait(30)
                handler.close_connection = True
                return True
            if not handler.send(body[:room]):
                return True
            body = body[room:]
        return True

    return fault


@pytest.mark.parametrize("kill", [subprocess.Popen.kill, subprocess.Popen.terminate])
def test_less_than_a_chunk_is_fetched_again_for_each_kill(
    device: Device, kill: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    chance = random.Random(5)
    with ranges(BLOBS) as server:
        stalled, go_on, at = threading.Event(), threading.Event(), [0]
        server.fault = _stalling(server, at, stalled, go_on)
        job = msgspec.json.encode(device.job(Repository(url=server.url), timeout_s=60.0))
        kills = 0
        while device.missing_bytes():
            lost_bytes = server.sent_bytes - device.there_bytes()
            at[0] = server.sent_bytes + chance.randint(CHUNK + 1, 5 * CHUNK)
            stalled.clear()
            go_on.clear()
            process = _started(job)
            _wait_for_either(stalled, process)
            _wait_until_taken_in(device, server, process, lost_bytes)
            if process.poll() is None:
                kills += 1
                kill(process)
            said = process.communicate(timeout=30)[0].splitlines()
            go_on.set()
            if kill is subprocess.Popen.terminate and not _complete(said):
                assert why(msgspec.json.decode(said[-1], type=Fetched)) == ("link", "stopped")
        assert kills >= 5
        assert server.sent_bytes - TOTAL < kills * CHUNK
    assert device.all_is_there()


def _wait_for_either(stalled: threading.Event, process: subprocess.Popen[bytes]) -> None:
    """Until the server waits, or the process has ended."""
    eventually(lambda: stalled.is_set() or process.poll() is not None, within_s=30.0)


def _wait_until_taken_in(device: Device, server: Ranges, process: subprocess.Popen[bytes], lost_bytes: int) -> None:
    """Until all whole chunks that were sent stand on the disk, as on a slow link, where they do before the next one is there."""
    eventually(lambda: process.poll() is not None or server.sent_bytes - device.there_bytes() < lost_bytes + CHUNK)


def _started(job: bytes) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edge_agent.update.fetch"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(job)
    process.stdin.close()
    process.stdin = None
    return process


def _complete(said: list[bytes]) -> bool:
    return msgspec.json.decode(said[-1], type=Fetched).complete


# Bundles.


def test_a_bundle_on_a_stick_and_behind_a_server(device: Device, memory: Path) -> None:
    data = b"".join(header(name.partition(".")[0], len(blob)) + padded(blob) for name, blob in BLOBS.items()) + END
    (memory / "stick.tar").write_bytes(data)
    assert device.fetch(Bundle(path=str(memory / "stick.tar")), max_bytes=10 * CHUNK).problem is not None
    with ranges({"it.tar": data}) as server:
        fetched = device.fetch(RemoteBundle(url=f"{server.url}/it.tar", size_bytes=len(data)))
    assert fetched.complete
    assert device.all_is_there()


@pytest.mark.parametrize("beyond", [(1 << 31) + 4_096, (1 << 32) + 4_096])
def test_blobs_beyond_two_and_four_gibibytes_are_found_near_and_far(device: Device, memory: Path, beyond: int) -> None:
    stick = memory / "stick.tar"
    _sparse_bundle(stick, beyond)
    place = Bundle(path=str(stick))
    assert device.fetch(place).complete
    assert device.all_is_there()
    size = stick.stat().st_size
    assert size > beyond
    with stick.open("rb") as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        again = Device(memory / "again")
        with ranges({"it.tar": Sparse(size, read)}) as server:
            assert again.fetch(RemoteBundle(url=f"{server.url}/it.tar", size_bytes=size)).complete
            assert server.sent_bytes < 1 << 20
    assert again.all_is_there()


@pytest.mark.parametrize("beyond", [(1 << 31) + 4_096, (1 << 32) + 4_096])
def test_pieces_of_a_blob_beyond_two_and_four_gibibytes_come_from_every_place(memory: Path, beyond: int) -> None:
    name = f"targets/blobs/{'ab' * 32}.{'ab' * 32}"
    path = memory / "repo" / name
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.seek(beyond)
        file.write(b"here it is")
    stick = memory / "stick.tar"
    with stick.open("wb") as file:
        file.write(header(name.partition(".")[0], beyond + 10))
        file.seek(beyond, 1)
        file.write(padded(b"here it is") + END)
    with path.open("rb") as source:

        def read(offset: int, length: int) -> bytes:
            source.seek(offset)
            return source.read(length)

        with ranges({name: Sparse(beyond + 10, read)}) as server:
            for place in (Repository(url=f"file://{memory}/repo"), Repository(url=server.url), Bundle(path=str(stick))):
                with opened(place, SystemClock(), Meter(1 << 20), 10.0) as found:
                    assert found.piece(name, beyond, 10, 10.0) == b"here it is"


def _sparse_bundle(path: Path, beyond: int) -> None:
    """A bundle whose first blob, which nobody wants, is so large that the others stand beyond it."""
    with path.open("wb") as file:
        file.write(header(f"targets/blobs/{'ab' * 32}", beyond))
        file.seek(beyond, 1)
        for name, blob in BLOBS.items():
            file.write(header(name.partition(".")[0], len(blob)) + padded(blob))
        file.write(END)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(2 << 30) + 5, (4 << 30) + 5])
def test_a_blob_of_more_than_two_and_four_gibibytes_arrives_across_a_kill(tmp_path: Path, size: int) -> None:
    device = Device(tmp_path / "store", _manifest_with_zeros(size))
    if device.store.free_bytes() < 2 * size:
        pytest.skip(f"{tmp_path} has less than {2 * size} bytes free")
    sha256 = _zeros(size)[0]
    zeros = Sparse(size, lambda _, length: bytes(length))
    with ranges({**BLOBS, f"targets/blobs/{sha256}.{sha256}": zeros}) as server:
        place = Repository(url=server.url)
        assert why(device.fetch(place, max_bytes=size - (20 << 20), timeout_s=60.0)) == ("budget", "bytes")
        rest = device.fetch(place, timeout_s=60.0)
    assert rest.complete
    assert rest.fetched_bytes < (50 << 20) + TOTAL
    assert (tmp_path / "store/blobs" / sha256).stat().st_size == size


def _zeros(size: int) -> tuple[str, tuple[str, ...]]:
    """Digest of so many zeros, and of their chunks of 16 MiB."""
    chunk = bytes(16 << 20)
    whole = hashlib.sha256()
    for at in range(0, size, len(chunk)):
        whole.update(chunk[: size - at])
    last = size % len(chunk)
    return whole.hexdigest(), (fleet.digest(chunk),) * (size // len(chunk)) + ((fleet.digest(bytes(last)),) if last else ())


def _manifest_with_zeros(size: int) -> bytes:
    sha256, chunks = _zeros(size)
    components = {path: fleet.described(data) for path, data in FILES.items()}
    stored = Stored(sha256=sha256, size_bytes=size, chunk_bytes=16 << 20, chunks=chunks)
    components["zeros"] = Component(sha256=sha256, size_bytes=size, stored=stored)
    return encode_manifest(fleet.manifest_of(components))


# Memory.


@pytest.mark.parametrize("kind", ["web", "stick"])
def test_the_peak_of_memory_is_small_with_the_largest_chunks(memory: Path, kind: str) -> None:
    large = random.Random(1).randbytes(2 * MAX_CHUNK_BYTES)
    files = {**FILES, "writer/model.bin": large}
    components = {path: fleet.described(data) for path, data in files.items()}
    components["writer/model.bin"] = fleet.described(large, MAX_CHUNK_BYTES)
    device = Device(memory / "large", encode_manifest(fleet.manifest_of(components)))
    blobs = {f"targets/blobs/{fleet.digest(data)}.{fleet.digest(data)}": data for data in files.values()}
    stick = memory / "stick.tar"
    stick.write_bytes(bundle(in_bundle(blobs)))
    with ranges(blobs) as server:
        place = Repository(url=server.url) if kind == "web" else Bundle(path=str(stick))
        peak, said = peak_rss_bytes("edge_agent.update.fetch", device.job(place))
    assert msgspec.json.decode(said, type=Fetched).complete
    assert peak <= 60 << 20


def test_progress_is_said_in_order_and_not_too_often(device: Device, memory: Path) -> None:
    job = msgspec.json.encode(device.job(Repository(url=fleet.written(BLOBS, memory / "repo"))))
    said = _started(job).communicate(timeout=30)[0].splitlines()
    lines = [msgspec.json.decode(line, type=Progress) for line in said[:-1]]
    assert _complete(said)
    assert len(lines) <= len(FILES) + 40
    assert lines[-1].done_bytes == lines[-1].total_bytes == TOTAL
