"""A repository as it stands: read, verified, and changed in an order in which every step leaves a valid one.

A repository is a static folder: `metadata/` (TUF, consistent snapshots) and `targets/` (names prefixed with their SHA-256).
What is current follows from `timestamp.json` alone: files that nothing refers to yet are of no account, and are written again
by whoever runs the interrupted task again.

Rules: reading is a function of files by name, so that a folder and a bundle are read alike; the state of a folder has one
writer at a time (`locked`); no signature is taken on trust, not even in one's own folder; a threshold counts public keys; what
a device would not take for its size is an error here. What writes is `commit`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.exceptions import Error as SecureSystemsError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from edge_agent.errors import ReleaseError
from edge_agent.release.manifest import KEYS_NAME, Manifest, parse_manifest
from edge_ota.files import Files, Folder, is_whole
from edge_ota.signing import OperatorError, identity

METADATA = "metadata"
TARGETS = "targets"
TIMESTAMP_NAME = f"{METADATA}/timestamp.json"
GROUP_PREFIX = "group-"
RELEASE_NAME = "release.json"
MAX_BYTES: dict[str, int] = {"root": 128 << 10, "timestamp": 16 << 10, "snapshot": 256 << 10, "targets": 1 << 20}
"""By type: larger metadata is not taken by a device."""
MAX_GROUPS = 31
"""A device looks at 32 targets roles in search of a file, `targets` among them."""
_BLOB = re.compile(r"blobs/([0-9a-f]{64})")
_Document = TypeVar("_Document", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True)
class State:
    """What a repository says now. The documents are not changed: whoever wants another makes another."""

    roots: tuple[Metadata[Root], ...]
    """Every one, oldest first."""
    targets: Metadata[Targets]
    groups: Mapping[str, Metadata[Targets]]
    """By role name, `group-<g>`."""
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    unfinished: bool = False
    """The newest root stands, what it should speak for does not yet: a task was interrupted."""

    @property
    def root(self) -> Metadata[Root]:
        """The newest."""
        return self.roots[-1]

    def documents(self) -> dict[str, Metadata[Any]]:
        """The signed offline documents by role."""
        return {"root": self.root, "targets": self.targets, **self.groups}


def load(files: Files) -> State | None:
    """The state that `timestamp.json` leads to, every signature verified; None where there is no timestamp.

    Expiry is not looked at. Raises OperatorError that names the file.
    """
    roots = _roots(files)
    if files.read(TIMESTAMP_NAME) is None:
        return None
    if not roots:
        raise OperatorError(f"{METADATA}/1.root.json is missing: this is not a whole repository")
    try:
        return _under(files, roots, roots[-1].signed)
    except OperatorError as error:
        if len(roots) == 1:
            raise
        try:
            return _under(files, roots, roots[-2].signed, unfinished=True)
        except OperatorError:
            raise error from None


def load_folder(folder: Path) -> State:
    """The state of a repository's folder. Raises OperatorError."""
    state = load(Folder(folder))
    if state is None:
        raise OperatorError(f"{folder}: no repository, or its `init` is not finished: run init, sign and commit")
    return state


def _roots(files: Files) -> tuple[Metadata[Root], ...]:
    roots: list[Metadata[Root]] = []
    while (data := files.read(f"{METADATA}/{len(roots) + 1}.root.json")) is not None:
        name = f"{METADATA}/{len(roots) + 1}.root.json"
        new = decode(data, Root, name)
        for by in (*roots[-1:], new):
            verify(by.signed, "root", new, name)
        roots.append(new)
    return tuple(roots)


def _under(files: Files, roots: tuple[Metadata[Root], ...], root: Root, *, unfinished: bool = False) -> State:
    """The state as `root`'s keys vouch for it."""
    timestamp = decode(_present(files, TIMESTAMP_NAME), Timestamp, TIMESTAMP_NAME)
    verify(root, "timestamp", timestamp, TIMESTAMP_NAME)
    snapshot = _named(files, "snapshot", Snapshot, timestamp.signed.snapshot_meta)
    verify(root, "snapshot", snapshot, "snapshot")
    targets = _named(files, "targets", Targets, _meta(snapshot, "targets"))
    verify(root, "targets", targets, "targets")
    groups: dict[str, Metadata[Targets]] = {}
    for role in delegated(targets.signed):
        groups[role] = _named(files, role, Targets, _meta(snapshot, role))
        verify(targets.signed, role, groups[role], role)
    return State(roots, targets, groups, snapshot, timestamp, unfinished)


def _meta(snapshot: Metadata[Snapshot], role: str) -> Any:
    try:
        return snapshot.signed.meta[f"{role}.json"]
    except KeyError:
        raise OperatorError(f"the snapshot does not name {role}.json") from None


def _named(files: Files, role: str, kind: type[_Document], meta: Any) -> Metadata[_Document]:
    name = f"{METADATA}/{meta.version}.{role}.json"
    data = _present(files, name)
    try:
        meta.verify_length_and_hashes(data)
    except RepositoryError as error:
        raise OperatorError(f"{name}: not what the repository refers to: {error}") from error
    document = decode(data, kind, name)
    if document.signed.version != meta.version:
        raise OperatorError(f"{name}: says version {document.signed.version}")
    return document


