"""The file that stands twice: either copy is enough, and with none it says what a person must do."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from edge_agent.errors import StorageError, TrustLostError
from edge_agent.update import trusted as module
from edge_agent.update import twice
from edge_agent.update.floor import Floor, RoleFloor
from edge_agent.update.trusted import COPIES, MARKER, Trusted, TrustedFile

FLOOR = Floor(roles={"root": RoleFloor(version=3)})


def trusted(generation: int = 0) -> Trusted:
    return Trusted(generation=generation, factory_sha256="0" * 64, metadata={"root": b'{"a":\xc3\xa4}', "é/.": b""}, floor=FLOOR)


def test_a_folder_that_was_never_used_holds_nothing(tmp_path: Path) -> None:
    assert TrustedFile(tmp_path).load() is None


def test_what_is_saved_is_loaded_byte_for_byte(tmp_path: Path) -> None:
    TrustedFile(tmp_path).save(trusted())
    loaded = TrustedFile(tmp_path).load()
    assert loaded is not None
    assert (loaded.trusted, loaded.whole) == (trusted(), True)
    assert {path.name for path in tmp_path.iterdir()} == {*COPIES, MARKER}


def test_the_format_is_two_lines_and_a_document(tmp_path: Path) -> None:
    TrustedFile(tmp_path).save(trusted())
    head, digest, body = (tmp_path / COPIES[0]).read_bytes().split(b"\n", 2)
    assert head == b"edge-agent trusted 1"
    assert digest.decode() == hashlib.sha256(body).hexdigest()
    assert body.startswith(b'{"generation":0,')


@pytest.mark.parametrize("name", COPIES)
def test_one_good_copy_is_enough_and_is_said_not_to_be_whole(tmp_path: Path, name: str) -> None:
    TrustedFile(tmp_path).save(trusted())
    (tmp_path / name).write_bytes(b"")
    loaded = TrustedFile(tmp_path).load()
    assert loaded is not None
    assert (loaded.trusted, loaded.whole) == (trusted(), False)


@pytest.mark.parametrize("name", COPIES)
def test_the_higher_generation_counts_wherever_it_stands(tmp_path: Path, name: str) -> None:
    TrustedFile(tmp_path).save(trusted(1))
    newer = (tmp_path / name).read_bytes()
    TrustedFile(tmp_path).save(trusted(2))
    (tmp_path / name).write_bytes(newer)
    loaded = TrustedFile(tmp_path).load()
    assert loaded is not None
    assert (loaded.trusted.generation, loaded.whole) == (2, False)


def test_the_bad_copy_is_written_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TrustedFile(tmp_path).save(trusted(1))
    for name in COPIES:
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(good[:-1])
        order: list[str] = []
        with monkeypatch.context() as patched:
            patched.setattr(twice, "write_atomic", lambda path, data, order=order: order.append(path.name))
            TrustedFile(tmp_path).save(trusted(2))
        assert order[0] == name
        (tmp_path / name).write_bytes(good)


def test_a_flip_of_any_bit_is_noticed(tmp_path: Path) -> None:
    TrustedFile(tmp_path).save(trusted())
    good = (tmp_path / COPIES[0]).read_bytes()
    (tmp_path / COPIES[1]).unlink()
    for at in range(len(good)):
        (tmp_path / COPIES[0]).write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
        with pytest.raises(TrustLostError):
            TrustedFile(tmp_path).load()


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"generation":0}', b"null", b"\xff"])
def test_a_checksummed_document_of_another_shape_is_no_copy(tmp_path: Path, body: bytes) -> None:
    data = b"edge-agent trusted 1\n" + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    (tmp_path / COPIES[0]).write_bytes(data)
    with pytest.raises(TrustLostError):
        TrustedFile(tmp_path).load()


def test_both_copies_gone_but_not_the_marker_is_lost_not_new(tmp_path: Path) -> None:
    TrustedFile(tmp_path).save(trusted())
    for name in COPIES:
        (tmp_path / name).unlink()
    with pytest.raises(TrustLostError, match="start anew from the factory root"):
        TrustedFile(tmp_path).load()


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    TrustedFile(tmp_path).save(trusted())
    for name, make in ((COPIES[0], os.mkfifo), (COPIES[1], lambda path: os.symlink("/dev/zero", path))):
        (tmp_path / name).unlink()
        make(tmp_path / name)
    with pytest.raises(TrustLostError):
        TrustedFile(tmp_path).load()


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / COPIES[0]).open("wb") as file:
        file.truncate(module.MAX_FILE_BYTES + 1)
    with pytest.raises(TrustLostError):
        TrustedFile(tmp_path).load()


def test_more_than_fits_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100)
    with pytest.raises(StorageError, match="not kept"):
        TrustedFile(tmp_path).save(trusted())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_to_read_is_not_taken_for_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TrustedFile(tmp_path).save(trusted())

    def failing(fd: int, count: int) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", failing)
        with pytest.raises(StorageError, match="check the disk") as told:
            TrustedFile(tmp_path).load()
    assert not isinstance(told.value, TrustLostError)
    assert TrustedFile(tmp_path).load() is not None


def test_a_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    with TrustedFile(tmp_path).locked(), pytest.raises(StorageError, match="another process"), TrustedFile(tmp_path).locked():
        pass
    with TrustedFile(tmp_path).locked():
        pass


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="create the folder"), TrustedFile(tmp_path / "none").locked():
        pass
