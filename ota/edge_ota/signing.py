"""Keys and signatures of a repository: key files, public parts, and signers from files or by URI.

A private key file is PKCS #8 in PEM, Ed25519, mode 0600, encrypted where a passphrase is given. Beside it stands its public
part, `<name>.pub`, JSON as it stands in metadata. Every other signer is named `URI,PUBLIC_FILE`, with a URI of
securesystemslib (`hsm:`, `awskms:`, `gcpkms:`, `azurekms:`, `hv:`, `file2:`, ...), and is loaded by it; the public file may be
the PEM that the token's own tools write. Of these this project's tests try `file2:` and a signer of their own; no token, no
service.

Rules: a private key leaves its file only into the memory of the process that signs; no message contains one. Which public key
it is counts, not the id that it goes by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.exceptions import Error as SecureSystemsError
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata

from edge_agent.errors import EdgeAgentError

PUBLIC_SUFFIX = ".pub"
MAX_KEY_BYTES = 64 << 10


class OperatorError(EdgeAgentError):
    """A task of the operator's cannot be done; nothing that was published is touched. Says what to do."""


def new_key(passphrase: bytes | None) -> tuple[bytes, SSlibKey]:
    """A new Ed25519 key: the bytes of its private file, encrypted if there is a passphrase, and its public part."""
    private = Ed25519PrivateKey.generate()
    how: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), SSlibKey.from_crypto(private.public_key())


def encode_public(key: SSlibKey) -> bytes:
    """The bytes of a public file."""
    document = {"keyid": key.keyid, **key.to_dict()}
    return json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"


def read_public(path: Path) -> SSlibKey:
    """The public key in a public file or in a PEM, as a token's tools write it, under the id that follows from it.

    Raises OperatorError.
    """
    data = _read(path)
    try:
        if data.startswith(b"-----BEGIN PUBLIC KEY-----"):
            return SSlibKey.from_crypto(load_pem_public_key(data))
        document = json.loads(data)
        stated = document.pop("keyid")
        key = SSlibKey.from_dict(stated, document)
        again = SSlibKey.from_crypto(key._crypto_key(), scheme=key.scheme)  # no public way to make an id anew
    except (ValueError, KeyError, TypeError, AttributeError, SecureSystemsError, UnsupportedAlgorithm) as error:
        raise OperatorError(f"{path}: not a public key: give the file {PUBLIC_SUFFIX} that `edge-ota keys new` wrote") from error
    return again


def identity(key: Key) -> bytes:
    """What a key is, however it is written down and whatever id it goes by."""
    public = str(key.keyval.get("public", ""))
    try:
        if key.keytype == "ed25519":
            return bytes.fromhex(public)
        loaded = load_pem_public_key(public.encode())
    except (ValueError, UnsupportedAlgorithm):
        return public.encode()
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def load_signer(spec: str, passphrases: Sequence[bytes] = (), ask: Callable[[str], str] | None = None) -> Signer:
    """The signer that `spec` names: the path of a key file, or `URI,PUBLIC_FILE`. Raises OperatorError.

    An encrypted file is tried with each passphrase, then `ask` is asked for one, with a prompt, if there is an `ask`. A token
    that wants a PIN gets what `ask` says, or without it the first passphrase.
    """
    uri, comma, public = spec.rpartition(",")
    if not (comma and ":" in uri):
        return _from_file(Path(spec), passphrases, ask)

    def secret(name: str) -> str:
        if ask is None and not passphrases:
            raise OperatorError(f"{uri}: wants a {name}: give it with --passphrase-file")
        return passphrases[0].decode() if ask is None else ask(f"{name} of {uri}: ")

    key = read_public(Path(public))
    try:
        return Signer.from_priv_key_uri(uri, key, secret)
    except EdgeAgentError:
        raise
    except Exception as error:  # what a token's or a service's library raises is not documented
        raise OperatorError(f"{uri}: no signer: {error or type(error).__name__}") from error


def add_signature(document: Metadata[Any], signer: Signer) -> None:
    """Sign `document` besides those who did. Raises OperatorError where the key's holder does not sign."""
    try:
        document.sign(signer, append=True)
    except UnsignedMetadataError as error:
        why = error.__cause__ or error
        raise OperatorError(f"the key {signer.public_key.keyid[:12]} does not sign: {why or type(why).__name__}") from error


def _from_file(path: Path, passphrases: Sequence[bytes], ask: Callable[[str], str] | None) -> CryptoSigner:
    data = _read(path)
    if path.stat().st_mode & 0o077:
        raise OperatorError(f"{path}: others may read this private key: chmod 600 it")
    if b"ENCRYPTED" not in data:
        return _signer(path, data, None)
    tried = [*passphrases, *([ask(f"Passphrase of {path}: ").encode()] if ask else [])]
    for passphrase in tried:
        try:
            return _signer(path, data, passphrase)
        except OperatorError:
            continue
    if tried:
        raise OperatorError(f"{path}: encrypted, and none of the passphrases opens it")
    raise OperatorError(f"{path}: encrypted, and no passphrase was given: give --passphrase-file, or run this on a terminal")


def _signer(path: Path, data: bytes, passphrase: bytes | None) -> CryptoSigner:
    try:
        return CryptoSigner(load_pem_private_key(data, passphrase))
    except (ValueError, TypeError, UnsupportedAlgorithm, SecureSystemsError) as error:
        raise OperatorError(f"{path}: not a private key that can be used: {error}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise OperatorError(f"{path}: cannot be read: {error.strerror}") from error
