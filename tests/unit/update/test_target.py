"""Bytes are a target's only when the last of them was checked."""

from __future__ import annotations

import hashlib

import pytest

from edge_agent.errors import RepositoryRefusedError
from edge_agent.update.target import Target, verified

DATA = b"a blob of bytes"


def target(**hashes: str) -> Target:
    return Target(name="blobs/x", role="group-a", length=len(DATA), hashes=hashes, path="blobs/x")


SHA256 = hashlib.sha256(DATA).hexdigest()
SHA512 = hashlib.sha512(DATA).hexdigest()


@pytest.mark.parametrize("size", [1, 4, 100])
def test_the_right_bytes_pass_in_parts_of_any_size(size: int) -> None:
    parts = [DATA[at : at + size] for at in range(0, len(DATA), size)]
    hashes = {"sha256": SHA256, "sha512": SHA512, "blake2b-256": hashlib.blake2b(DATA, digest_size=32).hexdigest()}
    assert b"".join(verified(target(**hashes), parts)) == DATA


@pytest.mark.parametrize(
    ("data", "reason"), [(DATA[:-1], "mismatch"), (DATA + b"!", "too-long"), (DATA[:-1] + b"!", "mismatch"), (b"", "mismatch")]
)
def test_others_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RepositoryRefusedError) as told:
        list(verified(target(sha256=SHA256), [data]))
    assert told.value.reason == reason


def test_every_hash_must_be_right_and_known() -> None:
    for hashes in ({"sha256": SHA256, "sha512": "0" * 128}, {"sha256": SHA256, "crc32": "0"}, {"shake_128": "00"}, {}):
        with pytest.raises(RepositoryRefusedError):
            list(verified(target(**hashes), [DATA]))


def test_too_many_bytes_are_noticed_before_the_end() -> None:
    given = iter([DATA, b"more", b"never asked for"])
    with pytest.raises(RepositoryRefusedError):
        list(verified(target(sha256=SHA256), given))
    assert next(given) == b"never asked for"
