"""The format `number`: the payload is one decimal number as ASCII text, such as `21.5`, ` -3\n` or `+1.2e-3`.

Rules: white space around the number is allowed; nothing else is: no unit, no decimal comma, no thousands separator, no
`nan`, `inf`, hexadecimal or underscore. The time is the time of arrival.
"""

from __future__ import annotations

import math
import re

import msgspec

from edge_agent.config.settings import NumberRoute
from edge_agent.decode.documents import REFUSED, refusal
from edge_agent.decode.family import Ledger
from edge_agent.decode.streams import bind, render
from edge_agent.errors import DecodeError
from edge_agent.values import Reading

MAX_NUMBER_BYTES = 64

_as_json = msgspec.json.Decoder(float).decode
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class NumberDecoder:
    """Reads payloads of one topic that are a number each. See `edge_agent.decode.family.Decoder`."""

    __slots__ = ("_stream", "_unit")

    def __init__(self, route: NumberRoute, topic: str, ledger: Ledger) -> None:
        self._stream = render(bind(route.stream, topic), {})
        self._unit = route.unit

    def decode(self, payload: bytes, arrived_s: float) -> list[Reading]:
        """One reading. Raises DecodeError."""
        try:
            value = _as_json(payload)  # nearly every number in the field is written as JSON would write it
        except REFUSED as error:
            value = _number(payload, error)
        return [Reading(self._stream, arrived_s, value, self._unit)]


def _number(payload: bytes, error: Exception) -> float:
    text = payload[: MAX_NUMBER_BYTES + 1].strip()
    if len(payload) > MAX_NUMBER_BYTES and not payload[MAX_NUMBER_BYTES:].isspace():
        raise DecodeError("not-a-number", f"the payload is longer than {MAX_NUMBER_BYTES} bytes")
    if not _NUMBER.fullmatch(text):
        known = refusal(payload, error)
        raise known if known.reason in ("empty", "bad-encoding") else DecodeError("not-a-number", "the payload is not a number")
    value = float(text)
    if not math.isfinite(value):
        raise DecodeError("out-of-range", "the number is larger than a floating-point number can hold")
    return value
