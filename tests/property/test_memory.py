"""Laws of the memory: it answers as a scan over all incidents would, in whatever order and by whatever way they came."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.detect.contract import SIGNATURE_BYTES
from edge_agent.engines.memory import SAME_ASSET_MARGIN, SIMILARITY_DIGITS, IncidentMemory
from edge_agent.values import PastIncident

FLOOR = -1.0
ROUNDING = 10.0**-SIMILARITY_DIGITS

signatures = st.one_of(
    st.binary(min_size=SIGNATURE_BYTES, max_size=SIGNATURE_BYTES),
    # A few values only, so that equal and nearly equal ones are common.
    st.integers(0, 5).map(lambda n: bytes([100 + n] * 16 + [n] * 16)),
)
assets = st.sampled_from(["pump-1", "fan-2"])


@st.composite
def incidents(draw: st.DrawFn) -> PastIncident:
    return PastIncident(
        number=draw(st.integers(1, 12)),
        incident_id=f"i-{draw(st.integers(0, 10**6))}",
        asset=draw(assets),
        opened_s=float(draw(st.integers(0, 5))),
        cause="cause",
        signature=draw(signatures),
    )


def cosine(a: bytes, b: bytes) -> float:
    x, y = np.frombuffer(a, np.int8).astype(np.float64), np.frombuffer(b, np.int8).astype(np.float64)
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(incidents(), max_size=25), query=signatures, before_s=st.sampled_from([0.0, 3.0, 99.0]), asset=assets)
def test_nearest_is_what_a_scan_finds(rows: list[PastIncident], query: bytes, before_s: float, asset: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory = IncidentMemory.open(Path(folder) / "m", "model", list, floor=FLOOR)
        for row in rows:
            memory.add(row)
        found = memory.nearest(query, before_s, asset)
    last = {row.number: row for row in rows}
    eligible = [row for row in last.values() if any(row.signature) and row.opened_s < before_s]
    if not eligible or not any(query):
        assert found is None
        return
    assert found is not None
    best = max(cosine(query, row.signature) for row in eligible)
    told = [
        row for row in eligible if (row.incident_id, row.asset, row.opened_s) == (found.incident_id, found.asset, found.opened_s)
    ]
    assert any(abs(cosine(query, row.signature) - found.similarity) <= ROUNDING for row in told)
    assert found.similarity >= best - SAME_ASSET_MARGIN - 2 * ROUNDING
    if found.asset != asset:
        # No incident of the asset was nearly as similar, and none at all more similar.
        assert found.similarity >= best - 2 * ROUNDING
        rivals = [row for row in eligible if row.asset == asset]
        assert all(cosine(query, row.signature) <= best - SAME_ASSET_MARGIN + 2 * ROUNDING for row in rivals)
    rivals = [row for row in eligible if row.asset == found.asset and row.signature in {each.signature for each in told}]
    assert found.opened_s == max(row.opened_s for row in rivals)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(incidents(), max_size=25, unique_by=lambda row: row.number), query=signatures)
def test_added_rebuilt_and_loaded_memories_answer_alike(rows: list[PastIncident], query: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        added = IncidentMemory.open(path, "model", list, floor=FLOOR)
        for row in rows:
            added.add(row)
        rebuilt = IncidentMemory.open(path, "model", lambda: rows, floor=FLOOR)
        added.save()
        loaded = IncidentMemory.open(path, "model", lambda: rows[::-1], floor=FLOOR)
        assert loaded.origin == "cache" or not len(loaded)
        assert added.nearest(query, 99.0) == rebuilt.nearest(query, 99.0) == loaded.nearest(query, 99.0)
