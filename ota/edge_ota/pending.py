"""Changes on their way into a repository: kept beside it until enough people signed, then written so that no step breaks it.

Documents that wait stand in `<repository>.pending/`, one file a role, the very files that `sign` signs, also on another machine.
A task puts its documents there, signs with the keys it has, and commits if that is enough; else it ends with `WAITING`, and
whoever signed last runs `commit`. Committing makes a snapshot and a timestamp.

Rules: the whole of what would stand is verified before the first file is written; the order is targets, delegated roles,
snapshot, timestamp last. A new root is written after them if everything is signed for the old root's keys too, so that no
device ever sees a repository that it cannot verify; if not (an online key was lost), just before the timestamp: devices then
refuse until the timestamp stands. What waits is removed last: an interrupted task that runs again finishes with the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root, Targets

from edge_agent.atomic import fsync_folder, make_folder, write_atomic
from edge_ota.files import Folder
from edge_ota.repository import (
    GROUP_PREFIX,
    METADATA,
    TIMESTAMP_NAME,
    State,
    decode_any,
    delegated,
    foreign,
    load,
    verify,
)
from edge_ota.roles import check_clock, expiry, next_snapshot, next_timestamp
from edge_ota.signing import OperatorError, add_signature

PENDING_SUFFIX = ".pending"
WAITING = 3
"""The exit code of a task whose documents wait for signatures."""
_MODE = 0o644
_KEPT_WHEN_RUN_AGAIN = ("expires", "published")
"""What differs between two runs of one task without being another change."""


@dataclass(frozen=True)
class Write:
    """A file to be written, by its name below the repository."""

    name: str
    data: bytes


def pending_folder(repository: Path) -> Path:
    """Where a repository's documents wait: beside it, so that they are not served."""
    return repository.with_name(repository.name + PENDING_SUFFIX)


def waiting(repository: Path, state: State | None) -> dict[str, Metadata[Any]]:
    """The documents that wait, by role; those that stand in the repository already are left out."""
    found: dict[str, Metadata[Any]] = {}
    standing = {} if state is None else state.documents()
    for path in sorted(pending_folder(repository).glob("[0-9]*.json")):
        role = path.name.split(".")[1]
        document: Metadata[Any] = decode_any(path.read_bytes(), str(path))
        if not isinstance(document.signed, Root if role == "root" else Targets):
            raise OperatorError(f"{path}: is of the type {document.signed.type}: remove it")
        if role not in standing or standing[role].to_bytes() != document.to_bytes():
            found[role] = document
    return found


def propose(repository: Path, state: State | None, changes: Mapping[str, Metadata[Any]], signers: Sequence[Signer]) -> None:
    """Put changed documents where they wait, with the signatures that `signers` can give to them and to what waits.

    Raises OperatorError where another change waits.
    """
    documents = waiting(repository, state)
    for role, new in changes.items():
        old = documents.setdefault(role, new)
        if _meaning(old) != _meaning(new):
            raise OperatorError(
                f"{pending_folder(repository)}: another change of {role} waits: sign and commit it, or remove that folder"
            )
    if changes and (others := sorted(set(documents) - set(changes))):
        raise OperatorError(f"{pending_folder(repository)}: a change of {', '.join(others)} waits: commit it first, or remove it")
    if documents:
        make_folder(pending_folder(repository), 0o755)
    for role, document in documents.items():
        for signer in signers:
            if signer.public_key.keyid in _may_sign(role, state, documents):
                add_signature(document, signer)
        name = f"{document.signed.version}.{role}.json"
        write_atomic(pending_folder(repository) / name, document.to_bytes(), mode=_MODE)


def lacking(repository: Path, state: State | None) -> list[str]:
    """What is still to be signed, in words: file, how many, by which keys; empty if a commit may be tried."""
    documents = waiting(repository, state)
    said: list[str] = []
    for role, document in documents.items():
        lines: list[str] = []
        for delegator in _delegators(role, state, documents):
            result = delegator.get_verification_result(role, document.signed_bytes, document.signatures)
            if not result.verified:
                file = pending_folder(repository) / f"{document.signed.version}.{role}.json"
                keys = ", ".join(sorted(key[:12] for key in result.unsigned))
                lines.append(f"{file}: {result.missing} more of the keys {keys}")
        if len(set(lines)) > 1:  # an old root and a new one want different keys
            lines = [f"{line} ({why})" for line, why in zip(lines, ("of the root before", "of this root"), strict=True)]
        said += dict.fromkeys(lines)
    return said


