"""What a repository's roles say next: new documents made from old ones. Pure.

Rules: nothing is signed or written here; a document that is handed in is not changed; a version grows by one at every change.
How long each role's documents hold is written in the root (`DAYS_FIELD`), signed with it, so that no file beside the repository
has to be kept.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edge_agent.release.manifest import KEYS_NAME, Manifest, encode_manifest, stored_form
from edge_ota.repository import GROUP_PREFIX, MAX_GROUPS, RELEASE_NAME, State, delegated, target
from edge_ota.signing import OperatorError, identity

DAYS_FIELD = "x-edge-ota-days"
ISSUED_FIELD = "x-edge-agent-issued"
"""In a timestamp's signed part: when it was signed. A device without a clock learns the time from it."""
REVOKED_FIELD = "revoked"
"""With a group's release: the ids of those that were taken back before it, newest last."""
DEFAULT_DAYS: dict[str, int] = {"root": 365, "targets": 90, "group": 90, "snapshot": 7, "timestamp": 1}
ROOT_ROLES = ("root", "targets", "snapshot", "timestamp")
DEFAULT_THRESHOLDS = {"root": 2}
_GROUP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_ISSUED = "%Y-%m-%dT%H:%M:%SZ"
_MAX_SKEW = timedelta(hours=1)
"""By so much the clocks of two operators' machines may differ."""


def group_role(group: str) -> str:
    """The role of a fleet group. Raises OperatorError for a name that is none."""
    if not _GROUP_NAME.fullmatch(group):
        raise OperatorError(f"{group!r}: a group's name is made of a-z, 0-9 and -, 41 at most")
    return GROUP_PREFIX + group


def standing_role(state: State, group: str) -> str:
    """The role of a group that the repository has. Raises OperatorError that names those there are."""
    role = group_role(group)
    if role not in state.groups:
        raise OperatorError(f"no group {group!r} in this repository; it has {', '.join(groups(state)) or 'none'}")
    return role


def groups(state: State) -> list[str]:
    """The names of the fleet groups, sorted."""
    return sorted(role.removeprefix(GROUP_PREFIX) for role in state.groups)


def expiry(root: Root, role: str, now: datetime) -> datetime:
    """When a document of `role` that is made now expires."""
    days = {**DEFAULT_DAYS, **root.unrecognized_fields.get(DAYS_FIELD, {})}
    kind = "group" if role.startswith(GROUP_PREFIX) else role
    return now.replace(microsecond=0) + timedelta(days=days[kind])


def first_documents(
    keys: Mapping[str, Sequence[SSlibKey]], thresholds: Mapping[str, int], days: Mapping[str, int], now: datetime
) -> dict[str, Metadata[Any]]:
    """The offline documents of a new repository, unsigned, by role. `keys` by role. Raises OperatorError."""
    counts = {role: thresholds.get(role, DEFAULT_THRESHOLDS.get(role, 1)) for role in keys}
    for role, own in keys.items():
        _enough(role, own, counts[role])
    roles = {role: Role([key.keyid for key in keys[role]], counts[role]) for role in ROOT_ROLES}
    store: dict[str, Key] = {key.keyid: key for role in ROOT_ROLES for key in keys[role]}
    root = Root(version=1, keys=store, roles=roles, consistent_snapshot=True)
    root.unrecognized_fields[DAYS_FIELD] = {**DEFAULT_DAYS, **days}
    root.expires = expiry(root, "root", now)
    targets = Targets(version=1, expires=expiry(root, "targets", now), delegations=Delegations({}, {}))
    documents: dict[str, Metadata[Any]] = {"root": Metadata(root), "targets": Metadata(targets)}
    for role in (role for role in keys if role not in ROOT_ROLES):
        _delegate(targets, role, keys[role], counts[role])
        documents[role] = Metadata(Targets(version=1, expires=expiry(root, role, now)))
    return documents


