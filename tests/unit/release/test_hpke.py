"""Hybrid public key encryption: the vector of the RFC, another implementation, and what is refused."""

from __future__ import annotations

import importlib
import importlib.util

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import InputError
from edge_agent.release.hpke import OVERHEAD_BYTES, open_with, seal_to

PRIVATE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
EPHEMERAL = X25519PrivateKey.from_private_bytes(bytes(range(32, 64)))

# RFC 9180, appendix A.2.1, sequence number 0.
SENDER = "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600"
RECIPIENT = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"
RECIPIENT_PUBLIC = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
ENCAPSULATED = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
INFO = b"Ode on a Grecian Urn"
PLAIN = b"Beauty is truth, truth beauty"
CIPHERTEXT = "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"

# Points of low order on Curve25519: 0, 1, and one of order 8.
LOW_ORDER = (bytes(32), b"\x01" + bytes(31), bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"))


def test_the_vector_of_the_rfc() -> None:
    recipient = X25519PrivateKey.from_private_bytes(bytes.fromhex(RECIPIENT))
    assert recipient.public_key().public_bytes_raw().hex() == RECIPIENT_PUBLIC
    sender = X25519PrivateKey.from_private_bytes(bytes.fromhex(SENDER))
    message = seal_to(recipient.public_key(), INFO, PLAIN, sender, b"Count-0")
    assert message.hex() == ENCAPSULATED + CIPHERTEXT
    assert open_with(recipient, INFO, message, b"Count-0") == PLAIN


@pytest.mark.skipif(
    importlib.util.find_spec("cryptography.hazmat.primitives.hpke") is None, reason="this version of the library has no HPKE"
)
@given(plain=st.binary(max_size=200), info=st.binary(max_size=60))
def test_the_library_opens_what_is_sealed_here_and_the_other_way_round(plain: bytes, info: bytes) -> None:
    theirs = importlib.import_module("cryptography.hazmat.primitives.hpke")
    suite = theirs.Suite(theirs.KEM.X25519, theirs.KDF.HKDF_SHA256, theirs.AEAD.CHACHA20_POLY1305)
    assert suite.decrypt(seal_to(PRIVATE.public_key(), info, plain, EPHEMERAL), PRIVATE, info) == plain
    assert open_with(PRIVATE, info, suite.encrypt(plain, PRIVATE.public_key(), info)) == plain


@given(st.binary(max_size=80), st.data())
def test_no_bit_of_a_message_can_be_changed(plain: bytes, data: st.DataObject) -> None:
    message = bytearray(seal_to(PRIVATE.public_key(), INFO, plain, EPHEMERAL))
    assert len(message) == len(plain) + OVERHEAD_BYTES
    bit = data.draw(st.integers(0, 8 * len(message) - 1))
    message[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InputError):
        open_with(PRIVATE, INFO, bytes(message))


def test_another_key_another_purpose_and_other_bounds_are_refused() -> None:
    message = seal_to(PRIVATE.public_key(), INFO, PLAIN, EPHEMERAL, b"a")
    assert open_with(PRIVATE, INFO, message, b"a") == PLAIN
    for private, info, aad in ((EPHEMERAL, INFO, b"a"), (PRIVATE, b"other", b"a"), (PRIVATE, INFO, b"b")):
        with pytest.raises(InputError, match="altered, or made for another"):
            open_with(private, info, message, aad)


@pytest.mark.parametrize("length", [0, 31, 32, OVERHEAD_BYTES - 1])
def test_what_is_too_short_to_be_a_message_is_refused(length: int) -> None:
    with pytest.raises(InputError, match=f"has {length} bytes"):
        open_with(PRIVATE, INFO, bytes(length))


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_key_that_gives_everyone_the_same_secret_is_refused(point: bytes) -> None:
    with pytest.raises(InputError, match="low order"):
        seal_to(X25519PublicKey.from_public_bytes(point), INFO, PLAIN, EPHEMERAL)
    with pytest.raises(InputError, match="low order"):
        open_with(PRIVATE, INFO, point + bytes(40))
