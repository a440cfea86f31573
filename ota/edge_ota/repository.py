"""A repository as it stands: read, verified, and changed in an order in which every step leaves a valid one.

A repository is a static folder: `metadata/` (TUF, consistent snapshots) and `targets/` (names prefixed with their SHA-256).
What is current follows from `timestamp.json` alone: files that nothing refers to yet are of no account, and are written again
by whoever runs the interrupted task again.

Rules: reading is a function of bytes by name, so that a folder and a bundle are read alike; the state of a folder has one
writer at a time (`locked`); no signature is taken on trust, not even in one's own folder; a threshold counts public keys.
What writes is `commit`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.exceptions import Error as SecureSystemsError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from edge_agent.errors import ReleaseError
from edge_agent.release.manifest import Manifest, parse_manifest
from edge_ota.signing import OperatorError

METADATA = "metadata"
TARGETS = "targets"
TIMESTAMP_NAME = f"{METADATA}/timestamp.json"
GROUP_PREFIX = "group-"
MAX_METADATA_BYTES = 1 << 20

Read = Callable[[str], bytes | None]
"""The bytes of a file by its name below the repository, with `/`; None where there is none."""
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


def folder_reader(folder: Path) -> Read:
    """Reads below `folder`."""

    def read(name: str) -> bytes | None:
        try:
            return (folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise OperatorError(f"{folder / name}: cannot be read: {error.strerror}") from error

    return read


def load(read: Read) -> State | None:
    """The state that `timestamp.json` leads to, every signature verified; None where there is no timestamp.

    Expiry is not looked at. Raises OperatorError that names the file.
    """
    roots = _roots(read)
    if read(TIMESTAMP_NAME) is None:
        return None
    if not roots:
        raise OperatorError(f"{METADATA}/1.root.json is missing: this is not a whole repository")
    try:
        return _under(read, roots, roots[-1].signed)
    except OperatorError:
        if len(roots) == 1:
            raise
        return _under(read, roots, roots[-2].signed, unfinished=True)


def load_folder(folder: Path) -> State:
    """The state of a repository's folder. Raises OperatorError."""
    state = load(folder_reader(folder))
    if state is None:
        raise OperatorError(f"{folder}: no repository, or its `init` is not finished: run init, sign and commit")
    return state


def _roots(read: Read) -> tuple[Metadata[Root], ...]:
    roots: list[Metadata[Root]] = []
    while (data := read(f"{METADATA}/{len(roots) + 1}.root.json")) is not None:
        name = f"{METADATA}/{len(roots) + 1}.root.json"
        new = decode(data, Root, name)
        for by in (*roots[-1:], new):
            verify(by.signed, "root", new, name)
        roots.append(new)
    return tuple(roots)


def _under(read: Read, roots: tuple[Metadata[Root], ...], root: Root, *, unfinished: bool = False) -> State:
    """The state as `root`'s keys vouch for it."""
    timestamp = decode(_present(read, TIMESTAMP_NAME), Timestamp, TIMESTAMP_NAME)
    verify(root, "timestamp", timestamp, TIMESTAMP_NAME)
    snapshot = _named(read, "snapshot", Snapshot, timestamp.signed.snapshot_meta)
    verify(root, "snapshot", snapshot, "snapshot")
    targets = _named(read, "targets", Targets, _meta(snapshot, "targets"))
    verify(root, "targets", targets, "targets")
    groups: dict[str, Metadata[Targets]] = {}
    for role in delegated(targets.signed):
        groups[role] = _named(read, role, Targets, _meta(snapshot, role))
        verify(targets.signed, role, groups[role], role)
    return State(roots, targets, groups, snapshot, timestamp, unfinished)


def _meta(snapshot: Metadata[Snapshot], role: str) -> Any:
    try:
        return snapshot.signed.meta[f"{role}.json"]
    except KeyError:
        raise OperatorError(f"the snapshot does not name {role}.json") from None


def _named(read: Read, role: str, kind: type[_Document], meta: Any) -> Metadata[_Document]:
    name = f"{METADATA}/{meta.version}.{role}.json"
    data = _present(read, name)
    try:
        meta.verify_length_and_hashes(data)
    except RepositoryError as error:
        raise OperatorError(f"{name}: not what the repository refers to: {error}") from error
    document = decode(data, kind, name)
    if document.signed.version != meta.version:
        raise OperatorError(f"{name}: says version {document.signed.version}")
    return document


def _present(read: Read, name: str) -> bytes:
    data = read(name)
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
        if len(data) > MAX_METADATA_BYTES:
            raise OperatorError(f"{name}: larger than {MAX_METADATA_BYTES} bytes; a device would not take it")
        document: Metadata[Any] = Metadata.from_bytes(data)
    except (DeserializationError, RecursionError) as error:
        raise OperatorError(f"{name}: not TUF metadata: {error}") from error
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
    signed = {str(sorted(key.keyval.items())) for key in result.signed.values()}
    if len(signed) < result.threshold:
        raise OperatorError(f"{name}: signed by {len(signed)} of the {result.threshold} keys that the role {role} needs")


def release_of(read: Read, group: Metadata[Targets]) -> tuple[Manifest, TargetFile] | None:
    """The manifest that a group's role names, verified, and its entry; None where it names none. Raises OperatorError."""
    entry = next((file for path, file in group.signed.targets.items() if path.endswith("/release.json")), None)
    if entry is None:
        return None
    data = stored(read, entry)
    try:
        return parse_manifest(data, entry.path), entry
    except ReleaseError as error:
        raise OperatorError(str(error)) from error


def stored(read: Read, entry: TargetFile) -> bytes:
    """A target's bytes, verified. Raises OperatorError."""
    name = stored_name(entry)
    data = _present(read, name)
    try:
        entry.verify_length_and_hashes(data)
    except RepositoryError as error:
        raise OperatorError(f"{name}: not what was signed: {error}") from error
    return data


def stored_name(entry: TargetFile) -> str:
    """Where a target's file is, below the repository."""
    folder, _, name = entry.path.rpartition("/")
    return f"{TARGETS}/{folder}/{entry.hashes['sha256']}.{name}"


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
