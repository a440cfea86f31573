"""Bundles made by hand, header by header, so that any of them can be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BLOCK = 512
END = bytes(2 * BLOCK)


def header(
    name: str,
    size: int | bytes,
    *,
    kind: bytes = b"0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    fields = [
        (name.encode(), 100),
        (b"0000644", 8),
        (b"0000000", 8),
        (b"0000000", 8),
        (size if isinstance(size, bytes) else b"%011o" % size, 12),
        (b"0" * 11, 12),
        (b" " * 8, 8),
        (kind, 1),
        (link, 100),
        (magic, 8),
        (b"", 80),
        (prefix, 155),
        (b"", 12),
    ]
    made = b"".join(value.ljust(width, b"\0") for value, width in fields)
    assert len(made) == BLOCK
    return made[:148] + (checksum or b"%06o\0 " % sum(made)) + made[156:]


def member(name: str, data: bytes) -> bytes:
    return header(name, len(data)) + padded(data)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def bundle(files: Mapping[str, bytes]) -> bytes:
    return joined(member(name, data) for name, data in files.items())


def joined(members: Iterable[bytes]) -> bytes:
    return b"".join(members) + END


def in_bundle(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a repository by their names in a bundle."""
    return {name.partition(".")[0] if name.startswith("targets/blobs/") else name: data for name, data in files.items()}
