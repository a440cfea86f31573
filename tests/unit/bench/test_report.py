"""Figures as a table and as JSON."""

from __future__ import annotations

import json

import pytest

from edge_agent.bench.report import Figure, Report, percentile, to_json, to_table

REPORT = Report(
    version="1.2.3",
    machine="a machine",
    started="2030-01-01T00:00:00Z",
    figures=(
        Figure(part="ingest", name="QoS 0", value=40_000.4, unit="msg/s", n=1000, against="bare loop", against_value=50_000.0),
        Figure(part="ingest", name="burst", value=0.0, unit="dropped", n=1000, aim="0"),
        Figure(part="memory", name="idle", value=None, unit="MB", n=0, note="no such file"),
    ),
)


def test_the_table_names_every_figure_its_comparison_and_what_was_not_taken() -> None:
    table = to_table(REPORT)
    (line,) = [line for line in table.splitlines() if "QoS 0" in line]
    assert all(word in line for word in ("40,000 msg/s", "1,000", "bare loop", "50,000 msg/s"))
    assert "not taken" in table
    assert "no such file" in table
    assert table.startswith("edge-agent 1.2.3 on a machine")


def test_the_json_has_every_field() -> None:
    data = json.loads(to_json(REPORT))
    assert data["figures"][0]["value"] == 40_000.4
    assert data["figures"][2]["value"] is None


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (95, 95), (99, 99), (100, 100), (0, 1)])
def test_percentiles_are_nearest_rank(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile([], 50) is None