def useless(repository: Path, state: State | None, signers: Sequence[Signer]) -> list[str]:
    """The ids of keys that are given and sign nothing of what waits, and nothing online either."""
    documents = waiting(repository, state)
    root = documents.get("root") or (state and state.root)
    useful = {keyid for role in documents for keyid in _may_sign(role, state, documents)}
    useful |= {keyid for role in ("snapshot", "timestamp") if root for keyid in root.signed.roles[role].keyids}
    return [signer.public_key.keyid for signer in signers if signer.public_key.keyid not in useful]


def plan(state: State | None, documents: Mapping[str, Metadata[Any]], signers: Sequence[Signer], now: datetime) -> list[Write]:
    """The files to write, in order. Pure but for the signatures. Raises OperatorError if what would stand is not valid."""
    all_documents = {**({} if state is None else state.documents()), **documents}
    if not {"root", "targets"} <= all_documents.keys():
        raise OperatorError("no repository, and no whole beginning of one waits: run `edge-ota init`")
    root, targets = all_documents["root"], all_documents["targets"]
    if absent := [role for role in delegated(targets.signed) if role not in all_documents]:
        raise OperatorError(f"the document of {absent[0]} is missing: put it back where it waited, or begin that change anew")
    _check(state, all_documents, documents)
    if state is not None and not state.unfinished:  # else new keys are about to speak
        check_clock(state, root.signed, now)
    before = root if state is None else _older(state, documents)
    named = {role: all_documents[role] for role in ("targets", *delegated(targets.signed))}
    contents = {role: document.to_bytes() for role, document in named.items()}
    numbers = (0, 0) if state is None else (state.snapshot.signed.version, state.timestamp.signed.version)
    snapshot = next_snapshot(
        contents,
        {role: document.signed.version for role, document in named.items()},
        numbers[0] + 1,
        expiry(root.signed, "snapshot", now),
    )
    _sign_online(snapshot, "snapshot", root.signed, before.signed, signers)
    timestamp = next_timestamp(snapshot.to_bytes(), numbers[0] + 1, numbers[1] + 1, expiry(root.signed, "timestamp", now), now)
    _sign_online(timestamp, "timestamp", root.signed, before.signed, signers)
    writes = [Write(_name(role, document), contents[role]) for role, document in named.items() if role in documents]
    writes.append(Write(f"{METADATA}/{numbers[0] + 1}.snapshot.json", snapshot.to_bytes()))
    last = Write(TIMESTAMP_NAME, timestamp.to_bytes())
    for write in (*writes, last):
        decode_any(write.data, write.name)  # not larger than a device takes
    if "root" not in documents:
        return [*writes, last]
    new_root = Write(_name("root", root), root.to_bytes())
    for_both = state is not None and all(
        _is_for(before.signed, role, document)
        for role, document in (("targets", targets), ("snapshot", snapshot), ("timestamp", timestamp))
    )
    return [*writes, last, new_root] if for_both else [*writes, new_root, last]


def commit(repository: Path, state: State | None, signers: Sequence[Signer], now: datetime) -> None:
    """Publish what waits, with a new snapshot and timestamp; with nothing waiting, only these. Raises OperatorError."""
    documents = waiting(repository, state)
    writes = plan(state, documents, signers, now)
    make_folder(repository / METADATA, 0o755)
    for write in writes:
        if Folder(repository).read(write.name) != write.data:
            write_atomic(repository / write.name, write.data, mode=_MODE)
    if pending_folder(repository).is_dir():
        shutil.rmtree(pending_folder(repository))
        fsync_folder(repository.parent)


