"""Why a message was not confirmed, as words, and what a word means for it: again at once, again later, or never.

Rules: pure; the words are stable, since they are counted and shown. Codes and numbers in brackets are those of the OASIS
standard MQTT 5.0 (2019), sections 3.4.2.1 (PUBACK) and 3.14.2.1 (DISCONNECT). MQTT 3.1.1 has no refusals: there a broker
confirms what it throws away, or closes the connection.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

LOST: Final = "connection-lost"
"""The connection ended before the confirmation, for a reason that the message has nothing to do with, or nobody knows."""
CLOSED: Final = "connection-closed"
"""The broker ended the connection before the confirmation, as brokers do that forbid a message and cannot say so."""
CLOSED_UPON: Final = "connection-closed-upon"
"""The same, and until then it had confirmed all that the link itself published: it does not end just any connection."""
TOO_LARGE: Final = "refused-packet-too-large"
"""Larger than the broker's Maximum Packet Size; not sent."""
INVALID: Final = "refused-invalid"
"""MQTT cannot express it; not sent."""

UNREADABLE: Final = "lost-protocol-error"
"""Not a word for a message but the end of a connection on which the broker said what MQTT does not know. So mosquitto 2.0
answers a payload beyond its `message_size_limit`: with a code that a PUBACK cannot have."""

Fate: TypeAlias = Literal["lost", "closed", "closed-upon", "never", "later", "unclear"]
"""The first three: again on the next connection. `never`: the broker will refuse it again. `later`: it may take it after a
while. `unclear`: it does not say why, so a few more times."""

_FATES: Final[dict[str, Fate]] = {
    LOST: "lost",
    CLOSED: "closed",
    CLOSED_UPON: "closed-upon",
    TOO_LARGE: "never",
    INVALID: "never",
    "refused-not-authorized": "never",  # 0x87
    "refused-topic-name-invalid": "never",  # 0x90
    "refused-payload-format-invalid": "never",  # 0x99
    "refused-quota-exceeded": "later",  # 0x97
    "refused-packet-identifier-in-use": "later",  # 0x91
}
"""What is not here, 0x80 unspecified and 0x83 implementation specific, is unclear."""

_BLAMED_ENDINGS: Final = frozenset(
    {
        "lost-unspecified-error",  # the stream ended or was reset without a word: all that MQTT 3.1.1 knows
        UNREADABLE,
        "broker-unspecified-error",  # 0x80
        "broker-malformed-packet",  # 0x81
        "broker-protocol-error",  # 0x82
        "broker-implementation-specific-error",  # 0x83
        "broker-not-authorized",  # 0x87
        "broker-topic-name-invalid",  # 0x90
        "broker-packet-too-large",  # 0x95
        "broker-payload-format-invalid",  # 0x99
        "broker-retain-not-supported",  # 0x9A
        "broker-qos-not-supported",  # 0x9B
    }
)
"""Ends of a connection that a published message may have caused. Not among them: shutting down, busy, taken over, moved, a
rate or quota exceeded, whatever timed out, and everything that ends on our side."""


def fate(reason: str) -> Fate:
    """What the word for an unconfirmed message means for it."""
    return _FATES.get(reason, "unclear")


def ended_with(end_reason: str, *, own_confirmed: bool) -> str:
    """The word for what was under way when a connection ended.

    `own_confirmed`: the broker had confirmed all that the link itself published on it.
    """
    if end_reason not in _BLAMED_ENDINGS:
        return LOST
    return CLOSED_UPON if own_confirmed else CLOSED
