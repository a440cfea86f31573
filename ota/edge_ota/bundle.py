"""A group's part of a repository in one file, for gateways without a network: a plain tar, the same bytes every time.

    edge-ota bundle REPO --group GROUP OUT.tar

Rules: regular files only, no folders, links or devices; names sorted, times and owners 0, mode 0644. All metadata that a TUF
client needs is in it (every root, the documents of all groups, since a client may look at each), and of the targets the group's.
Everything is verified before it is packed, and by the device after. It expires with its timestamp.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Signer

from edge_agent.atomic import write_atomic
from edge_ota.repository import METADATA, TIMESTAMP_NAME, Read, State, folder_reader, load_folder, stored, stored_name
from edge_ota.roles import group_role
from edge_ota.signing import OperatorError
from edge_ota.task import parser, run

MAX_MEMBERS = 10_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("--group", required=True)
    arguments.add_argument("out", type=Path)
    options = arguments.parse_args(argv)
    return run("bundle", options, lambda signers, now: _bundle(options, signers, now))


def _bundle(options: argparse.Namespace, _: Sequence[Signer], now: datetime) -> int:
    state, read = load_folder(options.repository), folder_reader(options.repository)
    if state.timestamp.signed.expires <= now:
        raise OperatorError("the timestamp has expired, no gateway would take the bundle: refresh the repository first")
    data = pack(members(state, read, options.group))
    write_atomic(options.out, data, mode=0o644)
    print(f"{options.out}: {len(data)} bytes, until {state.timestamp.signed.expires:%Y-%m-%d %H:%M} UTC")
    return 0


def members(state: State, read: Read, group: str) -> dict[str, bytes]:
    """The files of a bundle by name. Raises OperatorError."""
    role = group_role(group)
    if role not in state.groups:
        raise OperatorError(f"no group {group!r} in this repository")
    names = [f"{METADATA}/{root.signed.version}.root.json" for root in state.roots]
    names += [TIMESTAMP_NAME, f"{METADATA}/{state.snapshot.signed.version}.snapshot.json"]
    documents = {"targets": state.targets, **state.groups}
    names += [f"{METADATA}/{document.signed.version}.{name}.json" for name, document in documents.items()]
    found: dict[str, bytes] = {}
    for name in names:
        data = read(name)
        if data is None:
            raise OperatorError(f"{name} is missing")
        found[name] = data
    for entry in state.groups[role].signed.targets.values():
        found[stored_name(entry)] = stored(read, entry)
    return found


def pack(files: Mapping[str, bytes]) -> bytes:
    """A tar of the files, by name; a function of names and bytes alone."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o644, 0
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def unpack(path: Path) -> dict[str, bytes]:
    """The files of a bundle by name. Raises OperatorError for what a bundle may not hold."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, mode="r:") as tar:
            for entry in tar:
                parts = entry.name.split("/")
                if not entry.isreg() or entry.issparse():
                    raise OperatorError(f"{path}: {entry.name!r} is not a regular file")
                if entry.name in found or ".." in parts or "." in parts or "" in parts or len(found) >= MAX_MEMBERS:
                    raise OperatorError(f"{path}: {entry.name!r} may not be in a bundle, or is in it twice")
                member = tar.extractfile(entry)
                found[entry.name] = member.read() if member else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise OperatorError(f"{path}: cannot be read as a bundle: {error}") from error
    return found
