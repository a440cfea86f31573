"""Takes back a group's release, or a key.

    edge-ota revoke REPO --group GROUP --release ID --key ...       the previous release again, under a higher counter
    edge-ota revoke REPO --key-id KEY_ID --role ROLE --key ...   the key may no longer sign for this role

Rules: a device never goes back to a smaller counter, so the release before is published again as a new one, with the same blobs.
Its manifest is taken from the repository only where the group's present keys signed for it. A key is taken back one role at a
time, and only where enough keys remain; otherwise `rotate` with a key in its place. Each is safe to run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime

import msgspec
from securesystemslib.signer import Signer
from tuf.api.metadata import Targets

from edge_agent.release.manifest import Manifest
from edge_ota.files import Files, Folder
from edge_ota.pending import finish, waiting
from edge_ota.publish import from_repository, publish
from edge_ota.repository import (
    METADATA,
    State,
    decode,
    load_folder,
    release_of,
    verify,
)
from edge_ota.roles import REVOKED_FIELD, standing_role, with_keys
from edge_ota.rotate import full_id, roles_of
from edge_ota.signing import OperatorError
from edge_ota.task import parser, run

MAX_REVOKED = 32
REVOKED_MARK = ".r"
"""Before the counter in the id of a release that is published again."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = parser("revoke", __doc__)
    what = arguments.add_mutually_exclusive_group(required=True)
    what.add_argument("--group", metavar="GROUP", help="whose release is taken back")
    what.add_argument("--key-id", help="the key that is taken back, or its public file")
    arguments.add_argument("--release", help="with --group: the id of what is taken back")
    arguments.add_argument("--id", help="with --group: the id of the release that takes its place")
    arguments.add_argument("--role", help="with --key-id: the role, where the key has more than one")
    options = arguments.parse_args(argv)
    if options.group and not options.release:
        arguments.error("--group needs --release: which release is taken back")
    work = _release if options.group else _key
    return run("revoke", options, lambda signers, now: work(options, signers, now))


def _release(options: argparse.Namespace, signers: Sequence[Signer], now: datetime) -> int:
    state, files = load_folder(options.repository), Folder(options.repository)
    role = standing_role(state, options.group)
    if role in waiting(options.repository, state):
        return finish(options.repository, {}, signers, now)
    found = release_of(files, role, state.groups[role])
    if found is None:
        raise OperatorError(f"group {options.group} has no release")
    current = found[0]
    gone = found[1].custom.get(REVOKED_FIELD, [])
    if options.release != current.id:
        if options.release not in gone:
            raise OperatorError(f"group {options.group} runs {current.id}, and not {options.release}: nothing is taken back")
        print(f"{options.release} was taken back before; group {options.group} runs {current.id}")
        return finish(options.repository, {}, signers, now)
    revoked = [*gone, current.id][-MAX_REVOKED:]
    old = _before(state, files, role, current, revoked)
    counter = current.counter + 1
    new_id = options.id or f"{old.id.split(REVOKED_MARK)[0]}{REVOKED_MARK}{counter}"
    again = msgspec.structs.replace(old, id=new_id, counter=counter)
    print(f"{current.id} (counter {current.counter}) gives way to {new_id} (counter {counter}), which is {old.id} again")
    shipment = from_repository(files, again, revoked=tuple(revoked))
    return publish(options.repository, options.group, shipment, signers, now)


def _before(state: State, files: Files, role: str, current: Manifest, revoked: Sequence[str]) -> Manifest:
    """The newest release of the group that differs from the present one and was not taken back.

    Raises OperatorError.
    """
    gone = {name.split(REVOKED_MARK)[0] for name in revoked}
    for version in range(state.groups[role].signed.version - 1, 0, -1):
        name = f"{METADATA}/{version}.{role}.json"
        data = files.read(name)
        if data is None:
            continue
        older = decode(data, Targets, name)
        verify(state.targets.signed, role, older, f"{name} (were its keys changed since? build and publish the release anew)")
        found = release_of(files, role, older)
        if found and not _is_again(found[0], current) and found[0].id.split(REVOKED_MARK)[0] not in gone:
            return found[0]
    raise OperatorError(f"{role}: there is no release before {current.id}: publish one")


def _is_again(one: Manifest, other: Manifest) -> bool:
    """Whether two releases differ in name and counter alone."""
    return msgspec.structs.replace(one, id=other.id, counter=other.counter) == other


def _key(options: argparse.Namespace, signers: Sequence[Signer], now: datetime) -> int:
    state = load_folder(options.repository)
    keyid = full_id(state, options.key_id)
    roles = [role for role, keyids in roles_of(state).items() if keyid in keyids]
    if options.role:
        roles = [role for role in roles if role == options.role]
    if not roles:
        print(f"{keyid}: has no say in {options.role or 'any role'} (any more)")
    if len(roles) > 1:
        raise OperatorError(f"{keyid}: signs for {', '.join(roles)}: take it back one by one, with --role")
    return finish(options.repository, with_keys(state, roles, [], [keyid], None, now), signers, now)
