"""Components that only the gateways of a group can read: sealed with the group's key.

Format `edge-agent-sealed/1` (docs/formats/sealing.md). A component is cut into chunks of 64 KiB; each becomes ciphertext and
tag by ChaCha20-Poly1305 (RFC 8439). The nonce is the chunk's number and whether it is the last: the construction STREAM (Hoang,
Reyhanitabar, Rogaway, Vizar 2015), by which chunks that were dropped, swapped, repeated or added are refused. The key is made
of the group's key and the component's digest (HKDF, RFC 5869), so that the same component is the same ciphertext and is not
fetched again.

Rules: pure; plaintext is handed on in verified chunks only, the last of them only when the whole is the component that the
manifest names; whoever gives it to native code waits for that. One key never encrypts two texts, because the text's digest is
in it: so the digest is computed here, not taken from a caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from edge_agent.errors import ReleaseError
from edge_agent.release.group_keys import GroupKey
from edge_agent.release.manifest import Component, Manifest

CHUNK_BYTES = 64 << 10
"""Of plaintext. Part of the format: with another size the same nonces would encrypt other texts."""
TAG_BYTES = 16

_COUNTER_BYTES = 11


def sealed_size(size_bytes: int) -> int:
    """How long a component of `size_bytes` is when it is sealed."""
    return size_bytes + TAG_BYTES * _chunks(size_bytes)


def seal(plain: bytes | bytearray | memoryview, group_key: GroupKey) -> Iterator[bytes]:
    """The ciphertext of a component, chunk by chunk; the same for the same component and key."""
    view = memoryview(plain)
    cipher = ChaCha20Poly1305(group_key.for_component(hashlib.sha256(view).hexdigest()))
    count = _chunks(len(view))
    for index in range(count):
        start = index * CHUNK_BYTES
        yield cipher.encrypt(_nonce(index, is_last=index == count - 1), view[start : start + CHUNK_BYTES], None)


def open_sealed(name: str, parts: Iterable[bytes], component: Component, group_key: GroupKey) -> Iterator[bytes]:
    """The plaintext of the component `name`, in verified chunks, from ciphertext in parts of any size.

    At most one chunk and one part are held. The last chunk comes only when size and SHA-256 of the whole are the component's.
    Raises ReleaseError that says what is wrong.
    """
    cipher = ChaCha20Poly1305(group_key.for_component(component.sha256))
    digest = hashlib.sha256()
    count = _chunks(component.size_bytes)
    for index, chunk in enumerate(_cut(name, parts, sealed_size(component.size_bytes))):
        is_last = index == count - 1
        try:
            plain = cipher.decrypt(_nonce(index, is_last=is_last), chunk, None)
        except InvalidTag:
            raise ReleaseError(
                f"{name}: chunk {index + 1} of {count} cannot be opened with the group key {group_key.id}: it was altered, or"
                " sealed with another key; fetch the release again"
            ) from None
        digest.update(plain)
        if is_last and digest.hexdigest() != component.sha256:
            raise ReleaseError(f"{name}: what was sealed is not the component of the manifest: its digest differs")
        yield plain


def seal_of(manifest: Manifest, name: str) -> str:
    """The id of the key that the file of a component is sealed with in a release's folder; empty where it is in the clear."""
    stored = manifest.components[name].stored
    return "" if stored is None else stored.sealed


def seals(manifest: Manifest) -> tuple[str, ...]:
    """The ids of all keys that a release's components are sealed with, sorted; none for a release in the clear."""
    return tuple(sorted({seal_of(manifest, name) for name in manifest.components} - {""}))


def _chunks(size_bytes: int) -> int:
    """At least one, so that an empty component has a tag too."""
    return max(1, -(-size_bytes // CHUNK_BYTES))


def _nonce(index: int, *, is_last: bool) -> bytes:
    return index.to_bytes(_COUNTER_BYTES, "big") + (b"\x01" if is_last else b"\x00")


def _cut(name: str, parts: Iterable[bytes], total: int) -> Iterator[bytes]:
    """Parts of any size as sealed chunks. The last comes only when nothing follows it. Raises ReleaseError for another total."""
    whole, seen, held = CHUNK_BYTES + TAG_BYTES, 0, bytearray()
    for part in parts:
        seen += len(part)
        if seen > total:
            raise ReleaseError(f"{name}: goes on after its {total} bytes: not what the manifest names")
        held += part
        start = 0
        # One byte more than a chunk is needed to know that it is not the last.
        while len(held) - start > whole:
            yield bytes(held[start : start + whole])
            start += whole
        del held[:start]
    if seen < total:
        raise ReleaseError(f"{name}: ends after {seen} of its {total} bytes; fetch the release again")
    yield bytes(held)
