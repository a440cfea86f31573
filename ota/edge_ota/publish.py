"""Puts a release into a repository for one fleet group: blobs by content, then the group's signed document.

    edge-ota publish REPO RELEASE_DIR --group GROUP --key GROUP_KEY --key ONLINE_KEY... [--group-key FILE]

Rules: every component is compared with the manifest first; the counter must be above the group's; nothing refers to a blob before
all of them are there; one part of one blob is in memory at a time. A release that is published already is not published again.
A release that was built with a group key is sealed anew on its way, and the key must be wrapped for the group's gateways.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Signer

from edge_agent.release.group_keys import GroupKey
from edge_agent.release.manifest import KEYS_NAME, MANIFEST_NAME, MAX_LEAP, Manifest, encode_manifest, parse_manifest, stored_form
from edge_agent.release.sealing import seal_of
from edge_ota.contents import refuse_contents
from edge_ota.files import Files, Folder, is_whole, put
from edge_ota.pending import finish
from edge_ota.repository import RELEASE_NAME, State, blob_name, entry_of, keys_of, load_folder, release_of, stored_name
from edge_ota.roles import REVOKED_FIELD, group_role, with_release
from edge_ota.seal import check_wrapped, key_for, read_group_key, sealed_parts
from edge_ota.signing import OperatorError
from edge_ota.task import parser, run


@dataclass(frozen=True)
class Shipment:
    """A release as it goes into a repository."""

    manifest: Manifest
    stored: Callable[[str], Iterator[bytes]]
    """The stored bytes of a component, a part at a time, by its path; not asked for what is made on the device."""
    keys: bytes | None = None
    """The group's wrapped keys, which stand beside the manifest; None: those that the group has."""
    revoked: tuple[str, ...] | None = None
    """Replaces the list of releases that were taken back; None: as it stands."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser("publish", __doc__)
    arguments.add_argument("release", type=Path, metavar="RELEASE_DIR", help="the release's folder, with its manifest")
    arguments.add_argument("--group", required=True, metavar="GROUP", help="the fleet group that is to run it")
    arguments.add_argument("--group-key", type=Path, metavar="FILE", help="of a sealed release: what it was built with")
    options = arguments.parse_args(argv)
    return run("publish", options, lambda signers, now: _publish(options, signers, now))


def _publish(options: argparse.Namespace, signers: Sequence[Signer], now: datetime) -> int:
    group_key = None if options.group_key is None else read_group_key(options.group_key)
    shipment = from_folder(options.release, group_key)
    return publish(options.repository, options.group, shipment, signers, now)


def from_folder(folder: Path, group_key: GroupKey | None = None) -> Shipment:
    """A release as it stands in its folder, every component compared; sealed with `group_key` where it was built so.

    Raises OperatorError, ReleaseError.
    """
    manifest = read_manifest(folder)
    key = key_for(manifest, group_key)
    for name in manifest.components:
        check_component_file(folder, manifest, name)

    def stored(name: str) -> Iterator[bytes]:
        if key is not None and seal_of(manifest, name):
            return sealed_parts(folder / name, key)
        return _present(Folder(folder), name, folder)

    return Shipment(manifest, stored)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a release's folder. Raises OperatorError, ReleaseError."""
    data = Folder(folder).read(MANIFEST_NAME)
    if data is None:
        raise OperatorError(f"{folder / MANIFEST_NAME} is missing: run edge-ota build first")
    return parse_manifest(data, str(folder / MANIFEST_NAME))


def check_component_file(folder: Path, manifest: Manifest, name: str) -> None:
    """Compare a component with the manifest, and its format with what may be released; nothing if the device makes it.

    Raises OperatorError, ReleaseError.
    """
    component = manifest.components[name]
    if component.merged is not None:
        return
    if not is_whole(_present(Folder(folder), name, folder), component.size_bytes, component.sha256):
        raise OperatorError(f"{folder / name}: not what the manifest describes: build the release anew")
    with (folder / name).open("rb") as file:
        refuse_contents(name, file)


