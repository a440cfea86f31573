"""Damage to the memory's cache: whatever happens to its two files, the memory opens, says so, and answers as before."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_agent.atomic import write_atomic
from edge_agent.detect.contract import SIGNATURE_BYTES
from edge_agent.engines.memory import IncidentMemory
from edge_agent.errors import StorageError
from edge_agent.values import Evidence, PastIncident

ROWS = 6
LATER_S = 1e12
SIGNATURES = np.random.default_rng(4).integers(-127, 128, (ROWS, SIGNATURE_BYTES), dtype=np.int8)


def journal() -> list[PastIncident]:
    return [
        PastIncident(number=n + 1, incident_id=f"i-{n}", asset="fan", opened_s=float(n), cause="dust", signature=row.tobytes())
        for n, row in enumerate(SIGNATURES)
    ]


def answers(memory: IncidentMemory) -> list[Evidence | None]:
    return [memory.nearest(row.tobytes(), LATER_S) for row in SIGNATURES]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "memory.usearch"
    memory = IncidentMemory.open(path, "model", journal)
    memory.save()
    assert IncidentMemory.open(path, "model", journal).origin == "cache"
    return path


@pytest.fixture
def expected(cache: Path) -> list[Evidence | None]:
    found = answers(IncidentMemory.open(cache, "model", journal))
    assert all(each is not None and each.similarity == 1.0 for each in found)
    return found


def opens_anew(cache: Path, expected: list[Evidence | None]) -> None:
    memory = IncidentMemory.open(cache, "model", journal)
    assert memory.origin.startswith("rebuilt: "), memory.origin
    assert answers(memory) == expected


def test_every_byte_of_the_index_counts(cache: Path, expected: list[Evidence | None]) -> None:
    good = cache.read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1 << (position % 8)
        cache.write_bytes(bad)
        opens_anew(cache, expected)


def test_every_flipped_bit_of_the_sidecar_leads_to_the_same_answers(cache: Path, expected: list[Evidence | None]) -> None:
    sidecar = cache.with_name(cache.name + ".json")
    good = sidecar.read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1 << (position % 7)
        sidecar.write_bytes(bad)
        opens_anew(cache, expected)


@pytest.mark.parametrize("which", ["memory.usearch", "memory.usearch.json"])
def test_truncation_at_any_length(cache: Path, expected: list[Evidence | None], which: str) -> None:
    victim = cache.with_name(which)
    good = victim.read_bytes()
    for length in [*range(0, len(good), 7), len(good) - 1]:
        victim.write_bytes(good[:length])
        opens_anew(cache, expected)


def test_an_index_that_is_too_long(cache: Path, expected: list[Evidence | None]) -> None:
    cache.write_bytes(cache.read_bytes() + b"\0")
    opens_anew(cache, expected)


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_with_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_with_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize("which", ["memory.usearch", "memory.usearch.json"])
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(range(256)) * 40),
        lambda path: path.write_bytes(b"[" * 4000),
        replace_with_folder,
        replace_with_loop,
        replace_with_pipe,
    ],
    ids=["deleted", "empty", "garbage", "nested", "folder", "link-loop", "pipe"],
)
def test_a_file_that_is_not_what_it_was(
    cache: Path, expected: list[Evidence | None], which: str, damage: Callable[[Path], object]
) -> None:
    damage(cache.with_name(which))
    opens_anew(cache, expected)


def test_a_crash_between_the_two_files_is_noticed(
    cache: Path, expected: list[Evidence | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = IncidentMemory.open(cache, "model", journal)
    more = PastIncident(number=99, incident_id="i-99", asset="fan", opened_s=99.0, cause="dust", signature=b"\x05" * 32)
    memory.add(more)

    def power_cut(path: Path, data: bytes) -> None:
        if path.suffix == ".json":
            raise StorageError("power cut")
        write_atomic(path, data)

    monkeypatch.setattr("edge_agent.engines.memory.write_atomic", power_cut)
    with pytest.raises(StorageError):
        memory.save()
    for rows in (journal(), [*journal(), more]):
        again = IncidentMemory.open(cache, "model", lambda rows=rows: rows)  # type: ignore[misc]  # bound now, not later
        assert again.origin.startswith("rebuilt: ")
        assert answers(again) == expected


def test_a_rebuilt_memory_saves_a_cache_that_loads(cache: Path, expected: list[Evidence | None]) -> None:
    cache.write_bytes(b"damaged")
    memory = IncidentMemory.open(cache, "model", journal)
    memory.save()
    again = IncidentMemory.open(cache, "model", journal)
    assert again.origin == "cache"
    assert answers(again) == expected