def with_release(
    state: State, group: str, manifest: Manifest, now: datetime, revoked: Sequence[str] = (), keys: bytes | None = None
) -> dict[str, Metadata[Any]]:
    """The group's document that names this release, its wrapped keys where there are any, and its blobs, and nothing else.

    Raises OperatorError where there is no such group, ReleaseError for a large component without chunks.
    """
    role = standing_role(state, group)
    custom: dict[str, Any] = {"release": manifest.id, "counter": manifest.counter, "published": now.strftime(_ISSUED)}
    if revoked:
        custom[REVOKED_FIELD] = list(revoked)
    entries = [target(f"groups/{group}/{RELEASE_NAME}", encode_manifest(manifest), custom)]
    if keys is not None:
        entries.append(target(f"groups/{group}/{KEYS_NAME}", keys))
    forms = [stored_form(name, part) for name, part in manifest.components.items() if part.merged is None]
    for digest, size in sorted({(form.sha256, form.size_bytes) for form in forms}):
        entries.append(TargetFile(size, {"sha256": digest}, f"blobs/{digest}"))
    document = _next(state, role, now)
    document.signed.targets = {entry.path: entry for entry in entries}
    return {role: document}


def with_wrapped(state: State, group: str, keys: bytes, now: datetime) -> dict[str, Metadata[Any]]:
    """The group's document with other wrapped keys; none if they are these. Its release stands, and was published when it was."""
    document = _next(state, group_role(group), now)
    entry = target(f"groups/{group}/{KEYS_NAME}", keys)
    if document.signed.targets.get(entry.path) == entry:
        return {}
    document.signed.targets = {**document.signed.targets, entry.path: entry}
    return {group_role(group): document}


def with_keys(
    state: State, roles: Sequence[str], add: Sequence[SSlibKey], remove: Sequence[str], threshold: int | None, now: datetime
) -> dict[str, Metadata[Any]]:
    """The documents that change who speaks for `roles`, and those that must be signed anew; none if nothing changes.

    A group that is not there yet is made. Raises OperatorError for too few keys.
    """
    changed: dict[str, Metadata[Any]] = {}
    for role in roles:
        in_root = role in ROOT_ROLES
        if not in_root and not role.startswith(GROUP_PREFIX):
            raise OperatorError(f"{role}: no role; there are {', '.join((*ROOT_ROLES, GROUP_PREFIX + 'NAME'))}")
        owner = "root" if in_root else "targets"
        present: Root | Targets = changed.get(owner, state.documents()[owner]).signed
        is_new = not in_root and role not in delegated(state.targets.signed)
        held = [] if is_new else list(present.get_delegated_role(role).keyids)
        kept: list[Key] = [present.get_key(keyid) for keyid in held if keyid not in remove]
        kept += [key for key in add if key.keyid not in {each.keyid for each in kept}]  # given again: nothing changes
        count = threshold or (1 if is_new else present.get_delegated_role(role).threshold)
        if not is_new and [key.keyid for key in kept] == held and count == present.get_delegated_role(role).threshold:
            continue
        _enough(role, kept, count)
        changed.setdefault(owner, _next(state, owner, now))
        _assign(changed[owner].signed, role, kept, count)
        if role == "targets" or role in state.groups:
            changed.setdefault(role, _next(state, role, now))
        elif is_new:
            group_role(role.removeprefix(GROUP_PREFIX))
            changed[role] = Metadata(Targets(version=1, expires=expiry(state.root.signed, role, now)))
    return changed


def renewed(state: State, roles: Sequence[str], now: datetime) -> dict[str, Metadata[Any]]:
    """The same documents with a new expiry."""
    unknown = [role for role in roles if role not in state.documents()]
    if unknown:
        raise OperatorError(f"{unknown[0]}: no offline role; there are {', '.join(state.documents())}")
    return {role: _next(state, role, now) for role in roles}


def next_snapshot(
    documents: Mapping[str, bytes], versions: Mapping[str, int], version: int, expires: datetime
) -> Metadata[Snapshot]:
    """A snapshot of the targets and group documents, given as bytes by role."""
    meta = {f"{role}.json": MetaFile.from_data(versions[role], data, ["sha256"]) for role, data in documents.items()}
    return Metadata(Snapshot(version=version, expires=expires, meta=meta))


