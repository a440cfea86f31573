"""Keys and signatures of a repository: key files, public parts, and signers from files or by URI.

A private key file is PKCS #8 in PEM, Ed25519, mode 0600, encrypted where a passphrase is given. Beside it stands its public
part, `<name>.pub`, JSON as it stands in metadata. Every other signer is named `URI,PUBLIC_FILE`, with a URI of
securesystemslib (`hsm:`, `awskms:`, `gcpkms:`, `azurekms:`, `hv:`, ...), and is loaded by it; only key files are tried by
this project's tests.

Rules: a private key leaves its file only into the memory of the process that signs; no message contains one. Which public key
it is counts, not the id that it goes by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.exceptions import Error as SecureSystemsError
from securesystemslib.signer import CryptoSigner, Signer, SSlibKey

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
    """The public key in a public file, under the id that follows from it. Raises OperatorError."""
    try:
        document = json.loads(_read(path))
        stated = document.pop("keyid")
        key = SSlibKey.from_dict(stated, document)
        again = SSlibKey.from_crypto(key._crypto_key(), scheme=key.scheme)  # no public way to make an id anew
    except (ValueError, KeyError, TypeError, AttributeError, SecureSystemsError, UnsupportedAlgorithm) as error:
        raise OperatorError(f"{path}: not a public key: give the file {PUBLIC_SUFFIX} that `keys new` wrote: {error}") from error
    return again


def load_signer(spec: str, passphrases: Sequence[bytes] = (), ask: Callable[[str], str] | None = None) -> Signer:
    """The signer that `spec` names: the path of a key file, or `URI,PUBLIC_FILE`. Raises OperatorError.

    An encrypted file is tried with each passphrase, then `ask` is asked for one, with a prompt, if there is an `ask`.
    """
    uri, comma, public = spec.rpartition(",")
    if comma and ":" in uri:
        try:
            return Signer.from_priv_key_uri(uri, read_public(Path(public)))
        except (ValueError, OSError, SecureSystemsError, ImportError) as error:
            raise OperatorError(f"{uri}: no signer: {error}") from error
    return _from_file(Path(spec), passphrases, ask)


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
    raise OperatorError(f"{path}: encrypted, and {'none of the passphrases opens it' if tried else 'no passphrase was given'}")


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
