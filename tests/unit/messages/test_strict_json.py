"""JSON from outside: what is refused, and in which words."""

from __future__ import annotations

import pytest

from edge_agent.messages.strict_json import bad_character, load


def test_a_value_is_read_with_or_without_a_byte_order_mark() -> None:
    assert load(b'{"a": [1, 2.5, "\xc3\xb6", null, true]}', 1_000) == {"a": [1, 2.5, "ö", None, True]}
    assert load(b"\xef\xbb\xbf{}", 1_000) == {}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{", "is no JSON at line 1, column 2"),
        (b'{"a": 1}\n{"a": 2}\n', "more than one JSON value: the second begins at line 2"),
        (b'{"a": NaN}', "contains NaN"),
        (b"[-Infinity]", "contains -Infinity"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "has the key 'c' twice"),
        (b'"\xff"', "is not UTF-8 at byte 1"),
        (b"[" * 5_000, "nested too deeply|is no JSON"),
        (b"1" * 6_000, "digits"),
        (b" " * 10_001, "10,001 bytes long; at most 10,000"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        load(data, 10_000)


@pytest.mark.parametrize(
    ("text", "bad"),
    [("pump 3, °C 温度", None), ("a\nb", "U+000A"), ("\x9b", "U+009B"), ("a\u202eb", "U+202E"), ("\ud800", "U+D800")],
)
def test_characters_that_no_name_needs_are_found(text: str, bad: str | None) -> None:
    assert bad_character(text) == bad
