"""Manifests by digest: only what has the digest of its name is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.errors import ReleaseError
from edge_agent.update.manifests import Manifests, checked, is_digest
from tests.update.small_releases import release

FIRST, SECOND = release(1), release(2)


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    for name in ("manifests", "releases"):
        (tmp_path / name).mkdir()
    return Manifests(tmp_path / "manifests", tmp_path / "releases")


def test_a_manifest_is_kept_byte_for_byte(manifests: Manifests, tmp_path: Path) -> None:
    assert manifests.put(FIRST.data) == FIRST.sha256
    assert manifests.get(FIRST.sha256) == FIRST.data
    assert os.listdir(tmp_path / "manifests") == [f"{FIRST.sha256}.json"]


def test_keeping_it_again_writes_nothing(manifests: Manifests, tmp_path: Path) -> None:
    manifests.put(FIRST.data)
    before = (tmp_path / "manifests" / f"{FIRST.sha256}.json").stat().st_ino
    manifests.put(FIRST.data)
    assert (tmp_path / "manifests" / f"{FIRST.sha256}.json").stat().st_ino == before


@pytest.mark.parametrize("found", [b"", b"{}", SECOND.data, FIRST.data[:-1], FIRST.data + b" "])
def test_what_has_another_digest_is_none_and_is_replaced(manifests: Manifests, tmp_path: Path, found: bytes) -> None:
    (tmp_path / "manifests" / f"{FIRST.sha256}.json").write_bytes(found)
    assert manifests.get(FIRST.sha256) is None
    manifests.put(FIRST.data)
    assert manifests.get(FIRST.sha256) == FIRST.data


def test_a_folder_in_its_place_is_put_out_of_the_way(manifests: Manifests, tmp_path: Path) -> None:
    (tmp_path / "manifests" / f"{FIRST.sha256}.json" / "deeper").mkdir(parents=True)
    manifests.put(FIRST.data)
    assert manifests.get(FIRST.sha256) == FIRST.data


def test_what_is_no_manifest_is_not_kept(manifests: Manifests, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="not a release manifest"):
        manifests.put(b"{}")
    assert os.listdir(tmp_path / "manifests") == []


def test_keys_go_with_their_manifest(manifests: Manifests, tmp_path: Path) -> None:
    for each in (FIRST, SECOND):
        manifests.put(each.data)
        manifests.put_keys(each.sha256, b"keys")
    assert manifests.keys(FIRST.sha256) == b"keys"
    assert manifests.keys("0" * 64) is None
    assert manifests.collect({SECOND.sha256}) == len(FIRST.data) + 4
    assert set(os.listdir(tmp_path / "manifests")) == {f"{SECOND.sha256}.json", f"{SECOND.sha256}.keys.json"}


def test_a_digest_is_64_lower_case_hexadecimal_digits() -> None:
    assert is_digest("0123456789abcdef" * 4)
    assert checked("f" * 64) == "f" * 64
    for other in ("", "F" * 64, "f" * 63, "f" * 64 + "\n", "g" * 64):
        assert not is_digest(other)
        with pytest.raises(ReleaseError):
            checked(other)
