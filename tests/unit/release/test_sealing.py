"""Sealed components: opened however they are cut on the way, and refused in whatever way they were changed."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.errors import ReleaseError
from edge_agent.release.group_keys import GroupKey
from edge_agent.release.manifest import Component, Stored
from edge_agent.release.sealing import CHUNK_BYTES, TAG_BYTES, open_sealed, seal, seal_of, sealed_size, seals
from tests.unit.release.test_manifest import manifest

KEY = GroupKey(bytes(range(32)))
OTHER = GroupKey(bytes(range(1, 33)))
SEALED_CHUNK = CHUNK_BYTES + TAG_BYTES

# Sizes about the borders of chunks: no chunk is as good as untried.
SIZES = st.one_of(
    st.integers(0, 300),
    st.builds(lambda chunks, more: max(0, chunks * CHUNK_BYTES + more), st.integers(0, 3), st.integers(-2, 2)),
)


def text(size: int, seed: int = 0) -> bytes:
    """Bytes that differ from place to place, so that a chunk in another's place is other bytes."""
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(size)


def component(plain: bytes) -> Component:
    return Component(sha256=hashlib.sha256(plain).hexdigest(), size_bytes=len(plain))


def sealed(plain: bytes, key: GroupKey = KEY) -> bytes:
    return b"".join(seal(plain, key))


def opened(parts: Iterable[bytes], plain: bytes, key: GroupKey = KEY) -> bytes:
    return b"".join(open_sealed("writer/model.bin", parts, component(plain), key))


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """`data` in parts of these sizes, again and again; the last may be shorter."""
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def chunks(data: bytes) -> list[bytes]:
    return list(cut(data, [SEALED_CHUNK]))


@given(size=SIZES, parts=st.lists(st.integers(300, 200_000), min_size=1, max_size=4))
def test_however_it_is_cut_on_the_way_the_same_comes_out(size: int, parts: list[int]) -> None:
    plain = text(size)
    data = sealed(plain)
    assert len(data) == sealed_size(size)
    assert opened(cut(data, parts), plain) == plain


def test_parts_may_be_empty_and_single_bytes() -> None:
    plain = text(500)
    assert opened((part for byte in sealed(plain) for part in (b"", bytes([byte]))), plain) == plain


def test_the_same_component_is_the_same_ciphertext_and_an_equal_beginning_does_not_show() -> None:
    plain = text(CHUNK_BYTES + 5)
    assert sealed(plain) == b"".join(seal(bytearray(plain), KEY)) == b"".join(seal(memoryview(plain), KEY))
    another = plain[:-1] + b"?"
    blocks = [
        {data[at : at + 16] for at in range(len(data) - 16)} for data in (sealed(plain), sealed(another), sealed(plain, OTHER))
    ]
    assert not blocks[0] & blocks[1]
    assert not blocks[0] & blocks[2]


def test_plaintext_stands_nowhere_in_what_is_sealed() -> None:
    plain = b"the same words again and again, " * 5_000
    data = sealed(plain)
    assert len(zlib.compress(data)) > len(data), "no pattern of the plaintext is left"


def test_it_is_built_as_the_document_says() -> None:
    """Anew from the library's primitives, so that another implementation can be written from the document."""
    plain = text(2 * 65_536 + 7)
    key = HKDF(SHA256(), 32, hashlib.sha256(plain).digest(), b"edge-agent-sealed/1").derive(bytes(range(32)))
    expected = b"".join(
        ChaCha20Poly1305(key).encrypt(
            index.to_bytes(11, "big") + bytes([index == 2]), plain[index * 65_536 : (index + 1) * 65_536], b""
        )
        for index in range(3)
    )
    assert sealed(plain) == expected


