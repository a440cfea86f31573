"""Parts of a release held against each other; what the probe makes of it stands in `tests/update`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.confidence import FEATURES, ConfidenceRule
from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.errors import ReleaseError
from edge_agent.probe.parts import MAX_LEXICON, foreign_file, wrong_certificate, wrong_lexicon, wrong_rule, wrong_tokenizer
from edge_agent.release.certificate import Counted, parse_certificate
from tests.update import releases

RELEASE = open_release()
CERTIFICATE = parse_certificate(releases.read("certificate.json"), "c")
TOKENIZER, VOCABULARY = releases.read("tokenizer.json"), releases.read("writer/vocabulary.json")
LEXICON = RELEASE.speaking.lexicon


def rule(threshold: float, weight: float = 3.0, intercept: float = 2.0) -> ConfidenceRule:
    return ConfidenceRule(features=FEATURES, weights=(weight, 0.0, 0.0, 0.0), intercept=intercept, threshold=threshold)


def test_the_factorys_parts_go_together() -> None:
    assert wrong_rule(RELEASE.speaking.rule) == ""
    assert wrong_certificate(CERTIFICATE, RELEASE.manifest) == ""
    assert wrong_lexicon(LEXICON) == ""
    assert wrong_tokenizer(TOKENIZER, VOCABULARY, LEXICON) == ""
    assert foreign_file(FACTORY, RELEASE.manifest) == ""


@pytest.mark.parametrize(
    ("unfit", "expected"),
    [
        (rule(0.0), "scores worst"),
        (rule(float("nan")), "scores worst"),
        (rule(float("inf")), "nothing pass"),
        (rule(0.95), "nothing pass"),
        (rule(0.5, weight=0.0), "scores worst"),
        (rule(0.5, weight=-3.0), "scores worst"),
        (rule(0.5, weight=float("nan")), "scores worst"),
    ],
)
def test_a_rule_that_decides_nothing(unfit: ConfidenceRule, expected: str) -> None:
    assert expected in wrong_rule(unfit)


def test_a_rule_that_tells_sure_from_unsure() -> None:
    assert wrong_rule(rule(0.5)) == ""


@pytest.mark.parametrize("name", ["writer_sha256", "tokenizer_sha256", "lexicon_sha256", "rule_sha256"])
def test_a_certificate_of_another_release(name: str) -> None:
    other = replace(CERTIFICATE, speaker=replace(CERTIFICATE.speaker, **{name: "0" * 64}))
    assert "measured with another" in wrong_certificate(other, RELEASE.manifest)


def test_a_certificate_measured_beside_another_verifier_is_no_contradiction() -> None:
    other = replace(CERTIFICATE, speaker=replace(CERTIFICATE.speaker, verifier_version=9, prompt_version=9))
    assert wrong_certificate(other, RELEASE.manifest) == ""


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(0.9, 3_001, 0, 9)], "cannot be"),
        ([(0.9, 300, 301, 9)], "cannot be"),
        ([(0.9, 300, 0, 301)], "cannot be"),
        ([(0.9, 300, 0, 9), (0.9, 300, 0, 9)], "from strict to lax"),
        ([(0.9, 300, 0, 9), (0.8, 299, 0, 9)], "from strict to lax"),
    ],
)
def test_counts_that_cannot_be(counts: list[tuple[float, int, int, int]], expected: str) -> None:
    counted = tuple(Counted(threshold=t, texts=n, wrong=w, by_writer=b) for t, n, w, b in counts)
    other = replace(CERTIFICATE, measured=(replace(CERTIFICATE.measured[0], counts=counted),))
    assert expected in wrong_certificate(other, RELEASE.manifest)


@pytest.mark.parametrize("word", ["=say", "</s>", "<peak:0>", "At", "two words", "7", "�", "at\r", "bar!"])
def test_what_is_no_word(word: str) -> None:
    assert repr(word) in wrong_lexicon(LEXICON | {word})


def test_a_lexicon_has_words_and_not_too_many() -> None:
    assert "empty" in wrong_lexicon(frozenset())
    letters = "abcdefghijklmnopqrstuvwxyz"
    many = {a + b + c + d for a in letters for b in letters for c in letters for d in "ab"}
    assert f"at most {MAX_LEXICON}" in wrong_lexicon(many)


def test_a_tokenizer_with_a_word_of_the_lexicon_missing() -> None:
    assert "'valve'" in wrong_tokenizer(TOKENIZER, VOCABULARY, LEXICON | {"valve"})


def test_a_tokenizer_that_is_none() -> None:
    with pytest.raises(ReleaseError, match="not a tokenizer"):
        wrong_tokenizer(b"{}", VOCABULARY, LEXICON)


@pytest.mark.parametrize("changed", ["missing", "twice", "no-list"])
def test_a_vocabulary_that_is_another(changed: str) -> None:
    pieces = json.loads(VOCABULARY)
    if changed == "twice":
        pieces[0] = "at"
    else:
        pieces.remove("at")
    document = {"pieces": pieces} if changed == "no-list" else pieces
    expected = {"missing": "has it 0 times", "twice": "has it 2 times", "no-list": "not a list"}[changed]
    assert expected in wrong_tokenizer(TOKENIZER, releases.as_json(document), LEXICON)


def test_a_file_that_is_no_component(tmp_path: Path) -> None:
    folder = releases.release_of(tmp_path, {})
    manifest = open_release(folder).manifest
    assert foreign_file(folder, manifest) == ""
    (folder / "writer" / "deep").mkdir()
    (folder / "writer" / "deep" / "vmap.txt").write_bytes(b"")
    assert "writer/deep/vmap.txt" in foreign_file(folder, manifest)
