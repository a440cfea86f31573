"""Reading verified metadata once more: which versions it states, under which keys, and whether enough keys signed it.

python-tuf counts key ids, which metadata may choose freely; here a threshold is met by so many different public keys.

Rules: what is read here was verified by python-tuf's client; nothing is believed because it was read here. Functions of bytes.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import Key
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from edge_agent.errors import EdgeAgentError, LinkError, RepositoryRefusedError, StorageError
from edge_agent.update.floor import MAX_ROLES, MAX_VERSION, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleFloor

ISSUED_FIELD = "x-edge-agent-issued"
"""In a timestamp's signed part: when it was signed, written as `expires` is. Not after `expires`, or it counts for nothing."""

_Signed = TypeVar("_Signed", Root, Timestamp, Snapshot, Targets)

_REASONS: dict[type[Exception], tuple[str, str]] = {
    DownloadLengthMismatchError: ("too-long", "a file is longer than it may be"),
    ExpiredMetadataError: ("expired", "past its time, or this device's clock is wrong"),
    BadVersionNumberError: ("version", "other versions than were seen here before, or than belong together"),
    UnsignedMetadataError: ("signature", "not signed by enough of the keys that are trusted"),
    LengthOrHashMismatchError: ("mismatch", "a file is not the one that was signed"),
    RepositoryError: ("bad-metadata", "no metadata that can be read"),
}
"""The stable word, and what it says in others. The first that fits is meant."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"


def seen_in(metadata: dict[str, bytes]) -> dict[str, RoleFloor]:
    """What `metadata`, by role, states of versions, as far as the present root's keys vouch for it.

    Raises RepositoryRefusedError for a version or a number of roles beyond belief and for one key counted twice.
    """
    root = Metadata[Root].from_bytes(metadata[ROOT]).signed
    seen = {ROOT: RoleFloor(version=_version(ROOT, root.version))}
    if TIMESTAMP in metadata:
        timestamp = Metadata[Timestamp].from_bytes(metadata[TIMESTAMP])
        if _is_signed(root, TIMESTAMP, timestamp):
            signed = checked_role(root, TIMESTAMP, timestamp)
            version = _version(TIMESTAMP, signed.version)
            seen[TIMESTAMP] = RoleFloor(version=version, bound_to=_vouching(root, TIMESTAMP), issued_s=_issued_s(signed))
    if SNAPSHOT in metadata:
        snapshot = Metadata[Snapshot].from_bytes(metadata[SNAPSHOT])
        if _is_signed(root, SNAPSHOT, snapshot):
            listed = checked_role(root, SNAPSHOT, snapshot)
            if len(listed.meta) > MAX_ROLES:
                raise RepositoryRefusedError(
                    "too-long", f"{SNAPSHOT}: it lists {len(listed.meta)} roles, at most {MAX_ROLES} are taken"
                )
            both, own = _vouching(root, TIMESTAMP, SNAPSHOT), _vouching(root, SNAPSHOT)
            for name, file in listed.meta.items():
                role = name.removesuffix(".json")
                if role not in (ROOT, TIMESTAMP, SNAPSHOT):  # of these it has nothing to say
                    seen[role] = RoleFloor(version=_version(role, file.version), bound_to=own)
            seen[SNAPSHOT] = RoleFloor(version=_version(SNAPSHOT, listed.version), bound_to=both)
    if TARGETS in metadata:
        targets = Metadata[Targets].from_bytes(metadata[TARGETS])
        if _is_signed(root, TARGETS, targets):
            checked_role(root, TARGETS, targets)
    return seen


def vouching_for_timestamp(root: bytes) -> str:
    """The digest of what vouches for the timestamp under `root`; see `RoleFloor.bound_to`."""
    return _vouching(Metadata[Root].from_bytes(root).signed, TIMESTAMP)


def checked_chain(roots: list[bytes]) -> None:
    """See that enough different keys of the root before it, and of its own, signed each root. Raises RepositoryRefusedError."""
    before: Root | None = None
    for data in roots:
        root = Metadata[Root].from_bytes(data)
        for delegator in (before, root.signed):
            if delegator is not None:
                checked_role(delegator, ROOT, root)
        before = root.signed


def checked_role(delegator: Root | Targets, role: str, metadata: Metadata[_Signed]) -> _Signed:
    """The signed part of `metadata`, which enough different keys of `delegator` signed. Raises RepositoryRefusedError."""
    try:
        result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    except ValueError as error:
        raise RepositoryRefusedError("signature", f"{role}: {error}") from error
    different = len({_identity(key) for key in result.signed.values()})
    if different < result.threshold:
        raise RepositoryRefusedError("signature", f"{role}: signed by {different} different keys, {result.threshold} are needed")
    return metadata.signed


def told(error: Exception) -> EdgeAgentError:
    """`error`, which the client raised, as one of ours."""
    for kind, (reason, means) in _REASONS.items():
        if isinstance(error, kind):
            return RepositoryRefusedError(reason, f"{means}: {str(error) or type(error).__name__}")
    if isinstance(error, DownloadError):
        return LinkError(f"the repository was not reached: {str(error) or type(error).__name__}")
    if isinstance(error, OSError):
        return StorageError(f"the working copy of the metadata: {error.strerror or error}; check free memory")
    return RepositoryRefusedError("bad-metadata", f"{type(error).__name__}: {error}")


def _is_signed(root: Root, role: str, metadata: Metadata[_Signed]) -> bool:
    """Whether the present keys stand behind `metadata`, by the client's own count; if not, it only waits to be replaced."""
    try:
        root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError:
        return False
    return True


def _vouching(root: Root, *roles: str) -> str:
    """The digest of the key ids and thresholds of `roles`."""
    named = [[role, root.roles[role].threshold, *sorted(root.roles[role].keyids)] for role in roles]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _version(role: str, version: int) -> int:
    if version > MAX_VERSION:
        raise RepositoryRefusedError("version", f"{role}: {version} is no version that anyone counts to")
    return int(version)  # JSON's `true` passes for 1 with the client


def _issued_s(timestamp: Timestamp) -> float:
    """When `timestamp` says it was signed; 0 where it does not say so in a believable way."""
    written = timestamp.unrecognized_fields.get(ISSUED_FIELD)
    try:
        issued = datetime.strptime(written, _TIME).replace(tzinfo=UTC) if isinstance(written, str) else None
    except ValueError:
        return 0.0
    return issued.timestamp() if issued is not None and issued <= timestamp.expires else 0.0


def _identity(key: Key) -> bytes:
    """What a key is, however it is written down."""
    public = str(key.keyval.get("public", ""))
    try:
        if key.keytype == "ed25519":
            return bytes.fromhex(public)
        return load_pem_public_key(public.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return public.encode()
