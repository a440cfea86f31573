"""One message to the holder of one key: RFC 9180 (HPKE), base mode, single shot, in one suite.

The suite is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. The library has the primitives in every version that is
allowed here, HPKE itself only in its newest; the tests hold this against that one and against the vectors of the RFC.

Rules: pure; the sender's ephemeral key is handed in, is new for every message, and is forgotten after it. Base mode says nothing
about who sent a message: that is for a signature to say.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from edge_agent.errors import InputError

ENCAPSULATED_BYTES = 32
OVERHEAD_BYTES = ENCAPSULATED_BYTES + 16
"""A message is longer than its plaintext by the ephemeral public key and the tag."""

_KEM_SUITE = b"KEM\x00\x20"
_SUITE = b"HPKE\x00\x20\x00\x01\x00\x03"
_VERSION = b"HPKE-v1"
_BASE_MODE = b"\x00"
_KEY_BYTES, _NONCE_BYTES, _SECRET_BYTES = 32, 12, 32


def seal_to(recipient: X25519PublicKey, info: bytes, plain: bytes, ephemeral: X25519PrivateKey, aad: bytes = b"") -> bytes:
    """The ephemeral public key and the ciphertext: RFC 9180, section 6.1, `SealBase`.

    Raises InputError for a public key of low order, which is no one's.
    """
    encapsulated = ephemeral.public_key().public_bytes_raw()
    shared = _shared_secret(ephemeral, recipient, encapsulated + recipient.public_bytes_raw())
    key, nonce = _key_schedule(shared, info)
    return encapsulated + ChaCha20Poly1305(key).encrypt(nonce, plain, aad)


def open_with(private: X25519PrivateKey, info: bytes, message: bytes, aad: bytes = b"") -> bytes:
    """The plaintext of a message: RFC 9180, section 6.1, `OpenBase`. Raises InputError for what was not sealed to this key."""
    encapsulated, ciphertext = message[:ENCAPSULATED_BYTES], message[ENCAPSULATED_BYTES:]
    if len(message) < OVERHEAD_BYTES:
        raise InputError("sealed-message", f"has {len(message)} bytes, at least {OVERHEAD_BYTES} are needed")
    context = encapsulated + private.public_key().public_bytes_raw()
    shared = _shared_secret(private, X25519PublicKey.from_public_bytes(encapsulated), context)
    key, nonce = _key_schedule(shared, info)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise InputError("sealed-message", "was altered, or made for another key or another purpose") from None


def _shared_secret(private: X25519PrivateKey, public: X25519PublicKey, context: bytes) -> bytes:
    """Section 4.1: the secret that both sides of the exchange have; `context` is the ephemeral and the recipient's key."""
    try:
        exchanged = private.exchange(public)
    except ValueError:  # the library refuses the all-zero result, as section 7.1.4 asks
        raise InputError("sealed-message", "the public key is of low order, which no honest key is") from None
    return _expand(_KEM_SUITE, _extract(_KEM_SUITE, b"", b"eae_prk", exchanged), b"shared_secret", context, _SECRET_BYTES)


def _key_schedule(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Section 5.1, without a pre-shared key: the key and the nonce of the first and only message."""
    context = _BASE_MODE + _extract(_SUITE, b"", b"psk_id_hash", b"") + _extract(_SUITE, b"", b"info_hash", info)
    secret = _extract(_SUITE, shared, b"secret", b"")
    return _expand(_SUITE, secret, b"key", context, _KEY_BYTES), _expand(_SUITE, secret, b"base_nonce", context, _NONCE_BYTES)


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    """Section 4: `LabeledExtract`. HKDF-Extract is one HMAC (RFC 5869, section 2.2)."""
    return hmac.digest(salt, _VERSION + suite + label + material, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """Section 4: `LabeledExpand`."""
    return HKDFExpand(SHA256(), length, length.to_bytes(2, "big") + _VERSION + suite + label + info).derive(secret)
