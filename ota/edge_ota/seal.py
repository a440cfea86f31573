"""Seals the components of a release with a group's key: how they stand in a repository then, and their bytes on the way there.

Rules: sealing is deterministic, so that nothing sealed is kept anywhere but in the repository: what the manifest promised is made
again when it is published. A file is mapped, not read whole. The key is read from a file that only its owner may read.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_agent.errors import InputError, ReleaseError
from edge_agent.private_file import read_private
from edge_agent.regular_file import NotRegularError, open_regular
from edge_agent.release.group_keys import GroupKey, Keys, parse_group_key, parse_keys
from edge_agent.release.manifest import Component, Manifest, Stored
from edge_agent.release.sealing import seal, seals
from edge_ota.signing import OperatorError

MAX_KEY_FILE_BYTES = 4_096


def read_group_key(path: Path) -> GroupKey:
    """The key in a file that `edge-ota group-key new` made. Raises OperatorError, StorageError."""
    data = read_private(path, MAX_KEY_FILE_BYTES, "give the file that `edge-ota group-key new` made", follow_links=True)
    if data is None:
        raise OperatorError(f"{path} is missing: make a key with `edge-ota group-key new`")
    try:
        return parse_group_key(data)
    except (InputError, ReleaseError) as error:
        raise OperatorError(f"{path}: {error}") from None


def sealed_component(component: Component, path: Path, group_key: GroupKey, chunk_bytes: int) -> Component:
    """The component in the file `path` as it stands in a repository when it is sealed. Raises OperatorError."""
    whole, length, chunks = hashlib.sha256(), 0, []
    for chunk in _cut(sealed_parts(path, group_key), chunk_bytes):
        whole.update(chunk)
        length += len(chunk)
        chunks.append(hashlib.sha256(chunk).hexdigest())
    stored = Stored(
        sha256=whole.hexdigest(), size_bytes=length, chunk_bytes=chunk_bytes, chunks=tuple(chunks), sealed=group_key.id
    )
    return Component(sha256=component.sha256, size_bytes=component.size_bytes, stored=stored)


def sealed_parts(path: Path, group_key: GroupKey) -> Iterator[bytes]:
    """A file's content, sealed, a part at a time. Raises OperatorError."""
    with _mapped(path) as plain:
        yield from seal(plain, group_key)


def key_for(manifest: Manifest, group_key: GroupKey | None) -> GroupKey | None:
    """The key that the manifest's components are sealed with; None for a release in the clear. Raises OperatorError."""
    wanted = seals(manifest)
    if not wanted:
        return None
    if group_key is None:
        raise OperatorError(f"{manifest.id}: is sealed with the group key {wanted[0]}: give its file with --group-key")
    if wanted != (group_key.id,):
        raise OperatorError(
            f"{manifest.id}: is sealed with the group key {', '.join(wanted)}, not with {group_key.id}: give that one's file"
        )
    return group_key


def check_wrapped(manifest: Manifest, keys: bytes | None, group: str) -> None:
    """Raises OperatorError where a sealed release goes to a group for whose gateways its keys were not wrapped."""
    wrapped = {} if keys is None else wrapped_keys(keys, group).keys
    for key_id in seals(manifest):
        if not wrapped.get(key_id):
            raise OperatorError(
                f"{manifest.id}: is sealed with the group key {key_id}, which no gateway of the group {group} could open: wrap it"
                " for them first, with `edge-ota group-key wrap`"
            )


def wrapped_keys(data: bytes, source: str) -> Keys:
    """A group's wrapped keys. Raises OperatorError."""
    try:
        return parse_keys(data, source)
    except ReleaseError as error:
        raise OperatorError(str(error)) from error


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """A file's content. Raises OperatorError."""
    try:
        fd = open_regular(path)
        try:
            # An empty file cannot be mapped.
            content = mmap.mmap(fd, 0, access=mmap.ACCESS_READ) if os.fstat(fd).st_size else None
        finally:
            os.close(fd)
    except NotRegularError as error:
        raise OperatorError(f"{path}: is no regular file") from error
    except OSError as error:
        raise OperatorError(f"{path}: cannot be read: {error.strerror}") from error
    if content is None:
        yield memoryview(b"")
        return
    with content, memoryview(content) as view:
        yield view


def _cut(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`; the last may be shorter."""
    held = bytearray()
    for part in parts:
        held += part
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
