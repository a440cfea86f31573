"""The vectors in the description of the sealing format, computed from the library's primitives alone, then with our code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge_agent.release.group_keys import (
    GroupKey,
    Keys,
    device_key_id,
    encode_device,
    encode_keys,
    parse_device,
    parse_group_key,
    unwrap,
)
from edge_agent.release.hpke import seal_to
from edge_agent.release.manifest import MAX_KEYS_BYTES, Component
from edge_agent.release.sealing import open_sealed, seal

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs/formats/sealing.md").read_text("utf-8")
_BLOCK = re.search(r"^```json vectors:sealing\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
VECTORS: dict[str, Any] = json.loads(_BLOCK[1] if _BLOCK else "{}")
SECRET = bytes.fromhex(VECTORS["group_key"]["secret"])
DEVICE = X25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["device_key"]["private"]))


def _hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


def _plain(vector: dict[str, Any]) -> bytes:
    if "plain" in vector:
        return bytes.fromhex(vector["plain"])
    return bytes(place % 251 for place in range(vector["plain_bytes"]))


def test_ids_and_lines_are_what_the_document_says() -> None:
    group, device = VECTORS["group_key"], VECTORS["device_key"]
    public = DEVICE.public_key().public_bytes_raw()
    assert public.hex() == device["public"]
    assert _hkdf(SECRET, b"", b"edge-agent-group-key/1", 16).hex() == group["id"] == GroupKey(SECRET).id
    assert hashlib.sha256(b"edge-agent-device-key/1\0" + public).hexdigest()[:32] == device["id"]
    assert device["id"] == device_key_id(DEVICE.public_key())
    assert group["line"].split()[1:] == [group["id"], base64.b64encode(SECRET).decode()]
    assert device["line"].split()[1:] == [device["id"], base64.b64encode(public).decode()]
    assert parse_group_key(f"{group['line']}\n".encode()).encoded().decode().strip() == group["line"]
    assert encode_device(parse_device(device["line"])) == device["line"]


def test_a_wrapped_key_is_what_the_document_says() -> None:
    key, device_id = GroupKey(SECRET), VECTORS["device_key"]["id"]
    public = DEVICE.public_key()
    ephemeral = _hkdf(SECRET, public.public_bytes_raw(), b"edge-agent-keys/1 ephemeral", 32)
    info = f"edge-agent-keys/1 {key.id}".encode()
    expected = seal_to(public, info, SECRET, X25519PrivateKey.from_private_bytes(ephemeral))
    assert expected.hex() == VECTORS["wrapped"] == key.wrapped_for(public).hex()
    keys = encode_keys(Keys(keys={key.id: {device_id: expected}}))
    assert json.loads(keys) == {
        "format": "edge-agent-keys/1",
        "keys": {key.id: {device_id: base64.b64encode(expected).decode()}},
    }
    assert unwrap(keys, "keys.json", key.id, DEVICE).encoded() == key.encoded()


def test_a_sealed_component_is_what_the_document_says() -> None:
    for vector in VECTORS["sealed"]:
        plain = _plain(vector)
        digest = hashlib.sha256(plain)
        key = _hkdf(SECRET, digest.digest(), b"edge-agent-sealed/1", 32)
        assert key.hex() == vector["key"]
        count = max(1, -(-len(plain) // 65_536))
        expected = b"".join(
            ChaCha20Poly1305(key).encrypt(
                index.to_bytes(11, "big") + bytes([index == count - 1]), plain[index * 65_536 : (index + 1) * 65_536], None
            )
            for index in range(count)
        )
        assert expected.hex() == vector.get("ciphertext", expected.hex())
        assert hashlib.sha256(expected).hexdigest() == vector.get("ciphertext_sha256", hashlib.sha256(expected).hexdigest())
        assert {"ciphertext", "ciphertext_sha256"} & set(vector)
        assert b"".join(seal(plain, GroupKey(SECRET))) == expected
        component = Component(sha256=digest.hexdigest(), size_bytes=len(plain))
        assert b"".join(open_sealed("x", [expected], component, GroupKey(SECRET))) == plain


def test_the_documents_bounds_are_the_codes() -> None:
    entry = len(encode_keys(Keys(keys={"0" * 32: {"0" * 32: bytes(80), "1" * 32: bytes(80)}}))) - len(
        encode_keys(Keys(keys={"0" * 32: {"0" * 32: bytes(80)}}))
    )
    assert MAX_KEYS_BYTES == 1 << 20
    assert 6_850 < MAX_KEYS_BYTES / entry < 6_950
