"""Words for unconfirmed messages: which refusal is final, and which end of a connection a message may have caused."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.mqtt.fates import (
    _BLAMED_ENDINGS,
    _FATES,
    CLOSED,
    CLOSED_UPON,
    INVALID,
    LOST,
    TOO_LARGE,
    UNREADABLE,
    Fate,
    ended_with,
    fate,
)
from edge_agent.mqtt.packets import slug

NAMES = {
    (packet, code): name
    for code, packets in ReasonCode(PacketTypes.PUBACK).names.items()
    for name, allowed in packets.items()
    for packet in allowed
}
"""(Packet type, code) to the name that paho gives it."""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0x80, "unclear"),
        (0x83, "unclear"),
        (0x87, "never"),
        (0x90, "never"),
        (0x91, "later"),
        (0x97, "later"),
        (0x99, "never"),
    ],
)
def test_every_refusal_that_a_puback_knows_has_its_fate(code: int, expected: Fate) -> None:
    assert fate("refused-" + slug(ReasonCode(PacketTypes.PUBACK, identifier=code))) == expected


def test_no_refusal_of_a_puback_is_left_out_of_the_test_above() -> None:
    assert {code for packet, code in NAMES if packet == PacketTypes.PUBACK and code >= 0x80} == {
        0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99
    }  # fmt: skip


def test_our_own_words() -> None:
    assert [fate(word) for word in (LOST, CLOSED, CLOSED_UPON, TOO_LARGE, INVALID, "refused-something-new")] == [
        "lost",
        "closed",
        "closed-upon",
        "never",
        "never",
        "unclear",
    ]


def test_the_words_of_the_tables_are_those_that_paho_makes() -> None:
    refusals = {"refused-" + slug(ReasonCode(packet, identifier=code)) for packet, code in NAMES if packet == PacketTypes.PUBACK}
    endings = {
        "broker-" + slug(ReasonCode(packet, identifier=code)) for packet, code in NAMES if packet == PacketTypes.DISCONNECT
    }
    assert set(_FATES) - refusals == {LOST, CLOSED, CLOSED_UPON, TOO_LARGE, INVALID}
    assert _BLAMED_ENDINGS - endings == {"lost-unspecified-error", UNREADABLE}


@pytest.mark.parametrize("end_reason", ["lost-unspecified-error", "broker-not-authorized", "broker-packet-too-large"])
def test_an_end_that_a_message_may_have_caused(end_reason: str) -> None:
    assert ended_with(end_reason, own_confirmed=True) == CLOSED_UPON


@pytest.mark.parametrize("end_reason", ["lost-unspecified-error", "broker-not-authorized"])
def test_a_broker_that_confirms_not_even_our_own_messages_says_nothing_about_one(end_reason: str) -> None:
    assert ended_with(end_reason, own_confirmed=False) == CLOSED


@pytest.mark.parametrize(
    "end_reason",
    [
        "",
        "deaf",
        "stopped",
        "no-answer",
        "internal-error",
        "lost-keep-alive-timeout",
        "broker-server-shutting-down",
        "broker-server-busy",
        "broker-keep-alive-timeout",
        "broker-session-taken-over",
        "broker-message-rate-too-high",
        "broker-quota-exceeded",
        "broker-administrative-action",
    ],
)
def test_an_end_that_no_message_caused(end_reason: str) -> None:
    assert ended_with(end_reason, own_confirmed=True) == LOST
