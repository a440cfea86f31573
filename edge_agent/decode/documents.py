"""JSON text to Python values, for every format that is JSON: strict, bounded, and duplicate names refused.

Rules: RFC 8259 without extensions (no NaN, no Infinity, no byte order mark, UTF-8 only); at most MAX_DEPTH levels deep
and MAX_VALUES values; a name that stands twice in one object is refused, because which of the two counts is nobody's
business to guess (RFC 8259, section 4, calls it unpredictable).

How duplicates are found at the cost of one count: msgspec keeps the last of two members of one name, so the decoded
document then has fewer members than the text. Outside strings a text has one `:` a member. So `colons == members`
proves that nothing was dropped; where strings hold colons too, those are counted in the decoded strings; and only where
escapes make that count unsure is the text parsed again, by the standard library with a hook that sees every pair.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from edge_agent.errors import DecodeError

MAX_DEPTH = 32
MAX_VALUES = 32_768
_BOM = b"\xef\xbb\xbf"

decode_json = msgspec.json.Decoder().decode
REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What `decode_json` raises; `refusal` turns it into a DecodeError."""


def parse(payload: bytes) -> Any:
    """The document in a payload: dict, list, str, int, float, bool or None. Raises DecodeError."""
    try:
        document = decode_json(payload)
    except REFUSED as error:
        raise refusal(payload, error) from None
    kind = type(document)
    if (kind is dict and payload.count(b":") != len(document)) or kind is list:
        inspect(payload, document)
    return document


def refusal(payload: bytes, error: Exception) -> DecodeError:
    """Why msgspec refused a payload, as one of the fixed reasons."""
    if not payload.strip():
        return DecodeError("empty", "the payload is empty")
    if payload.startswith(_BOM):
        return DecodeError("bad-encoding", "the payload begins with a byte order mark")
    if isinstance(error, UnicodeDecodeError):
        return DecodeError("bad-encoding", f"not UTF-8: {error.reason}")
    if isinstance(error, RecursionError):
        return DecodeError("too-deep", f"nested deeper than {MAX_DEPTH} levels")
    if "out of range" in str(error):
        return DecodeError("out-of-range", "a number is larger than a floating-point number can hold")
    return DecodeError("bad-json", str(error)[:120])


def inspect(payload: bytes, document: Any) -> None:
    """Raises DecodeError when a document is too deep, too large, or has lost members to duplicate names."""
    members = values = colons = depth = 0
    level = [document]
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise DecodeError("too-deep", f"nested deeper than {MAX_DEPTH} levels")
        below: list[Any] = []
        for node in level:
            values += len(node)
            if values > MAX_VALUES:
                raise DecodeError("too-many-values", f"more than {MAX_VALUES} values")
            if type(node) is dict:
                members += len(node)
                colons += "".join(node).count(":")
                node = node.values()
            for value in node:
                kind = type(value)
                if kind is str:
                    colons += value.count(":")
                elif kind is dict or kind is list:
                    below.append(value)
        level = below
    if payload.count(b":") != members + colons or b"\\" in payload:
        _look_at_every_pair(payload)


def _look_at_every_pair(payload: bytes) -> None:
    try:
        json.loads(payload, object_pairs_hook=_refuse_duplicates)
    except RecursionError:  # a member that was dropped may be deeper than all that was kept
        raise DecodeError("too-deep", f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise DecodeError("bad-json", str(error)[:120]) from None


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        raise DecodeError("duplicate-key", "a name stands twice in one object")