def next_timestamp(snapshot: bytes, snapshot_version: int, version: int, expires: datetime, now: datetime) -> Metadata[Timestamp]:
    """A timestamp of a snapshot's bytes, with the time at which it is made."""
    timestamp = Timestamp(
        version=version, expires=expires, snapshot_meta=MetaFile.from_data(snapshot_version, snapshot, ["sha256"])
    )
    timestamp.unrecognized_fields[ISSUED_FIELD] = now.strftime(_ISSUED)
    return Metadata(timestamp)


def check_clock(state: State, root: Root, now: datetime) -> None:
    """Raises OperatorError where the last timestamp was signed later than `now`, and by keys that `root` has still.

    Gateways keep the time at which a timestamp says that it was signed, for as long as its keys stand.
    """
    told = state.timestamp.signed.unrecognized_fields.get(ISSUED_FIELD)
    try:
        issued = datetime.strptime(told, _ISSUED).replace(tzinfo=UTC) if isinstance(told, str) else now
    except ValueError:
        return
    if now + _MAX_SKEW < issued and set(root.roles["timestamp"].keyids) == set(state.root.signed.roles["timestamp"].keyids):
        raise OperatorError(
            f"the timestamp was signed {issued:%Y-%m-%d %H:%M} UTC, and this machine's clock says {now:%Y-%m-%d %H:%M}: set the"
            " clock; if the other one was wrong, rotate the timestamp's key"
        )


def published_at(entry: TargetFile) -> datetime:
    """When a group's release was published. Raises OperatorError where that is not told."""
    try:
        return datetime.strptime(entry.custom["published"], _ISSUED).replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError) as error:
        raise OperatorError(f"{entry.path}: does not tell when it was published: publish it anew") from error


def _next(state: State, role: str, now: datetime) -> Metadata[Any]:
    signed = copy.deepcopy(state.documents()[role].signed)
    signed.version += 1
    signed.expires = expiry(state.root.signed, role, now)
    return Metadata(signed)


def _delegate(targets: Targets, role: str, keys: Sequence[Key], threshold: int) -> None:
    """A role of a group may name its own release and blobs, and nothing of another group's."""
    group = role.removeprefix(GROUP_PREFIX)
    group_role(group)
    paths = [f"groups/{group}/*", "blobs/*"]
    delegations = targets.delegations or Delegations({}, {})
    roles = delegations.roles or {}
    roles[role] = DelegatedRole(role, [key.keyid for key in keys], threshold, terminating=False, paths=paths)
    store = {**delegations.keys, **{key.keyid: key for key in keys}}
    used = {keyid for each in roles.values() for keyid in each.keyids}
    if len(roles) > MAX_GROUPS:
        raise OperatorError(
            f"{role}: more than {MAX_GROUPS} groups in one repository, and devices look no further: begin another"
        )
    targets.delegations = Delegations({keyid: key for keyid, key in store.items() if keyid in used}, roles)


def _assign(owner: Root | Targets, role: str, keys: Sequence[Key], threshold: int) -> None:
    if isinstance(owner, Targets):
        _delegate(owner, role, keys, threshold)
        return
    owner.roles[role] = Role([key.keyid for key in keys], threshold)
    store = {**owner.keys, **{key.keyid: key for key in keys}}
    used = {keyid for each in owner.roles.values() for keyid in each.keyids}
    owner.keys = {keyid: key for keyid, key in store.items() if keyid in used}


def _enough(role: str, keys: Sequence[Key], threshold: int) -> None:
    """Raises OperatorError for fewer keys than signatures, and for one public key given twice."""
    if len({identity(key) for key in keys}) < len(keys):
        raise OperatorError(f"{role}: one key is given twice")
    if not 1 <= threshold <= len(keys):
        raise OperatorError(f"{role}: {len(keys)} keys cannot give {threshold} signatures: name more keys")
