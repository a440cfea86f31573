"""The device's own key, by which it opens what was wrapped for it: an X25519 private key in a file of PEM (PKCS #8).

The file is one that `edge-agent update key FILE` made, one of a person's, or a systemd credential, which may come encrypted from
disk (`LoadCredentialEncrypted=`, bound to a TPM where there is one). Its public part is a line of text for the operator.

Rules: the private part leaves its file only into the memory of the process that opens a release, is not kept there, and stands in
no message. What is wrong with the key or with what was wrapped is never a release's fault: a release that cannot be read yet is
not one that failed. So `open_keys` is asked before anything is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from edge_agent.errors import ReleaseError, StorageError
from edge_agent.private_file import OF_A_CREDENTIAL, OWNER_ONLY, make_private, read_private
from edge_agent.release.group_keys import GroupKey, unwrap
from edge_agent.release.manifest import Manifest
from edge_agent.release.sealing import seals

MAX_KEY_FILE_BYTES = 16 << 10
CREDENTIALS = "/run/credentials"
"""Below it systemd puts the credentials of services."""

_ANOTHER = "make one with `edge-agent update key FILE`, and have the operator wrap the group's key for it"


def read_device_key(path: str | os.PathLike[str]) -> X25519PrivateKey:
    """The device's private key. Raises StorageError that says what is wrong with the file and what to do."""
    file = Path(path)
    forbidden = OF_A_CREDENTIAL if _is_credential(file) else OWNER_ONLY
    data = read_private(file, MAX_KEY_FILE_BYTES, _ANOTHER, forbidden=forbidden, follow_links=True)
    if data is None and _is_credential(file):
        raise StorageError(
            f"{file}: systemd gave the service no such credential: write `LoadCredential={file.name}:/path/of/the/key` into"
            " the unit, then restart it"
        )
    if data is None:
        raise StorageError(f"{file}: no such file; {_ANOTHER}")
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise StorageError(
            f"{file}: is encrypted with a passphrase, which nobody types into a gateway: store it without one, or as a"
            " credential of systemd"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise StorageError(f"{file}: holds no private key in PEM; {_ANOTHER}") from None
    if not isinstance(key, X25519PrivateKey):
        raise StorageError(f"{file}: holds a private key of another kind; an X25519 key is needed: {_ANOTHER}")
    return key


def make_device_key(path: str | os.PathLike[str]) -> X25519PrivateKey:
    """Make a key where there is none, mode 0600; the one that stands there then. Raises StorageError."""
    if not os.path.lexists(path):  # where one stands, the folder need not be one to write to
        private = X25519PrivateKey.generate()
        make_private(Path(path), private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return read_device_key(path)


def open_keys(manifest: Manifest, keys: bytes | None, source: str, key_file: str) -> Mapping[str, GroupKey]:
    """The group keys that a release is sealed with, by id; none, and no file is read, for a release in the clear.

    `keys` is the content of the group's `keys.json`, verified, None where there is none; `source` names it in messages;
    `key_file` is the path of the device's key, empty where none is configured.

    Raises ReleaseError where this device was not given the keys, StorageError where its own key is not configured or cannot
    be used: the release is not at fault, and is taken again when the key is back.
    """
    wanted = seals(manifest)
    if not wanted:
        return {}
    if not key_file:
        raise StorageError(f"this device has no key: set `update.key_file`, or {_ANOTHER}")
    if keys is None:
        raise ReleaseError(f"{manifest.id}: is sealed, and {source} is missing: the operator wraps the group's key first")
    device = read_device_key(key_file)
    return {key_id: unwrap(keys, source, key_id, device) for key_id in wanted}


def _is_credential(path: Path) -> bool:
    """Whether systemd put the file there, who sees to it that only the service reads it."""
    folders = (CREDENTIALS, os.environ.get("CREDENTIALS_DIRECTORY", ""))
    return any(folder and path.is_relative_to(folder) for folder in folders)
