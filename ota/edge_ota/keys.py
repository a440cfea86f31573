"""Makes and shows keys: an Ed25519 private key file, mode 0600, and its public part beside it.

    edge-ota keys new FILE [--passphrase-file F | --passphrase]
    edge-ota keys show FILE...

Rules: a file that is there is never written over; the private part is never shown.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from securesystemslib.signer import SSlibKey

from edge_agent.atomic import write_atomic
from edge_ota.signing import PUBLIC_SUFFIX, OperatorError, encode_public, load_signer, new_key, read_public
from edge_ota.task import add_key_options, read_passphrase, told


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = arguments.add_subparsers(dest="task", required=True)
    new = tasks.add_parser("new", help="make a key")
    new.add_argument("file", type=Path)
    secret = new.add_mutually_exclusive_group()
    secret.add_argument("--passphrase-file", type=Path, help="encrypt with the first line of this file")
    secret.add_argument("--passphrase", action="store_true", help="ask for a passphrase and encrypt with it")
    show = tasks.add_parser("show", help="the id and public part of keys, from private or public files")
    show.add_argument("files", nargs="+")
    add_key_options(show)
    options = arguments.parse_args(argv)
    return told("keys", lambda: _new(options) if options.task == "new" else _show(options))


def _new(options: argparse.Namespace) -> int:
    file: Path = options.file
    public_file = file.with_name(file.name + PUBLIC_SUFFIX)
    for path in (file, public_file):
        if path.exists():
            raise OperatorError(f"{path}: is there already, and a key that is written over is lost: choose another name")
    passphrase = read_passphrase(options.passphrase_file) if options.passphrase_file else None
    if options.passphrase:
        passphrase = _asked_twice()
    private, public = new_key(passphrase)
    write_atomic(file, private, mode=0o600)
    write_atomic(public_file, encode_public(public), mode=0o644)
    print(f"{file}: keep secret\n{public_file}: give to others")
    _print(public)
    return 0


def _show(options: argparse.Namespace) -> int:
    passphrases = [read_passphrase(path) for path in options.passphrase_file]
    ask = getpass.getpass if sys.stdin.isatty() else None
    for name in options.files:
        if name.endswith(PUBLIC_SUFFIX):
            _print(read_public(Path(name)))
        else:
            public = load_signer(name, passphrases, ask).public_key
            _print(public)
    return 0


def _print(key: object) -> None:
    if isinstance(key, SSlibKey):
        print(f"  id {key.keyid}\n  {key.scheme} {key.keyval['public'].strip()}")


def _asked_twice() -> bytes:
    first = getpass.getpass("Passphrase: ")
    if not first or first != getpass.getpass("Again: "):
        raise OperatorError("the two passphrases differ, or are empty: try again")
    return first.encode()