def from_repository(
    files: Files, manifest: Manifest, keys: bytes | None = None, revoked: tuple[str, ...] | None = None
) -> Shipment:
    """A release whose blobs stand in a repository."""

    def stored(name: str) -> Iterator[bytes]:
        blob = blob_name(stored_form(name, manifest.components[name]).sha256)
        parts = files.parts(blob)
        if parts is None:
            raise OperatorError(f"{blob} is missing")
        return parts

    return Shipment(manifest, stored, keys, revoked)


def publish(repository: Path, group: str, shipment: Shipment, signers: Sequence[Signer], now: datetime) -> int:
    """Publish a release for a group. Returns an exit code. Raises OperatorError, ReleaseError, StorageError."""
    state, manifest = load_folder(repository), shipment.manifest
    data = encode_manifest(manifest)
    keys = _keys(repository, state, group, shipment)
    check_wrapped(manifest, keys, group)
    changes = with_release(state, group, manifest, now, _revoked(state, group, shipment), keys)
    document = changes[group_role(group)]
    if _stands(state, group, data, keys):
        return finish(repository, {}, signers, now)
    _check_counter(repository, state, group, manifest)
    for name, component in manifest.components.items():
        if component.merged is None:
            form = stored_form(name, component)
            put(repository / blob_name(form.sha256), shipment.stored(name), form.size_bytes, form.sha256)
    for name, small in ((RELEASE_NAME, data), (KEYS_NAME, keys)):
        entry = entry_of(document, group_role(group), name)
        if entry is not None and small is not None:
            put(repository / stored_name(entry), iter([small]), entry.length, entry.hashes["sha256"])
    return finish(repository, changes, signers, now)


def _stands(state: State, group: str, manifest: bytes, keys: bytes | None) -> bool:
    """Whether the group has this very release, with these keys."""
    role = group_role(group)
    for name, data in ((RELEASE_NAME, manifest), (KEYS_NAME, keys)):
        entry = entry_of(state.groups[role], role, name)
        if (entry is None) != (data is None):
            return False
        if entry is not None and data is not None and not is_whole([data], entry.length, entry.hashes["sha256"]):
            return False
    return True


def _check_counter(repository: Path, state: State, group: str, manifest: Manifest) -> None:
    """Raises OperatorError where gateways would not take the release for its counter. The same release with other keys may be."""
    current = release_of(Folder(repository), group_role(group), state.groups[group_role(group)])
    if current is None or encode_manifest(current[0]) == encode_manifest(manifest):
        return
    if manifest.counter <= current[0].counter:
        raise OperatorError(
            f"{manifest.id}: counter {manifest.counter} is not above {current[0].counter}, which group {group} has: build it anew"
        )
    if manifest.id == current[0].id:
        raise OperatorError(
            f"{manifest.id}: group {group} has another release of this name, by which sentences and reports name theirs: build it"
            " anew with a new --id"
        )
    if manifest.counter - current[0].counter > MAX_LEAP:
        raise OperatorError(
            f"{manifest.id}: counter {manifest.counter} is more than {MAX_LEAP} above {current[0].counter}, which group {group}"
            " has: gateways would not take it: build it anew"
        )


def _revoked(state: State, group: str, shipment: Shipment) -> Sequence[str]:
    if shipment.revoked is not None:
        return shipment.revoked
    role = group_role(group)
    entry = entry_of(state.groups[role], role, RELEASE_NAME) if role in state.groups else None
    return [] if entry is None else list(entry.custom.get(REVOKED_FIELD, []))


def _keys(repository: Path, state: State, group: str, shipment: Shipment) -> bytes | None:
    """The wrapped keys that shall stand beside the release."""
    role = group_role(group)
    if shipment.keys is not None or role not in state.groups:
        return shipment.keys
    return keys_of(Folder(repository), role, state.groups[role])


def _present(files: Files, name: str, folder: Path) -> Iterator[bytes]:
    parts = files.parts(name)
    if parts is None:
        raise OperatorError(f"{folder / name} is missing")
    return parts
