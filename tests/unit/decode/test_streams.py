"""Names of streams: what is cleaned, what stays apart, and how a template is filled."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.naming import parse
from edge_agent.decode.family import Ledger
from edge_agent.decode.streams import MAX_NAME_CHARS, FieldLabels, bind, clean_name, clean_unit, render
from edge_agent.errors import DecodeError


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("pump-3/vibration", "pump-3/vibration"),
        ("Living Room/21 °C", "Living Room/21 °C"),
        ("a//b/", "a/b"),
        ("/a/ b /c", "a/b/c"),
        ("a+b/#", "a_b/_"),
        ("a\0b\nc\x7f", "a_b_c_"),
        ("a\u202eb\u200bc\ufeff", "a_b_c_"),
        ("a\u00a0b\u3000c", "a b c"),
        ("a\ud800b", "a_b"),
        ("压力/泵", "压力/泵"),
    ],
)
def test_cleaning(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


@pytest.mark.parametrize("name", ["", "/", " ", "// /"])
def test_a_name_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(DecodeError) as caught:
        clean_name(name)
    assert caught.value.reason == "bad-stream-name"


def test_long_names_are_cut_and_stay_apart() -> None:
    first, second = clean_name("x" * 5_000 + "1"), clean_name("x" * 5_000 + "2")
    assert len(first) == len(second) == MAX_NAME_CHARS
    assert first != second
    assert clean_name("y" * MAX_NAME_CHARS) == "y" * MAX_NAME_CHARS


@given(name=st.text(max_size=400))
@settings(max_examples=200, deadline=None)
def test_a_clean_name_is_clean_and_stays_as_it_is(name: str) -> None:
    try:
        cleaned = clean_name(name)
    except DecodeError:
        return
    assert clean_name(cleaned) == cleaned
    assert len(cleaned) <= MAX_NAME_CHARS
    assert cleaned.isprintable()
    assert all(cleaned.split("/"))
    assert not set(cleaned) & set("+#")


def test_a_template_is_filled_from_the_topic_first() -> None:
    parts = bind("{2}/{-1}/{topic}/{field}", "a/b/c")
    assert render(parts, {"field": "x"}) == "b/c/a/b/c/x"
    assert render(bind("{-3}", "a/b/c"), {}) == "a"


@pytest.mark.parametrize("template", ["{4}", "{-4}"])
def test_a_level_that_the_topic_does_not_have(template: str) -> None:
    with pytest.raises(DecodeError) as caught:
        bind(template, "a/b/c")
    assert caught.value.reason == "bad-stream-name"


def test_what_a_topic_says_is_never_a_placeholder() -> None:
    assert render(bind("{topic}", "a/{field}"), {"field": "x"}) == "a/{field}"


def test_labels_are_made_once_and_remembered_while_there_is_room() -> None:
    labels = FieldLabels(parse("p"), "bar", {"f1": "K"}, Ledger(1_000), several=True)
    assert labels["value"] == ("p", "bar")
    assert labels["f1"] == ("p/f1", "K")
    for number in range(5_000):
        assert labels[f"f{number}"][0] == f"p/f{number}"
        assert len(labels) <= 1_000
    assert FieldLabels(parse("p"), "", {}, Ledger(), several=False)["x"] == ("p", "")


def test_texts_too_long_to_name_a_stream_by_are_refused() -> None:
    labels = FieldLabels(parse("p"), "", {}, Ledger(), several=True)
    assert labels["x" * 256][0].startswith("p/xxx")
    with pytest.raises(DecodeError, match="bad-stream-name"):
        labels["x" * 257]
    assert bind("{topic}", "x" * 1_024)
    with pytest.raises(DecodeError, match="bad-stream-name"):
        bind("{1}", "x" * 1_025)


@pytest.mark.parametrize("unit", ["x" * 25, "a\nb", "\u202e", 3, None])
def test_units_that_are_refused(unit: object) -> None:
    notes = Ledger()
    assert clean_unit(unit, notes) == ""
    assert notes.take() == {"bad-unit": 1}


def test_units_that_are_taken() -> None:
    notes = Ledger()
    assert clean_unit(" °C ", notes) == "°C"
    assert notes.take() == {}
