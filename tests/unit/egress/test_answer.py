"""Answers as they are read back: what is taken, and under which word the rest is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.egress.answer import MAX_ANSWER_BYTES, MAX_WORDING, parse_answer
from edge_agent.errors import InputError

OBJECT = '{"sentences": ["One.", "Two."]}'


@pytest.mark.parametrize(
    "text",
    [
        OBJECT,
        f"\n {OBJECT}\n",
        f"```json\n{OBJECT}\n```",
        f"```\n{OBJECT}\n```\n",
        f"```json\r\n{OBJECT}\r\n```",
        "One.\nTwo.",
        "One.\n\n  Two.  \n",
        "```\nOne.\nTwo.\n```",
    ],
)
def test_an_answer_is_read(text: str) -> None:
    assert parse_answer(text, 2) == ("One.", "Two.")


def test_plain_text_is_the_wording_of_a_single_chunk() -> None:
    assert parse_answer("One. Then\ntwo.\n", 1) == ("One. Then\ntwo.",)


def test_nothing_is_normalised() -> None:
    wording = " Ｐｅａｋ\u00a0\u212a e\u0301 "
    assert parse_answer(json.dumps({"sentences": [wording]}), 1) == (wording,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "answer-empty"),
        (" \n", "answer-empty"),
        ("```json\n\n```", "answer-empty"),
        ("{", "answer-not-json"),
        (OBJECT + OBJECT, "answer-not-json"),
        (OBJECT + " Here you are.", "answer-not-json"),
        ('{"sentences": ["One.", "Two."], "sentences": ["a", "b"]}', "answer-not-json"),
        ('{"sentences": [NaN, "Two."]}', "answer-not-json"),
        ('{"sentences": ["\ud800", "Two."]}', "answer-not-json"),
        ("[" * 50_000, "answer-not-json"),
        ('{"sentences": ' + "[" * 50_000, "answer-not-json"),
        ('{"sentences": [' + "1" * 10_000 + "]}", "answer-not-json"),
        ("[]", "answer-shape"),
        ('["One.", "Two."]', "answer-shape"),
        ("{}", "answer-shape"),
        ('{"sentences": "One."}', "answer-shape"),
        ('{"sentences": [1, 2]}', "answer-shape"),
        ('{"sentences": ["One.", null]}', "answer-shape"),
        ('{"sentences": ["One.", "Two."], "cause": "bearing wear"}', "answer-shape"),
        ('{"sentences": []}', "answer-count"),
        ('{"sentences": ["One."]}', "answer-count"),
        ('{"sentences": ["One.", "Two.", "Three."]}', "answer-count"),
        ("One.", "answer-count"),
        ("Sure! Here it is:\nOne.\nTwo.", "answer-count"),
        (json.dumps({"sentences": ["One.", "x" * (MAX_WORDING + 1)]}), "answer-too-long"),
        ("x" * (MAX_ANSWER_BYTES + 1), "answer-too-long"),
        ("ü" * (MAX_ANSWER_BYTES // 2 + 1), "answer-too-long"),
        ("\ud800" * MAX_ANSWER_BYTES, "answer-too-long"),
    ],
)
def test_anything_else_is_refused_under_a_stable_word(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_answer(text, 2)
    assert caught.value.reason == reason


@given(st.text(st.characters(), max_size=200), st.integers(1, 6))
@settings(max_examples=200)
def test_nothing_but_an_input_error_comes_out(text: str, chunks: int) -> None:
    reason = ""
    wordings: tuple[str, ...] = ()
    try:
        wordings = parse_answer(text, chunks)
    except InputError as error:
        reason = error.reason
    assert reason.startswith("answer-") if reason else len(wordings) == chunks
