"""Quality for share escalated: what each order needs, and what the device's own policy comes to."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from edge_ota.calibrate.curve import ORDERS, Case, cases, curve, main, report, share_needed, untrained
from edge_ota.calibrate.incidents import Drawn, draw

from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.pipeline import plan_of


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    return draw("test", 9, 30)


def case(confidence: float, *, good: bool, score: float = 0.9) -> Case:
    return Case(confidence, score, confidence < 0.5, good)


FOUND = [
    case(0.0, good=False, score=0.95),
    case(0.6, good=False),
    case(0.7, good=True, score=0.2),
    case(0.9, good=True),
    case(0.9, good=True),
]


def test_quality_grows_from_the_writers_own_to_all() -> None:
    for order in ORDERS:
        qualities = curve(FOUND, order)
        assert len(qualities) == len(FOUND) + 1
        assert qualities[0] == pytest.approx(0.6)
        assert qualities[-1] == pytest.approx(1.0)
        assert qualities == sorted(qualities)
    assert curve(FOUND, "policy") == pytest.approx([0.6, 0.8, 1.0, 1.0, 1.0, 1.0])
    assert curve(FOUND, "score") == pytest.approx([0.6, 0.6, 0.8, 0.8, 0.8, 1.0])


def test_no_order_is_above_the_oracles() -> None:
    best = curve(FOUND, "oracle")
    assert all(mine <= most + 1e-12 for order in ORDERS for mine, most in zip(curve(FOUND, order), best, strict=True))


def test_the_share_needed_allows_half_a_point() -> None:
    assert share_needed(curve(FOUND, "policy")) == pytest.approx(2 / 5)
    many = [case(0.9, good=True)] * 399 + [case(0.1, good=False)]
    assert share_needed(curve(many, "chance")) == 0.0
    assert share_needed(curve([*many, *[case(0.1, good=False)] * 2], "oracle")) == pytest.approx(1 / 402)


def test_the_report_says_what_the_device_does() -> None:
    text = report("mix", FOUND)
    assert "escalated by the device: 20.0%, quality then 80.00%" in text
    assert "told well by the writer alone: 60.0%" in text


def test_the_writer_is_judged_on_its_own_text_and_the_device_escalates_what_is_wrong(drawn: list[Drawn]) -> None:
    release = open_release()
    for found in (cases(drawn, release.open_writer(), release), cases(untrained(drawn, 1), release.open_writer(), release)):
        assert len(found) == len(drawn)
        assert any(one.is_good for one in found)
        assert all(one.is_good for one in found if not one.escalates)


def test_the_untrained_set_has_forms_that_training_lacks(drawn: list[Drawn]) -> None:
    def lacking(one_set: list[Drawn]) -> int:
        subjects = [s for d in one_set for chunk in plan_of(d.incident, None).chunks for s in chunk.subjects]
        directed = [s for s in subjects if s.kind in ("spike", "dip", "shift", "drift")]
        return sum(("lead" not in s.roles) if s.grouped else ("moved" not in s.roles) for s in directed)

    assert lacking(untrained(drawn, 1)) > 3 * max(1, lacking(drawn))
    assert untrained(drawn, 1) == untrained(drawn, 1)


def test_the_command_writes_the_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "curve.csv"
    assert main([str(FACTORY), "--count", "12", "--seed", "3", "--csv", str(path)]) == 0
    shown = capsys.readouterr().out
    rows = list(csv.DictReader(path.open()))
    assert {row["mix"] for row in rows} == {"calibration", "untrained", "noised"}
    assert all(name in shown for name in ("calibration", "untrained", "noised"))
    assert len(rows) == 3 * 101
    assert float(rows[100]["policy"]) == 1.0
    assert main([str(tmp_path)]) == 1
