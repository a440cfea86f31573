"""Puts a release into a repository for one fleet group: blobs by content, then the group's signed document.

    edge-ota publish REPO RELEASE_DIR --group GROUP --key GROUP_KEY --key ONLINE_KEY...

Rules: every component is compared with the manifest first; the counter must be above the group's; nothing refers to a blob before
all of them are there. A release that is published already is not published again.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer

from edge_agent.atomic import make_folder, write_atomic
from edge_agent.errors import ReleaseError
from edge_agent.release.manifest import MANIFEST_NAME, Manifest, check_component, encode_manifest, parse_manifest
from edge_ota.contents import refuse_contents
from edge_ota.pending import finish
from edge_ota.repository import TARGETS, folder_reader, load_folder, release_of, stored_name
from edge_ota.roles import REVOKED_FIELD, group_role, with_release
from edge_ota.signing import OperatorError
from edge_ota.task import parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("release", type=Path, help="the release's folder, with its manifest")
    arguments.add_argument("--group", required=True)
    options = arguments.parse_args(argv)
    return run("publish", options, lambda signers, now: _publish(options, signers, now))


def _publish(options: argparse.Namespace, signers: Sequence[Signer], now: datetime) -> int:
    folder: Path = options.release

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise OperatorError(f"{folder / name}: cannot be read: {error.strerror}") from error

    manifest = parse_manifest(read(MANIFEST_NAME), str(folder / MANIFEST_NAME))
    return publish(options.repository, options.group, manifest, read, signers, now)


def publish(
    repository: Path,
    group: str,
    manifest: Manifest,
    read: Callable[[str], bytes],
    signers: Sequence[Signer],
    now: datetime,
    revoked: Sequence[str] | None = None,
) -> int:
    """Publish a release for a group; `read` gives a component's bytes by its path, `revoked`
    replaces the list of releases that were taken back. Returns an exit code. Raises OperatorError,
    ReleaseError, StorageError."""
    state = load_folder(repository)
    if group_role(group) not in state.groups:
        raise OperatorError(f"no group {group!r} in this repository; it has {', '.join(sorted(state.groups)) or 'none'}")
    current = release_of(folder_reader(repository), state.groups[group_role(group)])
    if revoked is None:
        revoked = [] if current is None else current[1].custom.get(REVOKED_FIELD, [])
    changes: Mapping[str, Any] = with_release(state, group, manifest, now, revoked)
    if current is not None and encode_manifest(current[0]) == encode_manifest(manifest):
        return finish(repository, {}, signers, now)
    if current is not None and manifest.counter <= current[0].counter:
        raise OperatorError(
            f"{manifest.id}: counter {manifest.counter} is not above {current[0].counter}, which group {group} has: build it anew"
        )
    for name in manifest.components:
        _place_component(repository, manifest, name, read(name))
    entry = changes[group_role(group)].signed.targets[f"groups/{group}/release.json"]
    place(repository, stored_name(entry), encode_manifest(manifest))
    return finish(repository, changes, signers, now)


def _place_component(repository: Path, manifest: Manifest, name: str, data: bytes) -> None:
    try:
        check_component(manifest, name, data)
        refuse_contents(name, data)
    except ReleaseError as error:
        raise OperatorError(str(error)) from error
    digest = manifest.components[name].sha256
    place(repository, f"{TARGETS}/blobs/{digest}.{digest}", data)


def place(repository: Path, name: str, data: bytes) -> None:
    """Write a file named by its own digest, unless it is there whole."""
    standing = folder_reader(repository)(name)
    if standing is not None and hashlib.sha256(standing).digest() == hashlib.sha256(data).digest():
        return
    make_folder((repository / name).parent, 0o755)
    write_atomic(repository / name, data, mode=0o644)
