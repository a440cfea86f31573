"""A file that a repository vouches for, and whether bytes are that file.

Rules: bytes are handed on as they come and are believed only when the last of them was; whoever keeps them before that keeps
them under another name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from msgspec import Struct

from edge_agent.errors import RepositoryRefusedError

_BLAKE2B_256 = "blake2b-256"
"""The one name that TUF's libraries know and `hashlib` does not."""


class Target(Struct, frozen=True, kw_only=True):
    """A file that the repository vouches for."""

    name: str
    role: str
    """Who names it."""
    length: int
    hashes: dict[str, str]
    """By algorithm, in hexadecimal; one at least."""
    path: str
    """Where it is, below the base address of the targets."""


def verified(target: Target, parts: Iterable[bytes]) -> Iterator[bytes]:
    """`parts`, handed on as they come. Raises RepositoryRefusedError, at the end at the latest: not the target's bytes."""
    digests = [(_digest(target, algorithm), expected) for algorithm, expected in target.hashes.items()]
    if not digests:
        raise RepositoryRefusedError("hash", f"{target.name}: no hash at all")
    length = 0
    for part in parts:
        length += len(part)
        if length > target.length:
            raise RepositoryRefusedError("too-long", f"{target.name}: more than its {target.length} bytes")
        for digest, _ in digests:
            digest.update(part)
        yield part
    if length != target.length or any(digest.hexdigest() != expected for digest, expected in digests):
        raise RepositoryRefusedError("mismatch", f"{target.name}: not the bytes that the repository vouches for")


def _digest(target: Target, algorithm: str) -> hashlib._Hash | hashlib.blake2b:
    """Nothing hashed yet. Raises RepositoryRefusedError for a kind that is not known here, or whose digests have no length."""
    try:
        digest = hashlib.blake2b(digest_size=32) if algorithm == _BLAKE2B_256 else hashlib.new(algorithm)
    except ValueError as error:
        raise RepositoryRefusedError("hash", f"{target.name}: no hash of a kind known here, but {algorithm!a}") from error
    if not digest.digest_size:
        raise RepositoryRefusedError("hash", f"{target.name}: a hash without a length of its own, {algorithm!a}")
    return digest
