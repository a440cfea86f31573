"""Measuring a writer: what is published is judged, counted for every threshold, and certified only where the counts allow."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from edge_ota import build
from edge_ota.calibrate import certificate as module
from edge_ota.calibrate.certificate import GRID, RememberingWriter, count, main
from edge_ota.calibrate.incidents import Drawn, draw
from msgspec.structs import replace

from edge_agent.engines.loading import FACTORY, machine_of, open_release
from edge_agent.pipeline import TEMPLATE_ONLY, explain
from edge_agent.release.certificate import CERTIFICATE_NAME, encode_certificate, parse_certificate
from edge_agent.values import Draft, Prompt, Summary
from tests.writing import draft

INCIDENTS = 70


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release that has no certificate yet."""
    release = tmp_path / "release"
    shutil.copytree(FACTORY, release)
    (release / CERTIFICATE_NAME).unlink(missing_ok=True)
    assert build.main([str(release), "--id", "trial-7", "--counter", "7"]) == 0
    return release


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    return draw("test", 4, 12)


def test_a_certificate_is_measured_built_in_and_holds_on_this_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With so few texts one in a hundred cannot be certified, one in ten can.
    monkeypatch.setattr(module, "ALPHA", 0.1)
    assert "no certificate" in open_release(folder).certified
    assert main([str(folder), "--count", str(INCIDENTS), "--seed", "5"]) == 0
    written = parse_certificate((folder / CERTIFICATE_NAME).read_bytes(), "c")
    (measured,) = written.measured
    assert (measured.machine, measured.incidents, measured.seed) == (machine_of()[0], INCIDENTS, 5)
    assert [counted.threshold for counted in measured.counts] == list(GRID)
    assert [counted.texts for counted in measured.counts] == sorted(counted.texts for counted in measured.counts)
    assert {counted.wrong for counted in measured.counts} == {0}
    assert build.main([str(folder), "--id", "trial-8", "--counter", "8"]) == 0
    opened = open_release(folder)
    assert opened.manifest.certificate == CERTIFICATE_NAME
    assert opened.certified == ""
    assert opened.speaking.rule.threshold == measured.threshold


def test_measurements_of_other_machines_are_kept_and_ones_own_is_replaced(
    folder: Path, drawn: list[Drawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "draw", lambda split, seed, count, classifier: (3 * drawn)[:count])
    monkeypatch.setattr(module, "ALPHA", 0.1)
    monkeypatch.setattr(module, "GRID", (0.5,))
    assert main([str(folder), "--count", "30", "--seed", "5"]) == 0
    path = folder / CERTIFICATE_NAME
    (mine,) = parse_certificate(path.read_bytes(), "c").measured
    board = replace(mine, machine=replace(mine.machine, instruction_set="aarch64/neon/ruy"))
    path.write_bytes(encode_certificate(replace(parse_certificate(path.read_bytes(), "c"), measured=(board, mine))))
    assert main([str(folder), "--count", "32", "--seed", "6"]) == 0
    again = {m.machine.instruction_set: m for m in parse_certificate(path.read_bytes(), "c").measured}
    assert again["aarch64/neon/ruy"] == board
    assert again[mine.machine.instruction_set].incidents == 32


def test_too_few_texts_certify_nothing(
    folder: Path, drawn: list[Drawn], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "draw", lambda split, seed, count, classifier: drawn[:count])
    monkeypatch.setattr(module, "GRID", (0.5,))
    assert main([str(folder), "--count", "8"]) == 1
    assert "nothing can be certified" in capsys.readouterr().err
    assert not (folder / CERTIFICATE_NAME).exists()


def test_a_release_that_cannot_be_opened_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "manifest.json" in capsys.readouterr().err


def test_a_text_that_is_not_true_is_counted(drawn: list[Drawn], monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose formatter were broken: its texts pass its own verifier, and the judge finds them."""
    release = open_release()
    writer = RememberingWriter(release.open_writer())

    def broken(*arguments: Any) -> Summary:
        summary = explain(*arguments)
        return replace(summary, text=summary.text.replace(" rose", " fell").replace(" silent", " noisy"))

    right = count(drawn, writer, release.speaking, 0.5)
    monkeypatch.setattr(module, "explain", broken)
    wrong = count(drawn, writer, release.speaking, 0.5)
    assert (right.wrong, right.texts) == (0, wrong.texts)
    assert wrong.wrong > 0


def test_a_writer_whose_every_draft_is_refused_publishes_nothing(drawn: list[Drawn]) -> None:
    class Silent:
        def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
            return [draft("at .") for _ in prompts]

    counted = count(drawn, Silent(), TEMPLATE_ONLY, 0.5)
    assert (counted.texts, counted.wrong, counted.by_writer) == (0, 0, 0)


def test_a_prompt_is_answered_once() -> None:
    asked: list[Prompt] = []

    class Counting:
        def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
            asked.extend(prompts)
            return [draft(prompt.pieces[0]) for prompt in prompts]

    writer = RememberingWriter(Counting())
    first, second = Prompt(pieces=("a",), max_pieces=1), Prompt(pieces=("b",), max_pieces=1)
    assert [d.skeleton for d in writer.write([first, second, first])] == ["a", "b", "a"]
    assert asked == [first, second]
