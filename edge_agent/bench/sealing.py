"""Opening a sealed component, beside what is done for one in the clear: taking its SHA-256.

Rules: both read the same bytes from memory, in this process and on one core; runs take turns, and the medians are compared.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import time
from collections.abc import Callable, Iterator

from edge_agent.bench.report import Figure
from edge_agent.release.group_keys import KEY_BYTES, GroupKey
from edge_agent.release.manifest import Component
from edge_agent.release.sealing import open_sealed, seal

PIECE_BYTES = 1 << 20
"""What is read from a file at a time where a release is loaded."""


def measure(size_bytes: int, rounds: int) -> Iterator[Figure]:
    """Seconds for a component of `size_bytes`, sealed and in the clear."""
    draw = random.Random(5)
    plain, key = draw.randbytes(size_bytes), GroupKey(draw.randbytes(KEY_BYTES))
    component = Component(sha256=hashlib.sha256(plain).hexdigest(), size_bytes=size_bytes)
    sealed = b"".join(seal(plain, key))

    def opened() -> None:
        for _ in open_sealed("component", _pieces(sealed), component, key):
            pass

    def hashed() -> None:
        digest = hashlib.sha256()
        for piece in _pieces(plain):
            digest.update(piece)

    turns = [(_seconds(opened), _seconds(hashed)) for _ in range(rounds)]
    yield Figure(
        part="sealed",
        name=f"opening a component of {size_bytes / 1e6:.0f} MB",
        value=statistics.median(opening for opening, _ in turns),
        unit="s",
        n=rounds,
        against="SHA-256 of it in the clear",
        against_value=statistics.median(hashing for _, hashing in turns),
    )


def _pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]


def _seconds(work: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s
