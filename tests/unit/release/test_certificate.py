"""Certificates: what they hold for, what they say nothing of, and that their own counts bear them out."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from edge_agent.errors import ReleaseError
from edge_agent.release.certificate import (
    Certificate,
    Counted,
    Key,
    Machine,
    Measured,
    Speaker,
    certified_threshold,
    chance_of_so_few,
    differs,
    encode_certificate,
    measured_for,
    parse_certificate,
    speaker_of,
)
from tests.unit.release.test_manifest import manifest

SPEAKER = Speaker(
    writer_sha256="1" * 64,
    tokenizer_sha256="2" * 64,
    lexicon_sha256="3" * 64,
    rule_sha256="4" * 64,
    compute_type="int8",
    prompt_version=1,
    verifier_version=1,
)
HERE = Machine(instruction_set="x86_64/avx2/dnnl-avx2", runtime="ctranslate2 4.8")
BOARD = Machine(instruction_set="aarch64/neon/ruy", runtime="ctranslate2 4.8")


def counted(threshold: float, texts: int, wrong: int = 0) -> Counted:
    return Counted(threshold=threshold, texts=texts, wrong=wrong, by_writer=texts)


def measured(*counts: Counted, threshold: float, machine: Machine = HERE) -> Measured:
    return Measured(
        machine=machine,
        runtime_version="4.8.5",
        incidents=3_000,
        incidents_sha256="5" * 64,
        seed=1,
        generator_version=1,
        counts=counts,
        threshold=threshold,
    )


def certificate() -> Certificate:
    found = measured(counted(0.9, 2_000), counted(0.5, 2_500, 3), threshold=0.5)
    return Certificate(alpha=0.01, delta=0.05, speaker=SPEAKER, measured=(found,))


def test_what_was_encoded_is_parsed_and_encoding_is_canonical() -> None:
    data = encode_certificate(certificate())
    assert parse_certificate(data, "c") == certificate()
    assert encode_certificate(parse_certificate(data, "c")) == data


def test_it_holds_for_the_engine_that_it_was_measured_with() -> None:
    key = Key(SPEAKER, HERE)
    assert differs(certificate(), key) == ""
    found = measured_for(certificate(), key)
    assert found is not None
    assert found.threshold == 0.5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"writer_sha256": "0" * 64}, "another writer"),
        ({"tokenizer_sha256": "0" * 64}, "another tokenizer"),
        ({"lexicon_sha256": "0" * 64}, "another lexicon"),
        ({"rule_sha256": "0" * 64}, "another rule"),
        ({"compute_type": "int8_float16"}, "another compute type"),
        ({"prompt_version": 2}, "another prompt version"),
        ({"verifier_version": 2}, "another verifier version"),
    ],
)
def test_of_another_speaker_it_says_nothing(change: dict[str, Any], named: str) -> None:
    key = Key(replace(SPEAKER, **change), HERE)
    assert measured_for(certificate(), key) is None
    assert named in differs(certificate(), key)
    assert "the verifier still decides" in differs(certificate(), key)


@pytest.mark.parametrize("machine", [BOARD, replace(HERE, runtime="ctranslate2 4.9")])
def test_of_another_machine_it_says_nothing(machine: Machine) -> None:
    why = differs(certificate(), Key(SPEAKER, machine))
    assert measured_for(certificate(), Key(SPEAKER, machine)) is None
    assert f"measured on {HERE.instruction_set} with {HERE.runtime}" in why
    assert f"not on {machine.instruction_set} with {machine.runtime}" in why


def test_one_certificate_may_hold_for_several_machines() -> None:
    both = replace(certificate(), measured=(*certificate().measured, measured(counted(0.9, 900), threshold=0.9, machine=BOARD)))
    assert parse_certificate(encode_certificate(both), "c") == both
    assert differs(both, Key(SPEAKER, BOARD)) == ""
    assert differs(both, Key(SPEAKER, HERE)) == ""


def test_the_chance_is_the_binomial_one() -> None:
    def exact(texts: int, wrong: int) -> float:
        share = Fraction(1, 100)
        return float(sum(math.comb(texts, k) * share**k * (1 - share) ** (texts - k) for k in range(wrong + 1)))

    for texts, wrong in ((1, 0), (298, 0), (299, 0), (473, 1), (1_000, 4), (3_000, 20)):
        assert chance_of_so_few(texts, wrong, 0.01) == pytest.approx(exact(texts, wrong), rel=1e-9)
    assert chance_of_so_few(0, 0, 0.01) == 1.0
    assert chance_of_so_few(5, 5, 0.01) == 1.0


def test_299_texts_without_an_error_certify_one_in_a_hundred_and_298_do_not() -> None:
    assert certified_threshold((counted(0.9, 299),), 0.01, 0.05) == 0.9
    assert certified_threshold((counted(0.9, 298),), 0.01, 0.05) is None


def test_testing_ends_at_the_first_threshold_that_is_not_certified() -> None:
    counts = (counted(0.9, 500), counted(0.8, 500, 30), counted(0.7, 3_000))
    assert certified_threshold(counts, 0.01, 0.05) == 0.9
    assert certified_threshold((), 0.01, 0.05) is None


@pytest.mark.parametrize("threshold", [0.4, 0.9, 1.0])
def test_a_threshold_that_its_counts_do_not_bear_out_is_refused(threshold: float) -> None:
    forged = replace(certificate(), measured=(replace(certificate().measured[0], threshold=threshold),))
    with pytest.raises(ReleaseError, match=f"names the threshold {threshold}.*certify 0.5"):
        parse_certificate(encode_certificate(forged), "c")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b" " * (2 << 20)])
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(ReleaseError, match="certificate"):
        parse_certificate(data, "c")


def test_what_is_not_known_is_refused() -> None:
    document = json.loads(encode_certificate(certificate()))
    for change in ({"surprise": 1}, {"format": "edge-agent-certificate/9"}, {"alpha": 0}):
        with pytest.raises(ReleaseError, match="not a certificate"):
            parse_certificate(json.dumps(document | change).encode(), "c")


def test_the_speaker_is_that_of_the_manifest() -> None:
    speaker = speaker_of(manifest(), "int8", 1, 2)
    assert speaker.writer_sha256 == manifest().components["writer/model.bin"].sha256
    assert speaker.rule_sha256 == manifest().components["confidence.json"].sha256
    assert (speaker.prompt_version, speaker.verifier_version) == (1, 2)
