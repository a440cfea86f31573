"""Adds one signature to a metadata file, on any machine: it needs neither the repository nor a network.

    edge-ota sign FILE --key KEY

Rules: what is signed is shown first; a signature is added or renewed, none is taken away. Whether it counts is seen by `commit`.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Root, Targets

from edge_agent.atomic import write_atomic
from edge_ota.repository import decode_any
from edge_ota.signing import OperatorError, add_signature
from edge_ota.task import add_key_options, printable, signers_of, told
from edge_ota.usage import described


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = described("sign", __doc__)
    arguments.add_argument("file", type=Path, metavar="FILE", help="metadata that waits, from REPO.pending")
    add_key_options(arguments)
    options = arguments.parse_args(argv)
    return told("sign", lambda: _sign(options))


def _sign(options: argparse.Namespace) -> int:
    try:
        data = options.file.read_bytes()
    except OSError as error:
        raise OperatorError(f"{options.file}: cannot be read: {error.strerror}") from error
    document = decode_any(data, str(options.file))
    signers = signers_of(options)
    if not signers:
        raise OperatorError("name the key with --key")
    print("\n".join(printable(line) for line in describe(document)))
    for signer in signers:
        add_signature(document, signer)
    write_atomic(options.file, document.to_bytes(), mode=0o644)
    for signer in signers:
        print(f"signed with {signer.public_key.keyid}")
        if isinstance(document.signed, Root) and signer.public_key.keyid not in document.signed.roles["root"].keyids:
            print("  which is none of this root's: it counts only if the root before names it")
    return 0


def describe(document: Metadata[Any]) -> list[str]:
    """What a person signs, in lines, the digest of the exact bytes and whole key ids among them.

    Ids are compared with paper, and a key whose id only begins like another's can be made.
    """
    signed = document.signed
    lines = [f"{signed.type}, version {signed.version}, expires {signed.expires:%Y-%m-%d %H:%M} UTC"]
    lines.append(f"  SHA-256 of what is signed: {hashlib.sha256(document.signed_bytes).hexdigest()}")
    if isinstance(signed, Root):
        for role, who in signed.roles.items():
            lines += [f"  {role}: {who.threshold} of", *(f"    {keyid}" for keyid in who.keyids)]
    if isinstance(signed, Targets):
        for name, delegation in ((signed.delegations.roles or {}) if signed.delegations else {}).items():
            lines += [f"  {name}: {delegation.threshold} of", *(f"    {keyid}" for keyid in delegation.keyids)]
        for path, entry in signed.targets.items():
            if entry.custom:
                lines.append(f"  {path}: release {entry.custom.get('release')}, counter {entry.custom.get('counter')}")
                lines.append(f"    SHA-256 of its manifest: {entry.hashes.get('sha256')}")
        lines.append(f"  {len(signed.targets)} targets, {sum(entry.length for entry in signed.targets.values())} bytes")
    return lines
