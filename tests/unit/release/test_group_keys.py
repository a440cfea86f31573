"""Group keys: wrapped for devices, refused with a reason, written down, and never shown."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import InputError, ReleaseError
from edge_agent.release.group_keys import (
    KEY_BYTES,
    KEYS_FORMAT,
    GroupKey,
    Keys,
    device_key_id,
    encode_device,
    encode_keys,
    parse_device,
    parse_group_key,
    parse_keys,
    unwrap,
)
from edge_agent.release.manifest import MAX_KEYS_BYTES

SECRET = bytes(range(32))
KEY = GroupKey(SECRET)
OLD = GroupKey(bytes(32))
DEVICES = [X25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in range(1, 4)]
SOURCE = "groups/fleet/keys.json"


def wrapped(key: GroupKey, *devices: X25519PrivateKey) -> dict[str, bytes]:
    return {device_key_id(device.public_key()): key.wrapped_for(device.public_key()) for device in devices}


def document(**entries: dict[str, bytes]) -> bytes:
    return encode_keys(Keys(keys=entries))


def same(key: GroupKey, other: GroupKey) -> bool:
    return key.encoded() == other.encoded()


def test_every_device_that_it_was_wrapped_for_has_the_key() -> None:
    data = document(**{KEY.id: wrapped(KEY, *DEVICES[:2]), OLD.id: wrapped(OLD, DEVICES[0])})
    for device in DEVICES[:2]:
        assert same(unwrap(data, SOURCE, KEY.id, device), KEY)
    assert same(unwrap(data, SOURCE, OLD.id, DEVICES[0]), OLD), "after a rotation old releases can be read while the entry stays"


def test_another_device_is_told_that_it_is_not_among_them_and_what_to_do() -> None:
    data = document(**{KEY.id: wrapped(KEY, *DEVICES[:2])})
    with pytest.raises(ReleaseError) as refused:
        unwrap(data, SOURCE, KEY.id, DEVICES[2])
    mine = device_key_id(DEVICES[2].public_key())
    assert str(refused.value) == (
        f"{SOURCE}: this device, whose key is {mine}, is not among the 2 that the group key {KEY.id} was wrapped for: give the"
        " operator what `edge-agent update key FILE` prints"
    )


def test_a_key_that_nobody_wrapped_is_named() -> None:
    with pytest.raises(ReleaseError, match=f"does not hold the group key {OLD.id}"):
        unwrap(document(**{KEY.id: wrapped(KEY, DEVICES[0])}), SOURCE, OLD.id, DEVICES[0])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (b"", "has 0 bytes"),
        (bytes(47), "has 47 bytes"),
        (bytes(80), "low order"),
        (KEY.wrapped_for(DEVICES[1].public_key()), "made for another key"),
        (OLD.wrapped_for(DEVICES[0].public_key()), "another purpose"),
    ],
    ids=["nothing", "short", "zeros", "another's", "another key's"],
)
def test_an_entry_that_is_not_this_devices_is_refused(entry: bytes, said: str) -> None:
    device = device_key_id(DEVICES[0].public_key())
    with pytest.raises(ReleaseError, match=said):
        unwrap(document(**{KEY.id: {device: entry}}), SOURCE, KEY.id, DEVICES[0])


def test_a_key_under_anothers_id_is_refused() -> None:
    """Whoever signs could wrap any key as any other; the id follows from the key."""

    class Lying(GroupKey):
        pass

    lying = Lying(bytes(32))
    lying.id = KEY.id
    data = document(**{KEY.id: wrapped(lying, DEVICES[0])})
    with pytest.raises(ReleaseError, match=f"is the key {OLD.id}"):
        unwrap(data, SOURCE, KEY.id, DEVICES[0])


def test_a_key_is_wrapped_alike_every_time_and_otherwise_for_another_device_or_of_another_key() -> None:
    one = [key.wrapped_for(device.public_key()) for key in (KEY, OLD) for device in DEVICES]
    assert one == [key.wrapped_for(device.public_key()) for key in (KEY, OLD) for device in DEVICES]
    assert len({data[:32] for data in one}) == len(one), "no ephemeral key is used twice"


@given(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
def test_any_key_for_any_device(secret: bytes, private: bytes) -> None:
    key, device = GroupKey(secret), X25519PrivateKey.from_private_bytes(private)
    assert same(unwrap(document(**{key.id: wrapped(key, device)}), SOURCE, key.id, device), key)


def test_the_document_is_canonical_and_bounded() -> None:
    one = {KEY.id: wrapped(KEY, *DEVICES), OLD.id: wrapped(OLD, *DEVICES)}
    other = {OLD.id: wrapped(OLD, *reversed(DEVICES)), KEY.id: wrapped(KEY, *reversed(DEVICES))}
    data = document(**one)
    assert data == document(**other)
    assert encode_keys(parse_keys(data, SOURCE)) == data
    assert json.loads(data)["format"] == "edge-agent-keys/1"
    many = {KEY.id: {f"{number:032x}": bytes(80) for number in range(6_800)}}
    full = document(**many)
    assert len(full) <= MAX_KEYS_BYTES
    assert len(parse_keys(full, SOURCE).keys[KEY.id]) == 6_800
    with pytest.raises(ReleaseError, match="split the group"):
        document(**many, **{OLD.id: many[KEY.id]})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not the keys of a group"),
        (b"[]", "not the keys of a group"),
        (b"\xff\xfe", "not the keys of a group"),
        (b'{"format":"edge-agent-keys/2","keys":{}}', "edge-agent-keys/2"),
        (b'{"format":"edge-agent-keys/1","keys":{},"more":1}', "more"),
        (b'{"format":"edge-agent-keys/1","keys":{"x":{}}}', "keys"),
        (b'{"format":"edge-agent-keys/1","keys":{"' + b"0" * 32 + b'":{"' + b"0" * 32 + b'":"?"}}}', "not the keys"),
        (b'{"format":"edge-agent-keys/1","keys":{"' + b"0" * 32 + b'":{"' + b"0" * 32 + b'":7}}}', "not the keys"),
        (b'{"format":"edge-agent-keys/1","keys":{"' + b"0" * 32 + b'\\n":{}}}', "not the keys"),
        (b'{"format":"edge-agent-keys/1","keys":{},"\\u001b[2J":1}', r"unknown field `\?\[2J`"),
        (b'{"keys":' * 2_000, "not the keys of a group"),
        (b" " * (MAX_KEYS_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_such_document_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ReleaseError, match=said):
        parse_keys(data, SOURCE)
    with pytest.raises(ReleaseError, match=SOURCE):
        unwrap(data, SOURCE, KEY.id, DEVICES[0])


def test_a_secret_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("%s %r %s", KEY, KEY, [KEY])
    shown = f"{KEY} {KEY!r} {[KEY]} {DEVICES[0]!r} {caplog.text}"
    assert KEY.id in shown
    for form in (SECRET.hex(), KEY.encoded().split()[2].decode(), repr(SECRET)[2:-1], "000102", "AAEC"):
        assert form not in shown
    for copied in (pickle.dumps, copy.deepcopy, copy.copy, json.dumps):
        with pytest.raises(TypeError):
            copied(KEY)


def test_an_id_tells_keys_apart_and_nothing_of_them() -> None:
    assert len({KEY.id, OLD.id, *(device_key_id(device.public_key()) for device in DEVICES)}) == 5
    assert GroupKey(SECRET).id == KEY.id


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33)])
def test_a_key_of_another_length_is_none(secret: bytes) -> None:
    with pytest.raises(ReleaseError, match="32 bytes"):
        GroupKey(secret)


def test_what_is_written_down_is_read_again() -> None:
    assert same(parse_group_key(KEY.encoded()), KEY)
    line = encode_device(DEVICES[0].public_key())
    assert line.count("\n") == 0
    for copied in (line, f"  {line}\r\n", line.replace(" ", "\t")):
        assert parse_device(copied).public_bytes_raw() == DEVICES[0].public_key().public_bytes_raw()


@pytest.mark.parametrize("at", range(0, 99, 7))
def test_a_slip_of_the_pen_is_noticed(at: int) -> None:
    line = encode_device(DEVICES[0].public_key())
    at = min(at, len(line) - 1)
    for slip in (line[:at] + ("x" if line[at] != "x" else "y") + line[at + 1 :], line[:at] + line[at + 1 :], line[:at]):
        with pytest.raises(InputError, match=r"device-key: (is no line|the id)"):
            parse_device(slip)


@pytest.mark.parametrize("at", range(0, 99, 7))
def test_a_damaged_key_file_is_refused_and_not_repeated(at: int) -> None:
    data = bytearray(KEY.encoded())
    data[at] ^= 0x81
    with pytest.raises(InputError) as refused:
        parse_group_key(bytes(data))
    assert KEY.encoded().split()[2][:8].decode() not in str(refused.value)
    data[at] ^= 0x80
    with pytest.raises(InputError, match=r"group-key: (is no line|the id)"):
        parse_group_key(bytes(data))


def test_a_devices_key_is_no_groups_key_and_the_other_way_round() -> None:
    with pytest.raises(InputError, match="is no line `edge-agent-group-key/1"):
        parse_group_key(encode_device(DEVICES[0].public_key()).encode())
    with pytest.raises(InputError, match="is no line `edge-agent-device-key/1"):
        parse_device(KEY.encoded().decode())
    assert KEYS_FORMAT == "edge-agent-keys/1"
