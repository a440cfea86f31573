"""A value that stands twice: what is loaded after damage, and how a copy of another version is told from a damaged one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from edge_agent.errors import RecordOtherError, StorageError, TrustLostError
from edge_agent.update import twice as module
from edge_agent.update.twice import Kind, Twice


class Counted(Struct, frozen=True, forbid_unknown_fields=True):
    generation: int
    word: str = ""


KIND: Kind[Counted] = Kind(
    type=Counted,
    what="a test (of kinds)",
    version=2,
    copies=("one", "two"),
    marker="begun",
    marker_text="Begun.",
    max_bytes=1_000,
    busy="busy",
    lost=TrustLostError,
    other=RecordOtherError,
)


def document(body: bytes, head: bytes = b"a test (of kinds) 2") -> bytes:
    return head + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def test_the_bytes_of_a_copy_are_as_documented(tmp_path: Path) -> None:
    Twice(tmp_path, KIND).save(Counted(3, "x"))
    for name in KIND.copies:
        assert (tmp_path / name).read_bytes() == document(b'{"generation":3,"word":"x"}')
    assert (tmp_path / "begun").read_bytes() == b"Begun.\n"


def test_only_a_folder_that_never_held_one_holds_none(tmp_path: Path) -> None:
    twice = Twice(tmp_path, KIND)
    assert twice.load() is None
    twice.save(Counted(1))
    for name in KIND.copies:
        (tmp_path / name).unlink()
    with pytest.raises(TrustLostError):
        twice.load()


def test_a_marker_that_is_a_dangling_link_is_a_marker(tmp_path: Path) -> None:
    os.symlink("nowhere", tmp_path / "begun")
    with pytest.raises(TrustLostError):
        Twice(tmp_path, KIND).load()


@pytest.mark.parametrize(
    "data",
    [
        document(b'{"generation":9}', b"a test (of kinds) 3"),
        document(b"not JSON at all", b"a test (of kinds) 1"),
        document(b'{"generation":9,"unknown":1}'),
        document(b'{"word":"x"}'),
    ],
)
@pytest.mark.parametrize("name", KIND.copies)
def test_a_whole_copy_of_another_version_is_neither_believed_nor_overwritten(tmp_path: Path, data: bytes, name: str) -> None:
    twice = Twice(tmp_path, KIND)
    twice.save(Counted(1))
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecordOtherError):
        twice.load()
    with pytest.raises(RecordOtherError):
        twice.save(Counted(2))
    assert (tmp_path / name).read_bytes() == data
    lenient = Twice(tmp_path, replace(KIND, other=None))
    loaded = lenient.load()
    assert loaded is not None
    assert (loaded.value, loaded.whole) == (Counted(1), False)


@pytest.mark.parametrize(
    "head", [b"a test (of kinds)", b"a test (of kinds) 0", b"a test (of kinds) 02", b"a test Xof kinds) 2", b"", b" 2"]
)
def test_another_first_line_is_no_copy_at_all(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "one").write_bytes(document(b'{"generation":1}', head))
    with pytest.raises(TrustLostError):
        Twice(tmp_path, KIND).load()


@given(damage=st.binary(max_size=200), at=st.integers(0, 200), which=st.sampled_from(KIND.copies))
def test_damage_of_one_copy_never_changes_what_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, at: int, which: str
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    twice = Twice(folder, KIND)
    twice.save(Counted(4, "word"))
    good = (folder / which).read_bytes()
    (folder / which).write_bytes(good[:at] + damage + good[at + len(damage) :])
    loaded = twice.load()
    assert loaded is not None
    assert loaded.value == Counted(4, "word")


def test_what_was_saved_after_damage_stands_in_both_copies(tmp_path: Path) -> None:
    twice = Twice(tmp_path, KIND)
    twice.save(Counted(1))
    (tmp_path / "one").write_bytes(b"")
    assert twice.generations() == {"one": -1, "two": 1}
    twice.save(Counted(2))
    assert twice.generations() == {"one": 2, "two": 2}
    loaded = twice.load()
    assert loaded is not None
    assert loaded.whole


@pytest.mark.parametrize("name", KIND.copies)
def test_a_copy_that_went_back_to_what_it_was_does_not_count(tmp_path: Path, name: str) -> None:
    twice = Twice(tmp_path, KIND)
    twice.save(Counted(1, "old"))
    old = (tmp_path / name).read_bytes()
    twice.save(Counted(2, "new"))
    (tmp_path / name).write_bytes(old)
    found = twice.load()
    assert found is not None
    assert (found.value, found.whole) == (Counted(2, "new"), False)


def test_the_older_copy_is_written_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = Twice(tmp_path, KIND)
    for older in KIND.copies:
        twice.save(Counted(1))
        kept = (tmp_path / older).read_bytes()
        twice.save(Counted(2))
        (tmp_path / older).write_bytes(kept)
        order: list[str] = []
        with monkeypatch.context() as patched:
            patched.setattr(module, "write_atomic", lambda path, data, order=order: order.append(path.name))
            twice.save(Counted(3))
        assert order[0] == older


def test_a_copy_that_the_disk_does_not_give_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = Twice(tmp_path, KIND)
    twice.save(Counted(1))
    (tmp_path / "one").unlink()

    def failing(path: Path, max_bytes: int) -> bytes | None:
        if path.name == "two":
            raise StorageError("Input/output error")
        return None

    monkeypatch.setattr(module, "read_regular", failing)
    with pytest.raises(StorageError, match="Input/output") as told:
        twice.load()
    assert not isinstance(told.value, TrustLostError)


def test_more_than_fits_is_not_kept(tmp_path: Path) -> None:
    twice = Twice(tmp_path, KIND)
    twice.save(Counted(1))
    with pytest.raises(StorageError, match="not kept"):
        twice.save(Counted(2, "x" * 1_000))
    loaded = twice.load()
    assert loaded is not None
    assert loaded.value == Counted(1)


def test_one_owner_at_a_time_and_readers_at_any_time(tmp_path: Path) -> None:
    twice = Twice(tmp_path, KIND)
    with twice.locked():
        twice.save(Counted(1))
        with pytest.raises(StorageError, match="busy"), Twice(tmp_path, KIND).locked():
            pass
        assert Twice(tmp_path, KIND).load() is not None
    with twice.locked():
        pass
