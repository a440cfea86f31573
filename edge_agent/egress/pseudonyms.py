"""Pseudonyms: what a name or an incident is called outside, so that one device's questions can be told apart and no more.

A pseudonym is the beginning of HMAC-SHA-256 (RFC 2104, FIPS 198-1) under a key that only this device has. The same name
always gives the same pseudonym here and another one on every other device, so that the devices of a fleet cannot be joined
and a list of guessed names is of no use without the key. Test vectors stand in `docs/formats/egress.md`.

Rules: pure; the key comes in as bytes and goes nowhere; each kind of thing has its own domain, so that a stream and an
incident of one name share nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from edge_agent.errors import EgressError

MIN_KEY_BYTES: Final = 32
_STREAM: Final = b"edge-agent-pseudonym/1\0stream\0"
_QUESTION: Final = b"edge-agent-pseudonym/1\0question\0"


class Pseudonyms:
    """The pseudonyms of one device."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """Take the device's key. Raises EgressError for one that is shorter than `MIN_KEY_BYTES`."""
        if len(key) < MIN_KEY_BYTES:
            raise EgressError(f"the key of the pseudonyms has {len(key)} bytes; it must have at least {MIN_KEY_BYTES}")
        self._key = key

    def stream(self, name: str) -> str:
        """What a stream is called outside, as `s-` and 16 hexadecimal digits (64 bits). `name` is taken as it is printed."""
        return "s-" + self._digest(_STREAM + _utf8(name))[:16]

    def request_id(self, incident_id: str, revision: int) -> str:
        """The id of the question about one revision of an incident, as `q-` and 24 hexadecimal digits (96 bits)."""
        return "q-" + self._digest(_QUESTION + _utf8(incident_id) + b"\0" + str(revision).encode("ascii"))[:24]

    def _digest(self, message: bytes) -> str:
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def _utf8(text: str) -> bytes:
    # A name from a sensor may hold half of a surrogate pair; it has a pseudonym like any other.
    return text.encode("utf-8", "surrogatepass")
