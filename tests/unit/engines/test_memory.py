"""The memory of incidents with real usearch: what is found, what replaces what, and what is in the cache."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent.detect.contract import SIGNATURE_BYTES
from edge_agent.engines import memory as memory_module
from edge_agent.engines.memory import SAME_ASSET_MARGIN, IncidentMemory
from edge_agent.errors import StorageError
from edge_agent.pipeline import Memory
from edge_agent.values import PastIncident

MODEL = "a" * 64
LATER_S = 1e12


def vector(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(-127, 128, SIGNATURE_BYTES, dtype=np.int8).tobytes()


def near(signature: bytes, seed: int = 0, amount: int = 6) -> bytes:
    """A signature whose cosine with `signature` is high but not 1."""
    noise = np.random.default_rng(seed).integers(-amount, amount + 1, SIGNATURE_BYTES)
    moved = np.frombuffer(signature, np.int8).astype(np.int64) + noise
    return np.clip(moved, -127, 127).astype(np.int8).tobytes()


def cosine(a: bytes, b: bytes) -> float:
    x, y = np.frombuffer(a, np.int8).astype(float), np.frombuffer(b, np.int8).astype(float)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def past(number: int, signature: bytes | None = None, **changes: object) -> PastIncident:
    fields: dict[str, object] = {
        "number": number,
        "incident_id": f"i-{number}",
        "asset": "pump-1",
        "opened_s": 1000.0 + number,
        "cause": f"cause {number}",
        "signature": vector(number) if signature is None else signature,
    }
    return PastIncident(**{**fields, **changes})  # type: ignore[arg-type]  # fields are given by name in the tests below


def opened(path: Path, incidents: Iterable[PastIncident] = (), *, model: str = MODEL, **options: int) -> IncidentMemory:
    rows = list(incidents)
    return IncidentMemory.open(path / "memory.usearch", model, lambda: rows, **options)


def test_it_is_what_the_spine_asks_for(tmp_path: Path) -> None:
    memory: Memory = opened(tmp_path)
    assert memory.nearest(vector(1), LATER_S) is None


def test_finds_the_incident_of_the_same_waveform_and_tells_what_is_known_of_it(tmp_path: Path) -> None:
    memory = opened(tmp_path, [past(n) for n in range(1, 200)])
    found = memory.nearest(near(vector(77)), LATER_S)
    assert found is not None
    assert (found.incident_id, found.asset, found.opened_s, found.cause) == ("i-77", "pump-1", 1077.0, "cause 77")
    assert found.similarity == pytest.approx(cosine(near(vector(77)), vector(77)), abs=1e-4)


def test_nothing_is_found_below_the_floor(tmp_path: Path) -> None:
    rows = [past(1)]
    query = near(vector(1), amount=60)
    similarity = cosine(query, vector(1))
    path = tmp_path / "memory.usearch"
    assert IncidentMemory.open(path, MODEL, lambda: rows, floor=similarity - 0.01).nearest(query, LATER_S) is not None
    assert IncidentMemory.open(path, MODEL, lambda: rows, floor=similarity + 0.01).nearest(query, LATER_S) is None


def test_opposite_waveforms_are_not_alike(tmp_path: Path) -> None:
    opposite = (-np.frombuffer(vector(1), np.int8)).tobytes()
    assert opened(tmp_path, [past(1)]).nearest(opposite, LATER_S) is None


@pytest.mark.parametrize("signature", [b"", b"\x01" * 31, b"\x01" * 33, bytes(SIGNATURE_BYTES)])
def test_signatures_that_cannot_be_compared_are_neither_kept_nor_found(tmp_path: Path, signature: bytes) -> None:
    memory = opened(tmp_path, [past(1, signature), past(2)])
    assert len(memory) == 1
    memory.add(past(3, signature))
    assert len(memory) == 1
    assert memory.nearest(signature, LATER_S) is None


def test_only_incidents_that_opened_before_count(tmp_path: Path) -> None:
    memory = opened(tmp_path, [past(1, vector(1), opened_s=100.0), past(2, near(vector(1)), opened_s=50.0)])
    assert memory.nearest(vector(1), 100.0) is not None
    assert memory.nearest(vector(1), 100.0).incident_id == "i-2"  # type: ignore[union-attr]  # asserted above
    assert memory.nearest(vector(1), 50.0) is None


def test_the_same_asset_is_preferred_when_nearly_as_similar_and_not_otherwise(tmp_path: Path) -> None:
    close, far = near(vector(1), amount=8), near(vector(1), amount=40)
    assert 1.0 - cosine(close, vector(1)) < SAME_ASSET_MARGIN < 1.0 - cosine(far, vector(1)) < 0.1
    rows = [past(1, vector(1), asset="fan-9"), past(2, close), past(3, far, asset="press-4")]
    memory = opened(tmp_path, rows)

    def answer(asset: str) -> str:
        found = memory.nearest(vector(1), LATER_S, asset)
        assert found is not None
        return found.incident_id

    assert answer("pump-1") == "i-2"
    assert answer("press-4") == "i-1"
    assert answer("") == "i-1"


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_of_equally_similar_ones_the_most_recent_is_told(tmp_path: Path, order: tuple[int, ...]) -> None:
    memory = opened(tmp_path)
    for number in order:
        memory.add(past(number, vector(5), opened_s={1: 300.0, 2: 500.0, 3: 500.0}[number]))
    found = memory.nearest(vector(5), LATER_S)
    assert found is not None
    assert found.incident_id == "i-3"


def test_adding_a_number_again_replaces_its_cause(tmp_path: Path) -> None:
    memory = opened(tmp_path, [past(1)])
    memory.add(past(1, cause="worn bearing"))
    found = memory.nearest(vector(1), LATER_S)
    assert found is not None
    assert found.cause == "worn bearing"
    assert len(memory) == 1


def test_adding_a_number_again_replaces_its_signature(tmp_path: Path) -> None:
    memory = opened(tmp_path, [past(1), past(2)])
    memory.add(past(1, vector(9)))
    assert memory.nearest(vector(1), LATER_S) is None
    found = memory.nearest(vector(9), LATER_S)
    assert found is not None
    assert found.incident_id == "i-1"
    memory.add(past(1, b""))
    assert memory.nearest(vector(9), LATER_S) is None
    assert len(memory) == 1


def test_it_keeps_the_newest_and_stays_bounded(tmp_path: Path) -> None:
    memory = opened(tmp_path, [past(n) for n in range(1, 31)], max_incidents=20)
    assert len(memory) == 20
    for number in range(31, 101):
        memory.add(past(number))
    assert len(memory) == 20
    assert memory.nearest(vector(80), LATER_S) is None
    assert all(memory.nearest(vector(n), LATER_S) is not None for n in range(81, 101))


def test_one_that_is_older_than_all_of_a_full_memory_is_not_kept(tmp_path: Path) -> None:
    memory = opened(tmp_path, [past(n) for n in range(11, 16)], max_incidents=5)
    memory.add(past(2))
    assert len(memory) == 5
    assert memory.nearest(vector(2), LATER_S) is None


def test_the_last_one_may_go_and_another_come(tmp_path: Path) -> None:
    memory = opened(tmp_path, [past(1)])
    memory.add(past(1, b""))
    assert memory.nearest(vector(1), LATER_S) is None
    memory.save()
    memory.add(past(2))
    assert memory.nearest(vector(2), LATER_S) is not None


def test_what_was_saved_is_loaded_and_answers_alike(tmp_path: Path) -> None:
    rows = [past(n) for n in range(1, 120)]
    first = opened(tmp_path, rows)
    assert first.origin == "rebuilt: no memory.usearch.json"
    first.save()
    second = opened(tmp_path, reversed(rows))
    assert second.origin == "cache"
    for number in range(1, 120):
        query = near(vector(number), seed=number)
        assert second.nearest(query, LATER_S) == first.nearest(query, LATER_S)


def test_a_cause_that_changed_in_the_journal_needs_no_new_index(tmp_path: Path) -> None:
    opened(tmp_path, [past(1)]).save()
    memory = opened(tmp_path, [past(1, cause="fouled filter")])
    assert memory.origin == "cache"
    found = memory.nearest(vector(1), LATER_S)
    assert found is not None
    assert found.cause == "fouled filter"


def test_a_loaded_memory_goes_on_learning_and_is_saved_again(tmp_path: Path) -> None:
    opened(tmp_path, [past(1), past(2)]).save()
    memory = opened(tmp_path, [past(1), past(2)])
    memory.add(past(3))
    memory.add(past(1, vector(50)))
    memory.save()
    again = opened(tmp_path, [past(1, vector(50)), past(2), past(3)])
    assert again.origin == "cache"
    assert [again.nearest(vector(n), LATER_S) is not None for n in (1, 2, 3, 50)] == [False, True, True, True]


def test_nothing_is_written_unless_something_changed(tmp_path: Path) -> None:
    opened(tmp_path).save()
    assert list(tmp_path.iterdir()) == []
    opened(tmp_path, [past(1)]).save()
    before = {each: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    opened(tmp_path, [past(1)]).save()
    assert {each: each.stat().st_mtime_ns for each in tmp_path.iterdir()} == before
    assert sorted(each.name for each in before) == ["memory.usearch", "memory.usearch.json"]


def test_a_folder_that_is_not_there_is_a_storage_error_and_the_memory_still_answers(tmp_path: Path) -> None:
    memory = opened(tmp_path / "absent", [past(1)])
    with pytest.raises(StorageError, match="absent"):
        memory.save()
    assert memory.nearest(vector(1), LATER_S) is not None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "another version"),
        ({"usearch": "1.0.0"}, "another version"),
        ({"model": "b" * 64}, "another classifier"),
        ({"rows": 4}, "journal has changed"),
        ({"highest": 9}, "journal has changed"),
        ({"content": "0" * 64}, "signatures in the journal"),
        ({"index_bytes": 1 << 40}, "unlikely index size"),
        ({"index_bytes": -1}, "unlikely index size"),
        ({"index_bytes": 0}, "unlikely index size"),
        ({"index": "0" * 64}, "checksum"),
        ({"surplus": 1}, "damaged"),
    ],
)
def test_every_field_of_the_sidecar_counts(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    rows = [past(n) for n in range(1, 4)]
    opened(tmp_path, rows).save()
    sidecar = tmp_path / "memory.usearch.json"
    sidecar.write_bytes(msgspec.json.encode({**msgspec.json.decode(sidecar.read_bytes()), **change}))
    memory = opened(tmp_path, rows)
    assert memory.origin.startswith("rebuilt: ")
    assert reason in memory.origin
    assert memory.nearest(vector(2), LATER_S) is not None


@pytest.mark.parametrize(
    "journal",
    [
        [past(1), past(2)],
        [past(1), past(2), past(3), past(4)],
        [past(1), past(2), past(4)],
        [past(1), past(2), past(3, vector(30))],
        [],
    ],
)
def test_the_journal_overrules_the_cache(tmp_path: Path, journal: list[PastIncident]) -> None:
    opened(tmp_path, [past(1), past(2), past(3)]).save()
    memory = opened(tmp_path, journal)
    assert memory.origin.startswith("rebuilt: ")
    assert len(memory) == len(journal)
    for each in journal:
        found = memory.nearest(each.signature, LATER_S)
        assert found is not None
        assert found.incident_id == each.incident_id
    if all(each.signature != vector(3) for each in journal):
        assert memory.nearest(vector(3), LATER_S) is None


def test_the_number_of_an_incident_may_be_any_that_sqlite_gives(tmp_path: Path) -> None:
    rows = [past(1), past(2**63 - 1, vector(2), opened_s=5.0)]
    opened(tmp_path, rows).save()
    memory = opened(tmp_path, rows)
    assert memory.origin == "cache"
    found = memory.nearest(vector(2), LATER_S)
    assert found is not None
    assert found.incident_id == f"i-{2**63 - 1}"


def test_usearch_is_imported_only_when_there_is_something_to_remember(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from edge_agent.engines.memory import IncidentMemory\n"
        f"memory = IncidentMemory.open(pathlib.Path({str(tmp_path / 'm')!r}), 'x', lambda: [])\n"
        "memory.nearest(b'1' * 32, 1.0)\n"
        "memory.save()\n"
        "print('usearch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_the_sidecar_is_read_no_further_than_it_can_be_long(tmp_path: Path) -> None:
    opened(tmp_path, [past(1)]).save()
    sidecar = tmp_path / "memory.usearch.json"
    assert len(sidecar.read_bytes()) < memory_module.MAX_SIDECAR_BYTES
    sidecar.write_bytes(sidecar.read_bytes() + b" " * memory_module.MAX_SIDECAR_BYTES * 10)
    assert opened(tmp_path, [past(1)]).nearest(vector(1), LATER_S) is not None
