"""Opening is measured beside a digest; that what is opened is the component, opening itself sees to."""

from __future__ import annotations

from edge_agent.bench.sealing import PIECE_BYTES, measure


def test_the_figure_is_taken_beside_its_comparison() -> None:
    (figure,) = measure(PIECE_BYTES + 1, 3)
    assert figure.value is not None
    assert figure.against_value is not None
    assert min(figure.value, figure.against_value) > 0
    assert figure.n == 3