def test_the_library_computes_as_the_rfcs_say() -> None:
    """RFC 8439, section 2.8.2; RFC 5869, appendix A.1; RFC 7748, section 6.1."""
    sunscreen = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    )
    cipher = ChaCha20Poly1305(bytes(range(0x80, 0xA0)))
    out = cipher.encrypt(bytes.fromhex("070000004041424344454647"), sunscreen, bytes.fromhex("50515253c0c1c2c3c4c5c6c7"))
    assert out[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"
    assert out[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"
    derived = HKDF(SHA256(), 42, bytes(range(13)), bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")).derive(b"\x0b" * 22)
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    alice, bob = (
        X25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
        for secret in (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        )
    )
    assert alice.exchange(bob.public_key()).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


@given(size=SIZES, data=st.data())
def test_no_bit_can_be_flipped(size: int, data: st.DataObject) -> None:
    plain = text(size)
    changed = bytearray(sealed(plain))
    bit = data.draw(st.integers(0, 8 * len(changed) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ReleaseError, match="cannot be opened with the group key"):
        opened([bytes(changed)], plain)


@given(
    count=st.integers(1, 4),
    tail=st.integers(1, CHUNK_BYTES),
    what=st.sampled_from(["drop", "swap", "repeat", "append", "cut", "lengthen", "repeat in another's place"]),
    data=st.data(),
)
def test_no_chunk_can_be_dropped_swapped_repeated_or_added(count: int, tail: int, what: str, data: st.DataObject) -> None:
    plain = text((count - 1) * CHUNK_BYTES + tail)
    parts = chunks(sealed(plain))
    changed = list(parts)
    at, other = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, count - 1))
    match what:
        case "drop":
            del changed[at]
        case "swap":
            changed[at], changed[other] = changed[other], changed[at]
        case "repeat":
            changed.insert(other, changed[at])
        case "repeat in another's place":
            changed[other] = changed[at]
        case "append":
            changed.append(chunks(sealed(text(100)))[0])
        case "cut":
            changed[-1] = changed[-1][: data.draw(st.integers(0, len(changed[-1]) - 1))]
        case "lengthen":
            changed[-1] += bytes(data.draw(st.integers(1, 40)))
    if b"".join(changed) == b"".join(parts):
        return  # swapped with itself
    with pytest.raises(ReleaseError, match=r"writer/model\.bin: "):
        opened(changed, plain)


@given(size=st.integers(0, 3 * CHUNK_BYTES), at=st.integers(0, 3 * CHUNK_BYTES))
def test_what_was_handed_on_before_a_refusal_is_the_plaintext_and_never_all_of_it(size: int, at: int) -> None:
    plain = text(size)
    changed = bytearray(sealed(plain))
    changed[at % len(changed)] ^= 1
    pieces: list[bytes] = []
    with pytest.raises(ReleaseError):
        pieces.extend(open_sealed("x", [bytes(changed)], component(plain), KEY))
    got = b"".join(pieces)
    assert plain.startswith(got)
    assert len(got) < size or size == 0


def test_a_whole_component_is_not_handed_on_while_more_follows() -> None:
    plain = text(2 * CHUNK_BYTES)
    for parts in ([sealed(plain), b"m"], [*chunks(sealed(plain)), b"m"]):
        got: list[bytes] = []
        with pytest.raises(ReleaseError, match="goes on after its 131104 bytes"):
            got.extend(open_sealed("x", parts, component(plain), KEY))
        assert got == [plain[:CHUNK_BYTES]]


def test_who_has_the_groups_key_cannot_pass_another_text_off_as_a_component() -> None:
    """Every gateway of a group could seal; only what the signed manifest names is taken."""
    plain, forged = text(100), text(100, 1)
    cipher = ChaCha20Poly1305(KEY.for_component(component(plain).sha256))
    with pytest.raises(ReleaseError, match="its digest differs"):
        opened([cipher.encrypt(bytes(11) + b"\x01", forged, None)], plain)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_another_groups_key_and_another_component_are_refused(size: int) -> None:
    plain = text(size)
    with pytest.raises(ReleaseError, match="sealed with another key"):
        opened([sealed(plain, OTHER)], plain)
    another = bytes(size) if size else b"x"
    with pytest.raises(ReleaseError):
        opened([sealed(another)], plain)


def test_only_a_part_and_a_chunk_are_held() -> None:
    """A component need not fit into memory: plaintext comes while ciphertext goes in."""
    plain = text(4 * CHUNK_BYTES)
    taken: list[int] = []

    def parts() -> Iterator[bytes]:
        for index, part in enumerate(chunks(sealed(plain))):
            taken.append(index)
            yield part

    plains = open_sealed("x", parts(), component(plain), KEY)
    assert next(plains) == plain[:CHUNK_BYTES]
    assert taken == [0, 1]


@given(st.integers(0, 20 * CHUNK_BYTES))
def test_the_overhead_is_one_tag_a_chunk(size: int) -> None:
    assert sealed_size(size) - size == 16 * max(1, -(-size // 65_536))


def test_which_keys_a_release_is_sealed_with() -> None:
    clear = manifest()
    assert (seal_of(clear, "tokenizer.json"), seals(clear)) == ("", ())
    stored = Stored(sha256="0" * 64, size_bytes=0, chunk_bytes=4_096, chunks=())
    components = {
        name: replace(clear.components[name], stored=replace(stored, sealed=key))
        for name, key in (("lexicon.txt", "b"), ("confidence.json", "a"), ("tokenizer.json", "b"))
    }
    half = replace(clear, components={**clear.components, **components})
    assert (seal_of(half, "lexicon.txt"), seal_of(half, "classifier.tflite")) == ("b", "")
    assert seals(half) == ("a", "b")