def _present(files: Files, name: str) -> bytes:
    data = files.read(name)
    if data is None:
        raise OperatorError(f"{name} is missing")
    return data


def decode(data: bytes, kind: type[_Document], name: str) -> Metadata[_Document]:
    """Parse one metadata file. Raises OperatorError, also where it is of another kind."""
    document = decode_any(data, name)
    if not isinstance(document.signed, kind):
        raise OperatorError(f"{name}: is of the type {document.signed.type}")
    return document


def decode_any(data: bytes, name: str) -> Metadata[Any]:
    """Parse one metadata file of any kind. Raises OperatorError."""
    try:
        document: Metadata[Any] = Metadata.from_bytes(data)
    except (DeserializationError, RecursionError) as error:
        raise OperatorError(f"{name}: not TUF metadata: {error}") from error
    most = MAX_BYTES[document.signed.type]
    if len(data) > most:
        raise OperatorError(f"{name}: {len(data)} bytes; a device takes {most} at most")
    return document


def delegated(targets: Targets) -> tuple[str, ...]:
    """The roles that `targets` delegates to, in order."""
    return tuple((targets.delegations.roles or {}) if targets.delegations else ())


def verify(delegator: Root | Targets, role: str, document: Metadata[Any], name: str) -> None:
    """Raises OperatorError unless enough of the role's keys signed, one public key counting once."""
    try:
        result = delegator.get_verification_result(role, document.signed_bytes, document.signatures)
    except (ValueError, SecureSystemsError) as error:
        raise OperatorError(f"{name}: {error}") from error
    signed = {identity(key) for key in result.signed.values()}
    if len(signed) < result.threshold:
        raise OperatorError(f"{name}: signed by {len(signed)} of the {result.threshold} keys that the role {role} needs")


def foreign(role: str, signed: Targets) -> list[str]:
    """What a group's document names though it is not the group's to name, in words; empty for nothing."""
    group = role.removeprefix(GROUP_PREFIX)
    found = [f"{child}, another role" for child in delegated(signed)]
    for path, entry in signed.targets.items():
        blob = _BLOB.fullmatch(path)
        of_group = path in (f"groups/{group}/{RELEASE_NAME}", f"groups/{group}/{KEYS_NAME}")
        if "sha256" not in entry.hashes or not (of_group or (blob and entry.hashes["sha256"] == blob[1])):
            found.append(path)
    return found


def entry_of(group: Metadata[Targets], role: str, name: str) -> TargetFile | None:
    """The entry of a file of the group's own; None where it names none."""
    return group.signed.targets.get(f"groups/{role.removeprefix(GROUP_PREFIX)}/{name}")


def release_of(files: Files, role: str, group: Metadata[Targets]) -> tuple[Manifest, TargetFile] | None:
    """The manifest that a group's role names, verified, and its entry; None where it names none. Raises OperatorError."""
    entry = entry_of(group, role, RELEASE_NAME)
    if entry is None:
        return None
    try:
        return parse_manifest(stored(files, entry), entry.path), entry
    except ReleaseError as error:
        raise OperatorError(str(error)) from error


def keys_of(files: Files, role: str, group: Metadata[Targets]) -> bytes | None:
    """The group's wrapped keys, verified; None where it has none. Raises OperatorError."""
    entry = entry_of(group, role, KEYS_NAME)
    return None if entry is None else stored(files, entry)


def stored(files: Files, entry: TargetFile) -> bytes:
    """The bytes of a small target, verified. Raises OperatorError."""
    name = stored_name(entry)
    data = _present(files, name)
    if not is_whole([data], entry.length, _sha256(entry)):
        raise OperatorError(f"{name}: not what was signed")
    return data


def check_stored(files: Files, entry: TargetFile) -> None:
    """Compare a target of any size with what was signed. Raises OperatorError."""
    name = stored_name(entry)
    parts = files.parts(name)
    if parts is None:
        raise OperatorError(f"{name} is missing")
    if not is_whole(parts, entry.length, _sha256(entry)):
        raise OperatorError(f"{name}: not what was signed")


def _sha256(entry: TargetFile) -> str:
    try:
        return entry.hashes["sha256"]
    except KeyError:
        raise OperatorError(f"{entry.path}: is named without its SHA-256") from None


def blob_name(sha256: str) -> str:
    """Where a blob is, below the repository."""
    return f"{TARGETS}/blobs/{sha256}.{sha256}"


def stored_name(entry: TargetFile) -> str:
    """Where a target's file is, below the repository. Raises OperatorError where the entry has no SHA-256."""
    folder, _, name = entry.path.rpartition("/")
    return f"{TARGETS}/{folder}/{_sha256(entry)}.{name}"


def target(path: str, data: bytes, custom: Mapping[str, Any] | None = None) -> TargetFile:
    """The entry of a target."""
    extra = {"custom": dict(custom)} if custom else {}
    return TargetFile(len(data), {"sha256": hashlib.sha256(data).hexdigest()}, path, extra)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the repository's folder, which exists. Raises OperatorError where another task holds it."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OperatorError(f"{folder}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise OperatorError(f"{folder}: another task is at work on this repository: wait for it") from None
    try:
        yield
    finally:
        os.close(fd)
