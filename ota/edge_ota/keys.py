"""Makes and shows keys: an Ed25519 private key file, mode 0600, and its public part beside it.

    edge-ota keys new FILE [--passphrase-file F | --passphrase]
    edge-ota keys show FILE...
    edge-ota keys public FILE OUT.pub

`public` writes the public part of a private key file, or of a key in a token or a service from the PEM that its own tools give.

Rules: a file that is there is never written over; the private part is never shown.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from securesystemslib.signer import Key, SSlibKey

from edge_agent.atomic import write_atomic
from edge_ota.signing import PUBLIC_SUFFIX, OperatorError, encode_public, load_signer, new_key, read_public
from edge_ota.task import read_passphrase, told
from edge_ota.usage import described, named


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = described("keys", __doc__)
    tasks = arguments.add_subparsers(dest="task", required=True)
    new = tasks.add_parser("new", help="make a key")
    new.add_argument("file", type=named, metavar="FILE", help="the private file to make; the public part is FILE.pub")
    secret = new.add_mutually_exclusive_group()
    secret.add_argument("--passphrase-file", type=Path, metavar="FILE", help="encrypt with the first line of this file")
    secret.add_argument("--passphrase", action="store_true", help="ask for a passphrase and encrypt with it")
    show = tasks.add_parser("show", help="the id and public part of keys, from private or public files")
    show.add_argument("files", nargs="+", metavar="FILE")
    public = tasks.add_parser("public", help="write the public part of a key file, or of a PEM")
    public.add_argument("file", metavar="FILE")
    public.add_argument("out", type=named, metavar="OUT.pub")
    for task in (show, public):
        task.add_argument(
            "--passphrase-file", action="append", default=[], type=Path, help="a file whose first line opens an encrypted key"
        )
    options = arguments.parse_args(argv)
    work = {"new": _new, "show": _show, "public": _public}[options.task]
    return told("keys", lambda: work(options))


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
    for name in options.files:
        print(name)
        _print(_public_of(name, options))
    return 0


def _public(options: argparse.Namespace) -> int:
    if options.out.exists():
        raise OperatorError(f"{options.out}: is there already: choose another name")
    key = _public_of(options.file, options)
    if not isinstance(key, SSlibKey):
        raise OperatorError(f"{options.file}: has a public part of a kind that cannot be written: give its PEM")
    write_atomic(options.out, encode_public(key), mode=0o644)
    _print(key)
    return 0


def _public_of(name: str, options: argparse.Namespace) -> Key:
    """The public part of a private or public file, or of a PEM. Raises OperatorError."""
    try:
        return read_public(Path(name))
    except OperatorError:
        if name.endswith(PUBLIC_SUFFIX):
            raise
    ask = getpass.getpass if sys.stdin.isatty() else None
    return load_signer(name, [read_passphrase(path) for path in options.passphrase_file], ask).public_key


def _print(key: object) -> None:
    if isinstance(key, SSlibKey):
        print(f"  id {key.keyid}\n  {key.scheme} {key.keyval['public'].strip()}")


def _asked_twice() -> bytes:
    if not sys.stdin.isatty():
        raise OperatorError("there is no terminal to ask for a passphrase on: give it with --passphrase-file")
    first = getpass.getpass("Passphrase: ")
    if not first or first != getpass.getpass("Again: "):
        raise OperatorError("the two passphrases differ, or are empty: try again")
    return first.encode()
