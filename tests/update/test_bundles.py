"""What the operator's tools make is looked at and fetched by every way; bundles forged, exchanged or pulled are not believed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from edge_ota import bundle as operator_bundle
from edge_ota import serve

from edge_agent.clock import SystemClock
from edge_agent.update.fetch import Stop, fetch
from edge_agent.update.floor import Floor
from edge_agent.update.jobs import Bundle, Fetched, FetchJob, Looked, LookJob, Place, Progress, RemoteBundle, Repository
from edge_agent.update.look import look
from edge_agent.update.store import Store
from tests.ota.repositories import Operator
from tests.update.bundles import BLOCK, END, bundle, header, in_bundle, member
from tests.update.peaks import peak_rss_bytes
from tests.update.ranges import ranges

MODEL = bytes(range(256)) * 400


class Gateway:
    """A device of one group, from look to fetch."""

    def __init__(self, folder: Path, operator: Operator, group: str = "canary") -> None:
        self.folder = folder
        self.group = group
        self.root = operator.repository / "metadata/1.root.json"
        self.floor = Floor()
        (folder / "store").mkdir(parents=True)
        self.store = Store(folder / "store")
        self.store.prepare()

    def look_job(self, place: Place, now_s: float | None = None) -> LookJob:
        return LookJob(
            place=place,
            group=self.group,
            trust_folder=str(self.folder / "trust"),
            root_file=str(self.root),
            now_s=time.time() if now_s is None else now_s,
            build_time_s=0.0,
            known=self.floor,
            timeout_s=10.0,
        )

    def look(self, place: Place, now_s: float | None = None) -> Looked:
        looked = look(self.look_job(place, now_s), SystemClock())
        self.floor = looked.floor
        return looked

    def kept(self, place: Place) -> str:
        """Look, and keep the manifest; its digest."""
        looked = self.look(place)
        assert looked.manifest is not None, looked.problem
        return self.store.put_manifest(looked.manifest)

    def fetch_job(self, place: Place, sha256: str) -> FetchJob:
        return FetchJob(
            place=place,
            store_folder=str(self.folder / "store"),
            manifest_sha256=sha256,
            max_bytes=1 << 30,
            min_free_bytes=0,
            timeout_s=10.0,
        )

    def fetch(self, place: Place, sha256: str, say: Callable[[msgspec.Struct], None] = lambda line: None) -> Fetched:
        return fetch(self.fetch_job(place, sha256), SystemClock(), say, Stop(), pause_s=0.0)

    def has_all(self, sha256: str) -> bool:
        manifest = self.store.manifest(sha256)
        return not self.store.missing(manifest) and not self.store.verify(sha256)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """A repository with a release for each group, and bundles of them: `canary-1.tar`, `canary-2.tar`, `fleet-1.tar`."""
    made = Operator(tmp_path_factory.mktemp("operator"))
    made.init()
    assert made.publish_small(1) == 0
    assert made.publish_small(5, "fleet") == 0
    _bundle(made, "canary", "canary-1.tar")
    _bundle(made, "fleet", "fleet-1.tar")
    assert made.publish_small(2) == 0
    _bundle(made, "canary", "canary-2.tar")
    return made


def _bundle(operator: Operator, group: str, name: str) -> None:
    assert operator_bundle.main([str(operator.repository), "--group", group, str(operator.folder / name)]) == 0


@pytest.fixture
def gateway(memory: Path, operator: Operator) -> Gateway:
    return Gateway(memory / "gateway", operator)


def why(told: Looked | Fetched) -> tuple[str, str]:
    assert told.problem is not None
    return told.problem.kind, told.problem.reason


def files_of(repository: Path) -> dict[str, bytes]:
    return {path.relative_to(repository).as_posix(): path.read_bytes() for path in repository.rglob("*") if path.is_file()}


# What is good.


def test_a_release_arrives_by_every_way(operator: Operator, memory: Path) -> None:
    data = (operator.folder / "canary-2.tar").read_bytes()
    with ranges({**files_of(operator.repository), "it.tar": data}) as server:
        places: tuple[Place, ...] = (
            Repository(url=f"file://{operator.repository}"),
            Repository(url=server.url),
            Bundle(path=str(operator.folder / "canary-2.tar")),
            RemoteBundle(url=f"{server.url}/it.tar", size_bytes=len(data)),
        )
        for number, place in enumerate(places):
            gateway = Gateway(memory / str(number), operator)
            sha256 = gateway.kept(place)
            assert gateway.store.manifest(sha256).counter == 2
            assert gateway.fetch(place, sha256).complete
            assert gateway.has_all(sha256)


def test_a_release_arrives_from_the_operators_own_server_and_goes_on_there_by_ranges(
    operator: Operator, gateway: Gateway
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(serve.Handler, folder=operator.repository)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            place = Repository(url=f"http://127.0.0.1:{server.server_port}")
            sha256 = gateway.kept(place)
            job = gateway.fetch_job(place, sha256)
            cut = fetch(msgspec.structs.replace(job, max_bytes=5_000), SystemClock(), lambda line: None, Stop())
            rest = gateway.fetch(place, sha256)
        finally:
            server.shutdown()
            thread.join()
    assert why(cut) == ("budget", "bytes")
    assert rest.complete
    assert gateway.has_all(sha256)


def test_a_release_that_was_begun_from_a_server_is_finished_from_a_stick(operator: Operator, gateway: Gateway) -> None:
    with ranges(files_of(operator.repository)) as server:
        sha256 = gateway.kept(Repository(url=server.url))
        begun = fetch(
            msgspec.structs.replace(gateway.fetch_job(Repository(url=server.url), sha256), max_bytes=5_000),
            SystemClock(), lambda line: None, Stop(),
        )  # fmt: skip
        assert why(begun) == ("budget", "bytes")
    rest = gateway.fetch(Bundle(path=str(operator.folder / "canary-2.tar")), sha256)
    assert rest.complete
    assert gateway.has_all(sha256)


def test_of_a_second_release_only_what_is_new_is_fetched(operator: Operator, gateway: Gateway) -> None:
    first = Bundle(path=str(operator.folder / "canary-1.tar"))
    assert gateway.fetch(first, gateway.kept(first)).complete
    with ranges(files_of(operator.repository)) as server:
        second = Repository(url=server.url)
        sha256 = gateway.kept(second)
        assert gateway.fetch(second, sha256).complete
        assert len(server.asked_for("blobs/")) == 1, "the lexicon"
    assert gateway.has_all(sha256)


# What is another's, older or over.


def test_a_bundle_of_another_group_brings_nothing(operator: Operator, gateway: Gateway) -> None:
    looked = gateway.look(Bundle(path=str(operator.folder / "fleet-1.tar")))
    assert (looked.manifest, why(looked)) == (None, ("link", "link"))
    fleet = Gateway(gateway.folder / "fleet", operator, "fleet")
    looked = fleet.look(Bundle(path=str(operator.folder / "canary-2.tar")))
    assert (looked.manifest, why(looked)) == (None, ("link", "link"))


def test_an_older_bundle_is_not_taken_after_a_newer_one(operator: Operator, gateway: Gateway) -> None:
    gateway.kept(Bundle(path=str(operator.folder / "canary-2.tar")))
    looked = gateway.look(Bundle(path=str(operator.folder / "canary-1.tar")))
    assert (looked.manifest, why(looked)) == (None, ("refused", "version"))


def test_a_bundle_expires(operator: Operator, gateway: Gateway) -> None:
    looked = gateway.look(Bundle(path=str(operator.folder / "canary-2.tar")), now_s=time.time() + 400 * 86_400)
    assert (looked.manifest, why(looked)) == (None, ("refused", "expired"))


# What is no bundle.


FORGED: dict[str, bytes] = {
    "symbolic-link": header("targets/blobs/" + "0" * 64, 0, kind=b"2", link=b"/etc/shadow"),
    "hard-link": header("targets/blobs/" + "0" * 64, 0, kind=b"1", link=b"metadata/timestamp.json"),
    "device": header("targets/blobs/" + "0" * 64, 0, kind=b"3"),
    "block-device": header("targets/blobs/" + "0" * 64, 0, kind=b"4"),
    "fifo": header("targets/blobs/" + "0" * 64, 0, kind=b"6"),
    "folder": header("targets/blobs", 0, kind=b"5"),
    "dots": member("metadata/../../../etc/cron.d/x", b"* * * * * root true"),
    "absolute": member("/etc/cron.d/x", b"* * * * * root true"),
    "duplicate": member("metadata/timestamp.json", b"{}"),
    "pax": header("metadata/x", 30, kind=b"x") + b"28 path=targets/blobs/../x\n".ljust(BLOCK, b"\0"),
    "sparse": header("targets/blobs/" + "0" * 64, 0, kind=b"S"),
    "long-name": header("././@LongLink", 100, kind=b"L") + bytes(BLOCK),
    "base-256": header("targets/blobs/" + "0" * 64, b"\x80" + bytes(10) + b"\x01"),
    "negative": header("targets/blobs/" + "0" * 64, b"-1"),
}


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("kind", FORGED)
def test_a_bundle_with_something_else_in_it_is_refused_whole(operator: Operator, gateway: Gateway, kind: str, where: str) -> None:
    good = (operator.folder / "canary-2.tar").read_bytes()
    forged = FORGED[kind] + good if where == "before" else good[: -len(END)] + FORGED[kind] + END
    path = gateway.folder / "stick.tar"
    path.write_bytes(forged)
    looked = gateway.look(Bundle(path=str(path)))
    assert (looked.manifest, why(looked)) == (None, ("refused", "bundle"))
    assert not (gateway.folder / "trust/root_history").exists()
    sha256 = gateway.kept(Bundle(path=str(operator.folder / "canary-2.tar")))
    assert why(gateway.fetch(Bundle(path=str(path)), sha256)) == ("refused", "bundle")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize("make", [_fifo, Path.mkdir, _link, lambda path: None])
def test_what_is_no_file_is_left_alone_and_nothing_waits(
    operator: Operator, gateway: Gateway, make: Callable[[Path], None]
) -> None:
    path = gateway.folder / "stick.tar"
    make(path)
    assert why(gateway.look(Bundle(path=str(path)))) == ("link", "link")
    sha256 = gateway.kept(Bundle(path=str(operator.folder / "canary-2.tar")))
    assert why(gateway.fetch(Bundle(path=str(path)), sha256)) == ("link", "link")


# What changes while it is read.


def test_a_bundle_changed_between_the_look_and_the_fetch_puts_nothing_false_into_the_store(
    operator: Operator, gateway: Gateway
) -> None:
    good = (operator.folder / "canary-2.tar").read_bytes()
    path = gateway.folder / "stick.tar"
    path.write_bytes(good)
    place = Bundle(path=str(path))
    sha256 = gateway.kept(place)
    largest = (operator.folder / "release-2/writer/model.bin").read_bytes()
    at = good.index(largest) + 5_000
    path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    assert why(gateway.fetch(place, sha256)) == ("refused", "chunk")
    missing = {name for name, _ in gateway.store.missing(gateway.store.manifest(sha256))}
    assert "writer/model.bin" in missing
    path.write_bytes(bundle({name: data for name, data in files_of(operator.repository).items() if name.startswith("metadata/")}))
    assert why(gateway.fetch(place, sha256)) == ("link", "link")
    path.write_bytes(good)
    assert gateway.fetch(place, sha256).complete
    assert gateway.has_all(sha256)


def test_a_blob_of_another_name_is_not_taken_for_it(operator: Operator, gateway: Gateway) -> None:
    files = in_bundle(files_of(operator.repository))
    place = Bundle(path=str(gateway.folder / "stick.tar"))
    sha256 = gateway.kept(Bundle(path=str(operator.folder / "canary-2.tar")))
    blobs = [name for name in files if name.startswith("targets/blobs/")]
    turned = dict(zip(blobs, [files[name] for name in [*blobs[1:], blobs[0]]], strict=True))
    (gateway.folder / "stick.tar").write_bytes(bundle({**files, **turned}))
    assert why(gateway.fetch(place, sha256))[0] in ("refused", "link")
    assert gateway.store.missing(gateway.store.manifest(sha256))
    for path in (gateway.folder / "store/blobs").iterdir():
        assert path.read_bytes() in files.values()


@pytest.mark.parametrize("pull", ["cut-off", "emptied", "gone"])
def test_a_stick_pulled_half_way_keeps_what_came(operator: Operator, gateway: Gateway, pull: str) -> None:
    good = (operator.folder / "canary-2.tar").read_bytes()
    path = gateway.folder / "stick.tar"
    path.write_bytes(good)
    sha256 = gateway.kept(Bundle(path=str(path)))
    pulled: list[int] = []

    def say(line: msgspec.Struct) -> None:
        assert isinstance(line, Progress)
        if line.done_bytes and not pulled:
            pulled.append(line.done_bytes)
            if pull == "gone":
                path.unlink()
            else:
                os.truncate(path, 0 if pull == "emptied" else line.done_bytes // 2)

    fetched = gateway.fetch(Bundle(path=str(path)), sha256, say)
    if pull == "gone":  # what is open is read to its end
        assert fetched.complete
    else:
        assert why(fetched) == ("link", "link")
        assert gateway.store.missing_bytes(gateway.store.manifest(sha256)) > 0
        assert gateway.store.verify(sha256)
        path.write_bytes(good)
        rest = gateway.fetch(Bundle(path=str(path)), sha256)
        assert rest.complete
        assert rest.fetched_bytes + pulled[0] <= len(good) + 16_384
    assert gateway.has_all(sha256)


@pytest.mark.parametrize("length", [0, 512, 5_000, -1_024, -1])
def test_a_bundle_that_is_still_being_copied_is_waited_for(operator: Operator, gateway: Gateway, length: int) -> None:
    path = gateway.folder / "stick.tar"
    path.write_bytes((operator.folder / "canary-2.tar").read_bytes()[: length or None if length else 0])
    assert why(gateway.look(Bundle(path=str(path)))) == ("link", "link")


# Memory.


@pytest.mark.parametrize("kind", ["repository", "stick"])
def test_the_peak_of_memory_of_a_look_is_small(operator: Operator, gateway: Gateway, kind: str) -> None:
    with ranges(files_of(operator.repository)) as server:
        place = Repository(url=server.url) if kind == "repository" else Bundle(path=str(operator.folder / "canary-2.tar"))
        peak, said = peak_rss_bytes("edge_agent.update.look", gateway.look_job(place))
    assert msgspec.json.decode(said, type=Looked).manifest is not None
    assert peak <= 60 << 20
