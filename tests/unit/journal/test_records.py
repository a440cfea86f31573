"""`edge_agent.journal.records`: the sum in the opening report."""

from __future__ import annotations

from edge_agent.journal.records import OpeningReport


def test_salvaged_rows_are_summed() -> None:
    report = OpeningReport(path="j", salvaged_incidents=1, salvaged_summaries=2, salvaged_messages=4)
    assert report.salvaged == 7
    assert OpeningReport(path="j").salvaged == 0