def renew_online(repository: Path, state: State, signers: Sequence[Signer], now: datetime) -> None:
    """A new snapshot and timestamp of what stands; what waits goes on waiting. Raises OperatorError, StorageError."""
    for write in plan(state, {}, signers, now):
        write_atomic(repository / write.name, write.data, mode=_MODE)


def finish(repository: Path, changes: Mapping[str, Metadata[Any]], signers: Sequence[Signer], now: datetime) -> int:
    """Propose, and commit if nothing is lacking; else say what is. The caller holds the repository. Returns an exit code."""
    state = load(Folder(repository))
    propose(repository, state, changes, signers)
    still = lacking(repository, state)
    if still:
        print("waiting for signatures (`edge-ota sign FILE --key KEY`, then `edge-ota commit`):", *still, sep="\n  ")
        for keyid in useless(repository, state, signers):
            print(f"the key {keyid[:12]} was given, and none of these wants it")
        return WAITING
    commit(repository, state, signers, now)
    print(f"{repository}: published")
    return 0


def _name(role: str, document: Metadata[Any]) -> str:
    return f"{METADATA}/{document.signed.version}.{role}.json"


def _meaning(document: Metadata[Any]) -> Any:
    """A document without what only tells when it was made."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(each) for key, each in value.items() if key not in _KEPT_WHEN_RUN_AGAIN}
        return value

    return without(document.signed.to_dict())


def _older(state: State, documents: Mapping[str, Metadata[Any]]) -> Metadata[Root]:
    """The root that devices have which have not seen the newest yet."""
    return state.roots[-1] if "root" in documents or not state.unfinished else state.roots[-2]


def _delegators(role: str, state: State | None, documents: Mapping[str, Metadata[Any]]) -> list[Root | Targets]:
    """Whose thresholds a document of `role` must meet."""
    standing = {} if state is None else state.documents()
    now_and_then = {**standing, **documents}
    if role == "root":
        return [document.signed for document in (standing.get("root"), now_and_then["root"]) if document is not None]
    owner = now_and_then.get("root" if role == "targets" else "targets")
    if owner is None:
        raise OperatorError(f"{role} waits without the documents that it belongs to: run the task again")
    return [owner.signed]


def _may_sign(role: str, state: State | None, documents: Mapping[str, Metadata[Any]]) -> set[str]:
    """The keys whose signature under a document is of use: the new ones, and the old ones for devices that lag behind."""
    delegators = _delegators(role, state, documents)
    if state is not None and role == "targets":
        delegators = [*delegators, state.root.signed]
    return {keyid for delegator in delegators for keyid in delegator.get_delegated_role(role).keyids}


def _check(state: State | None, all_documents: Mapping[str, Metadata[Any]], new: Mapping[str, Metadata[Any]]) -> None:
    """Raises OperatorError unless everything is signed enough and follows on what stands."""
    standing = {} if state is None else state.documents()
    for role, document in new.items():
        expected = standing[role].signed.version + 1 if role in standing else 1
        if document.signed.version != expected:
            raise OperatorError(f"{role}: version {document.signed.version} waits, {expected} is next: remove what waits")
    for role in ("root", "targets", *delegated(all_documents["targets"].signed)):
        if role not in all_documents:
            raise OperatorError(f"{role}: its first document is missing: run the task again")
        for delegator in _delegators(role, state, all_documents):
            verify(delegator, role, all_documents[role], role)
        if role in new and role.startswith(GROUP_PREFIX) and (strange := foreign(role, all_documents[role].signed)):
            raise OperatorError(f"{role}: names {strange[0]}, which is not its own: who signed that? Publish the group anew")


def _sign_online(document: Metadata[Any], role: str, root: Root, before: Root, signers: Sequence[Signer]) -> None:
    wanted = {*root.roles[role].keyids, *before.roles[role].keyids}
    for signer in signers:
        if signer.public_key.keyid in wanted:
            add_signature(document, signer)
    verify(root, role, document, f"the new {role} (give its key with --key)")


def _is_for(root: Root, role: str, document: Metadata[Any]) -> bool:
    try:
        verify(root, role, document, role)
    except OperatorError:
        return False
    return True
