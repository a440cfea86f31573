"""JSON documents: strictness, bounds, and duplicate names however they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.decode.documents import MAX_DEPTH, MAX_VALUES, parse
from edge_agent.errors import DecodeError


def refused(payload: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        parse(payload)
    return caught.value.reason


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":1,"a":2}',
        b'{"a" : 1 , "a" : 2}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":1,"a":"x:y"}',
        b'{"a":"x:y","a":1}',
        b'{"a":1,"a":2,"x":"\\u003a"}',
        b'{"a":{"b":1,"b":2}}',
        b'[{"b":1},{"b":1,"b":2}]',
        b'{"":1,"":2}',
        b'{"a":[],"a":[]}',
        b'{"a":{"x":1,"x":1},"a":3}',
        '{"é":1,"é":2}'.encode(),
    ],
)
def test_duplicate_names_are_refused(payload: bytes) -> None:
    assert refused(payload) == "duplicate-key"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":1,"A":2}',
        b'{"t":"12:30:45","u":"a:b"}',
        b'{"a:b":1,"c":"\\u003a"}',
        b'{"a":{"x":1},"b":{"x":1}}',
        b'[{"x":1},{"x":2}]',
        b'{"a":"\\\\","b":"\\":"}',
        b"{}",
        b"[]",
        b"3",
    ],
)
def test_names_that_only_look_alike_pass(payload: bytes) -> None:
    assert parse(payload) == json.loads(payload)


_TEXT = st.text(alphabet='ab:"\\/\u00e9', max_size=3)


class Pairs(list[tuple[str, Any]]):
    """The members of an object, in which a name may stand twice."""


def written(value: Any, escape: bool) -> str:
    """JSON text of a value with Pairs in it, which the standard library cannot write."""
    if isinstance(value, Pairs):
        members = (f"{json.dumps(name, ensure_ascii=escape)}: {written(inner, escape)}" for name, inner in value)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(inner, escape) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=escape)


def has_duplicates(value: Any) -> bool:
    if isinstance(value, Pairs):
        names = [name for name, _ in value]
        return len(set(names)) < len(names) or any(has_duplicates(inner) for _, inner in value)
    return isinstance(value, list) and any(map(has_duplicates, value))


_DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.integers(-9, 9) | _TEXT | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(_TEXT, inner), max_size=4).map(Pairs),
    max_leaves=10,
)


@given(document=_DOCUMENTS, escape=st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_document_is_refused_exactly_when_a_name_stands_twice(document: Any, escape: bool) -> None:
    payload = written(document, escape).encode()
    if has_duplicates(document):
        assert refused(payload) == "duplicate-key"
    else:
        assert parse(payload) == json.loads(payload)


def test_depth_is_bounded() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    assert refused(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)) == "too-deep"
    assert refused(b"[" * 100_000) == "too-deep"


def test_the_number_of_values_is_bounded() -> None:
    assert len(parse(b"[" + b"1," * (MAX_VALUES - 1) + b"1]")) == MAX_VALUES
    assert refused(b"[" + b"1," * MAX_VALUES + b"1]") == "too-many-values"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf{}", "bad-encoding"),
        (b'{"a": "\xff"}', "bad-encoding"),
        (b'{"\xff": 1}', "bad-encoding"),
        (b"NaN", "bad-json"),
        (b'{"a": Infinity}', "bad-json"),
        (b"{'a': 1}", "bad-json"),
        (b"{} {}", "bad-json"),
        (b"1e400", "out-of-range"),
        (b"1" * 5_000, "out-of-range"),
    ],
)
def test_what_is_not_json(payload: bytes, reason: str) -> None:
    assert refused(payload) == reason
