"""JSON from outside, read strictly: UTF-8, one value, bounded size and depth, no NaN or Infinity, no key twice.

Rules: everything that is wrong raises `ValueError` with a text for the person who wrote the JSON, in words that stand
behind the name of its source. The device's readings do not come this way; their decoders are made for speed.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter

_UNPRINTABLE = frozenset(("Cc", "Cs", "Zl", "Zp"))
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that make a text look different from what it says (Unicode UAX 9)."""


def load(data: bytes, max_bytes: int) -> object:
    """The JSON value in `data`. Raises ValueError."""
    if len(data) > max_bytes:
        raise ValueError(f"is {len(data):,} bytes long; at most {max_bytes:,} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    if not text.strip():
        raise ValueError("is empty; expected a JSON object")
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise ValueError(f"holds more than one JSON value: the second begins at line {error.lineno}; give one") from None
        raise ValueError(f"is no JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def bad_character(text: str) -> str | None:
    """The name, `U+000A` for instance, of the first character that may not stand in a name; None if all may."""
    for character in text:
        if unicodedata.category(character) in _UNPRINTABLE or character in _BIDI_CONTROLS:
            return f"U+{ord(character):04X}"
    return None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"contains {name}, which is no JSON; write null for an unknown number")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"has the key {twice!r} twice in one object; keep one")
    return document
