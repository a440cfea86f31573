"""The load generator's packets, read back by a parser of their own and by the examples of the standard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bench import packets


def test_connect_is_what_the_standard_says() -> None:
    assert packets.connect("a", 60) == bytes.fromhex("10 0d 0004 4d515454 04 02 003c 0001 61")


def test_the_remaining_length_at_its_borders() -> None:
    # MQTT 3.1.1, table 2.4: the first and last value of each size.
    for payload, prefix in ((0, "03"), (124, "7f"), (125, "8001"), (16_380, "ff7f"), (16_381, "808001")):
        assert packets.publish("a", bytes(payload))[1:].hex().startswith(prefix)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), st.binary(max_size=300), st.integers(0, 65_535))
def test_a_published_packet_reads_back(topic: str, payload: bytes, packet_id: int) -> None:
    packet = packets.publish(topic, payload, packet_id)
    assert packet[0] == (0x32 if packet_id else 0x30)
    length = shift = 0
    position = 1
    while True:
        length |= (packet[position] & 0x7F) << shift
        shift += 7
        position += 1
        if packet[position - 1] < 0x80:
            break
    body = packet[position:]
    assert len(body) == length
    size = int.from_bytes(body[:2], "big")
    assert body[2 : 2 + size].decode() == topic
    rest = body[2 + size :]
    assert rest == (packet_id.to_bytes(2, "big") if packet_id else b"") + payload
