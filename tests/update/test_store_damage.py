"""Every state file deleted, emptied, halved or flipped in one bit, alone and in pairs; then an old valid repository is replayed.

The files: both copies of the record, both of what is trusted, the manifest of a release under way, a blob of the active
release, and a part. Whatever is damaged, the old repository is refused, what is active is whole or left, and the next release
arrives.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.errors import RecordLostError, RepositoryRefusedError, TrustLostError
from edge_agent.update.machine import Found, after
from edge_agent.update.record import Candidate, Record
from tests.update.device import Device
from tests.update.simulator import Repository
from tests.update.small_device import SmallDevice
from tests.update.small_releases import CHUNK_BYTES, MODEL, SmallRelease, release, stored

FIRST, SECOND, THIRD = release(1), release(2), release(3)


def model(of: SmallRelease) -> str:
    return of.manifest.components[MODEL].sha256


FILES = {
    "record.a": "record.a",
    "record.b": "record.b",
    "trusted.a": "trust/trusted.a",
    "trusted.b": "trust/trusted.b",
    "a manifest": f"manifests/{THIRD.sha256}.json",
    "the active manifest": f"manifests/{SECOND.sha256}.json",
    "the release's manifest": f"releases/{SECOND.sha256}/manifest.json",
    "a blob": f"blobs/{model(SECOND)}",
    "a part": f"parts/{model(THIRD)}",
}
PAIRS = [*((name,) for name in FILES), *itertools.combinations(FILES, 2)]


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(data)


WAYS: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "halved": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "bit-flipped": flipped,
}


class Seen:
    """A device in the middle of an update, and the repository as it is and as it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.repository = Repository()
        trust = Device(folder / "trust", self.repository.factory_root)
        trust.look(self.repository.files)
        self.old = dict(self.repository.files)
        self.repository.release()
        trust.look(self.repository.files)
        device = SmallDevice(folder)
        for each in (FIRST, SECOND):
            device.take(each)
        device.store.put_manifest(THIRD.data)
        wanted = stored(THIRD.blobs[model(THIRD)])
        with device.store.part(wanted) as part:
            part.resume()
            part.append(THIRD.blobs[model(THIRD)][:CHUNK_BYTES])
        found = after(device.record, Found(Candidate(held=THIRD.held, source="test")), 1.0)
        self.record = device.file.save(replace(found, floor=trust.floor))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return Seen(tmp_path_factory.mktemp("damage") / "seen")


@pytest.mark.parametrize("way", WAYS)
def test_state_files_damaged_singly_and_in_pairs_and_then_a_replay(memory: Path, seen: Seen, way: str) -> None:
    for damaged in PAIRS:
        folder = memory / "-".join(damaged)
        shutil.copytree(seen.folder, folder)
        for name in damaged:
            WAYS[way](folder / FILES[name])
        if "a blob" in damaged and way != "deleted":
            # The release's file is the same file under another name.
            shutil.copy(folder / FILES["a blob"], folder / "releases" / SECOND.sha256 / MODEL)
        record = recovered(folder, seen, lost={"record.a", "record.b"} <= set(damaged))
        refuses_the_replay(folder, seen, record, lost={"trusted.a", "trusted.b"} <= set(damaged))
        goes_on(folder, record)
        shutil.rmtree(folder)


def recovered(folder: Path, seen: Seen, *, lost: bool) -> Record:
    """The record as it was, or a new one where both copies are lost."""
    file = SmallDevice(folder).file
    if lost:
        with pytest.raises(RecordLostError, match="The factory release"):
            file.load()
        return file.save(Record(reason="the record was lost"))
    assert file.load() == seen.record
    return seen.record


def refuses_the_replay(folder: Path, seen: Seen, record: Record, *, lost: bool) -> None:
    device = Device(folder / "trust", seen.repository.factory_root)
    device.floor = record.floor
    with pytest.raises(TrustLostError if lost else RepositoryRefusedError):
        device.look(seen.old)
    if lost:
        with pytest.raises(TrustLostError):
            device.look(seen.repository.files)
        device.trust.start_anew()
        with pytest.raises(RepositoryRefusedError):
            device.look(seen.old)
    assert device.look(seen.repository.files) is not None


def goes_on(folder: Path, record: Record) -> None:
    """What is active is whole, or it is left; and the release that was under way arrives."""
    device = SmallDevice(folder)
    if record.active is not None:
        record = device.heal()
        assert record.active is not None
        assert device.store.verify(record.active.manifest_sha256) == []
    assert device.take(THIRD).active == THIRD.held
    assert device.store.verify(THIRD.sha256) == []
    assert device.take(SECOND).active == THIRD.held
