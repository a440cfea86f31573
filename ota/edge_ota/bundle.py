"""A group's part of a repository in one file, for gateways without a network: a plain tar, the same bytes every time.

    edge-ota bundle REPO --group GROUP OUT.tar

Rules: regular files only, each behind one USTAR header of 512 bytes, no extended ones; times and owners 0, mode 0644; metadata
first, then the manifest, then the blobs, so that what decides comes before what is large. A file has its name of the repository,
but for a blob, whose name would not fit: there it is `targets/blobs/<sha256>`. All metadata that a TUF client needs is in it
(every root, the documents of all groups, since a client may look at each). Everything is verified while it is packed, and by
the device after. It expires with its timestamp.
"""

from __future__ import annotations

import argparse
import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from securesystemslib.signer import Signer

from edge_ota.files import Files, Folder, whole
from edge_ota.repository import (
    METADATA,
    TARGETS,
    TIMESTAMP_NAME,
    State,
    foreign,
    load_folder,
    release_of,
    stored_name,
)
from edge_ota.roles import group_role
from edge_ota.signing import OperatorError
from edge_ota.task import parser, run
from edge_ota.usage import named

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
_BLOBS = f"{TARGETS}/blobs/"


@dataclass(frozen=True)
class Member:
    """A file of a bundle."""

    name: str
    """In the bundle."""
    source: str
    """In the repository."""
    size_bytes: int
    sha256: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser("bundle", __doc__)
    arguments.add_argument("--group", required=True, metavar="GROUP", help="the fleet group whose gateways take it")
    arguments.add_argument("out", type=named, metavar="OUT.tar", help="the file to write")
    options = arguments.parse_args(argv)
    return run("bundle", options, lambda signers, now: _bundle(options, signers, now))


def _bundle(options: argparse.Namespace, _: Sequence[Signer], now: datetime) -> int:
    state, files = load_folder(options.repository), Folder(options.repository)
    check_current(state, now)
    found = members(state, files, options.group)
    with whole(options.out) as out:
        for part in pack(found, files):
            out.write(part)
    size = sum(BLOCK_BYTES + _padded(member.size_bytes) for member in found) + len(END)
    print(f"{options.out}: {size} bytes, until {state.timestamp.signed.expires:%Y-%m-%d %H:%M} UTC")
    return 0


def check_current(state: State, now: datetime) -> None:
    """Raises OperatorError where a document has expired."""
    for role, document in {**state.documents(), "snapshot": state.snapshot, "timestamp": state.timestamp}.items():
        if document.signed.expires <= now:
            raise OperatorError(f"{role} has expired, no gateway would take the bundle: refresh the repository first")


def members(state: State, files: Files, group: str) -> list[Member]:
    """The files of a bundle in order. Raises OperatorError."""
    role = group_role(group)
    if role not in state.groups:
        raise OperatorError(f"no group {group!r} in this repository")
    if release_of(files, role, state.groups[role]) is None:
        raise OperatorError(f"group {group} has no release: publish one first")
    if strange := foreign(role, state.groups[role].signed):
        raise OperatorError(f"{role}: names {strange[0]}, which is not its own: publish the group anew")
    names = [f"{METADATA}/{root.signed.version}.root.json" for root in state.roots]
    names += [TIMESTAMP_NAME, f"{METADATA}/{state.snapshot.signed.version}.snapshot.json"]
    documents = {"targets": state.targets, **state.groups}
    names += [f"{METADATA}/{document.signed.version}.{name}.json" for name, document in documents.items()]
    found: list[Member] = []
    for name in names:
        data = files.read(name)
        if data is None:
            raise OperatorError(f"{name} is missing")
        found.append(Member(name, name, len(data), hashlib.sha256(data).hexdigest()))
    entries = sorted(state.groups[role].signed.targets.values(), key=lambda entry: (entry.path.startswith("blobs/"), entry.path))
    for entry in entries:
        source = stored_name(entry)
        found.append(Member(bundle_name(source), source, entry.length, entry.hashes["sha256"]))
    return found


def bundle_name(source: str) -> str:
    """The name in a bundle of a file of a repository."""
    return source.partition(".")[0] if source.startswith(_BLOBS) else source


def pack(found: Iterable[Member], files: Files) -> Iterator[bytes]:
    """The bytes of a bundle: a function of names and contents alone. Raises OperatorError for a file that is not as described."""
    for member in found:
        yield _header(member)
        parts = files.parts(member.source)
        if parts is None:
            raise OperatorError(f"{member.source} is missing")
        digest, length = hashlib.sha256(), 0
        for part in parts:
            digest.update(part)
            length += len(part)
            yield part
        if (length, digest.hexdigest()) != (member.size_bytes, member.sha256):
            raise OperatorError(f"{member.source}: not what was signed")
        yield bytes(_padded(length) - length)
    yield END


def _header(member: Member) -> bytes:
    entry = tarfile.TarInfo(member.name)
    entry.size, entry.mode, entry.mtime = member.size_bytes, 0o644, 0
    try:
        header = entry.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError as error:
        raise OperatorError(f"{member.name}: does not fit a plain tar: {error}") from error
    return header


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
