"""The key of a fleet group, how it is wrapped for each device, and how keys are written down.

A group's key is wrapped with HPKE (`hpke`) for every device that shall read the group's releases, and stands so in
`groups/<group>/keys.json`, a signed target of the repository (docs/formats/sealing.md). A new key gets a new id; releases that
were sealed with an old one can be read while its entry stays.

Rules: pure; a secret has no representation that could be logged, and no message repeats one; what is written down for people
to copy holds its own id, so that a slip is noticed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta, Struct

from edge_agent.errors import InputError, ReleaseError, plain
from edge_agent.release.hpke import open_with, seal_to
from edge_agent.release.manifest import MAX_KEYS_BYTES

KEYS_FORMAT = "edge-agent-keys/1"
KEY_BYTES = 32

KeyId: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]

_GROUP_LABEL = "edge-agent-group-key/1"
_DEVICE_LABEL = "edge-agent-device-key/1"
_COMPONENT_LABEL = b"edge-agent-sealed/1"
_EPHEMERAL_LABEL = b"edge-agent-keys/1 ephemeral"
_ID_BYTES = 16
_TELL = "give the operator what `edge-agent update key FILE` prints"


class GroupKey:
    """The secret of a fleet group, 32 random bytes. It is shown by its id alone."""

    __slots__ = ("_secret", "id")

    def __init__(self, secret: bytes) -> None:
        """Raises ReleaseError for another length."""
        if len(secret) != KEY_BYTES:
            raise ReleaseError(f"a group key has {KEY_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self.id: str = _derived(secret, b"", _GROUP_LABEL.encode(), _ID_BYTES).hex()
        """32 hex digits that follow from the secret and do not tell it."""

    def __repr__(self) -> str:
        return f"<group key {self.id}>"

    def __reduce__(self) -> str:
        raise TypeError("a group key is not copied out of its process")

    def for_component(self, sha256: str) -> bytes:
        """The key that encrypts the one component of this SHA-256, in hex, and nothing else."""
        return _derived(self._secret, bytes.fromhex(sha256), _COMPONENT_LABEL, KEY_BYTES)

    def wrapped_for(self, device: X25519PublicKey) -> bytes:
        """This key for one device; the same bytes every time. Raises InputError for a key of low order, which is no one's.

        The ephemeral key follows from what is wrapped and for whom, which is as good as chance for a secret that itself is
        random (Encrypt-with-Hash: Bellare, Boldyreva, O'Neill 2007). So a wrapping that was interrupted is done again alike.
        """
        ephemeral = _derived(self._secret, device.public_bytes_raw(), _EPHEMERAL_LABEL, KEY_BYTES)
        return seal_to(device, _purpose(self.id), self._secret, X25519PrivateKey.from_private_bytes(ephemeral))

    def encoded(self) -> bytes:
        """The content of a group key's file, which only its owner may read."""
        return _line(_GROUP_LABEL, self.id, self._secret)


class Keys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a group, as `groups/<group>/keys.json` holds them."""

    format: Annotated[str, Meta(max_length=64)] = KEYS_FORMAT
    keys: dict[KeyId, dict[KeyId, Annotated[bytes, Meta(max_length=256)]]] = {}
    """By the group key's id and the device key's id: the wrapped key, base64 in the file."""


def parse_keys(data: bytes, source: str) -> Keys:
    """A group's wrapped keys. Raises ReleaseError that names `source`."""
    if len(data) > MAX_KEYS_BYTES:
        raise ReleaseError(f"{source}: larger than {MAX_KEYS_BYTES} bytes: not the keys of a group")
    try:
        keys = msgspec.json.decode(data, type=Keys)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReleaseError(f"{source}: not the keys of a group: {plain(error)}") from error
    if keys.format != KEYS_FORMAT:
        raise ReleaseError(f"{source}: format {keys.format!r}; this agent reads {KEYS_FORMAT!r}")
    return keys


def encode_keys(keys: Keys) -> bytes:
    """The canonical bytes of wrapped keys. Raises ReleaseError for more than a device would take."""
    data = msgspec.json.format(msgspec.json.encode(keys, order="sorted"), indent=1) + b"\n"
    if len(data) > MAX_KEYS_BYTES:
        raise ReleaseError(f"{len(data)} bytes of wrapped keys, a device takes {MAX_KEYS_BYTES}: split the group")
    return data


def unwrap(data: bytes, source: str, group_key_id: str, device: X25519PrivateKey) -> GroupKey:
    """The group key of that id, out of the bytes of `keys.json`, with a device's private key. Raises ReleaseError."""
    wrapped: Mapping[str, bytes] | None = parse_keys(data, source).keys.get(group_key_id)
    mine = device_key_id(device.public_key())
    if wrapped is None:
        raise ReleaseError(f"{source}: does not hold the group key {group_key_id}: the operator wraps it for the group's devices")
    if mine not in wrapped:
        raise ReleaseError(
            f"{source}: this device, whose key is {mine}, is not among the {len(wrapped)} that the group key {group_key_id} was"
            f" wrapped for: {_TELL}"
        )
    try:
        key = GroupKey(open_with(device, _purpose(group_key_id), wrapped[mine]))
    except (InputError, ReleaseError) as error:
        raise ReleaseError(f"{source}: what was wrapped for this device, whose key is {mine}: {error}: {_TELL}") from error
    if key.id != group_key_id:
        raise ReleaseError(f"{source}: what was wrapped as the group key {group_key_id} is the key {key.id}: wrap it anew")
    return key


def device_key_id(public: X25519PublicKey) -> str:
    """The id of a device's key: 32 hex digits."""
    return hashlib.sha256(_DEVICE_LABEL.encode() + b"\0" + public.public_bytes_raw()).hexdigest()[: 2 * _ID_BYTES]


def encode_device(public: X25519PublicKey) -> str:
    """A device's public key as a line of text, which holds its id, so that a slip of the pen is noticed."""
    return _line(_DEVICE_LABEL, device_key_id(public), public.public_bytes_raw()).decode().rstrip()


def parse_device(line: str) -> X25519PublicKey:
    """The public key in a line of text. Raises InputError."""
    stated, raw = _parsed(line, _DEVICE_LABEL)
    public = X25519PublicKey.from_public_bytes(raw)
    if device_key_id(public) != stated:
        raise InputError("device-key", f"the id {stated} is not this key's: it was changed on the way; copy the line again")
    return public


def parse_group_key(data: bytes) -> GroupKey:
    """The group key in the content of its file. Raises InputError, which does not repeat what stands there."""
    try:
        stated, raw = _parsed(data.decode("ascii").strip(), _GROUP_LABEL)
    except UnicodeDecodeError:
        raise InputError("group-key", "is not text") from None
    key = GroupKey(raw)
    if key.id != stated:
        raise InputError("group-key", f"the id {stated} is not this key's: the file was changed; take a copy of it")
    return key


def _parsed(line: str, label: str) -> tuple[str, bytes]:
    """The id and the 32 bytes of a line."""
    words = line.split()
    raw = _from_base64(words[2]) if len(words) == 3 and words[0] == label else b""
    if len(raw) != KEY_BYTES:
        raise InputError(label.partition("/")[0].removeprefix("edge-agent-"), f"is no line `{label} ID BASE64`")
    return words[1], raw


def _from_base64(text: str) -> bytes:
    """What is written so; nothing for what is not base64 in its one form (the last character may hold bits that count not)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return raw if base64.b64encode(raw).decode() == text else b""


def _line(label: str, key_id: str, raw: bytes) -> bytes:
    return f"{label} {key_id} {base64.b64encode(raw).decode()}\n".encode()


def _purpose(group_key_id: str) -> bytes:
    """What a wrapped key is bound to besides the device's key: this format and the key's id."""
    return f"{KEYS_FORMAT} {group_key_id}".encode()


def _derived(secret: bytes, salt: bytes, label: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, label).derive(secret)
