"""The key of a fleet group: made, shown, and wrapped for the gateways that shall read the group's sealed releases.

    edge-ota group-key new FILE
    edge-ota group-key show FILE...
    edge-ota group-key wrap REPO --group GROUP --group-key FILE --device DEVICES... --key GROUP_KEY --key ONLINE_KEY...
    edge-ota group-key drop REPO --group GROUP [--device-id ID]... [--key-id ID]... --key GROUP_KEY --key ONLINE_KEY...

A file of devices holds a line for each, as `edge-agent update key FILE` prints it; other lines are empty or begin with `#`. Keep
one for each group: a new key is wrapped for the devices in it.

Rules: a key file that is there is never written over; the secret is never shown. The wrapped keys are a signed target of the
group, published like a release, and the release that stands goes on. Who is dropped keeps what it could read: it takes a new
group key to shut a gateway out of what comes next. A gateway without the key that its group's release is sealed with stays with
the release that it has, and says why.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from securesystemslib.signer import Signer

from edge_agent.errors import InputError, ReleaseError
from edge_agent.private_file import make_private
from edge_agent.release.group_keys import KEY_BYTES, GroupKey, Keys, device_key_id, encode_keys, parse_device
from edge_agent.release.manifest import KEYS_NAME
from edge_ota.files import Folder, put
from edge_ota.pending import finish
from edge_ota.repository import entry_of, keys_of, load_folder, release_of, stored_name
from edge_ota.roles import standing_role, with_wrapped
from edge_ota.seal import check_wrapped, read_group_key, wrapped_keys
from edge_ota.signing import OperatorError
from edge_ota.task import add_key_options, run, told
from edge_ota.usage import described, named

Change = Callable[[Keys], Keys]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = described("group-key", __doc__)
    tasks = arguments.add_subparsers(dest="task", required=True)
    new = tasks.add_parser("new", help="make a key")
    new.add_argument("file", type=named, metavar="FILE", help="where the secret is written")
    show = tasks.add_parser("show", help="the ids of keys")
    show.add_argument("files", nargs="+", type=Path, metavar="FILE")
    wrap = _of_repository(tasks.add_parser("wrap", help="give a key to devices"))
    wrap.add_argument("--group-key", type=Path, required=True, metavar="FILE", help="the group's secret, that `new` made")
    wrap.add_argument(
        "--device",
        type=Path,
        required=True,
        action="append",
        metavar="DEVICES",
        help="a file with the lines of `edge-agent update key`; again for more",
    )
    drop = _of_repository(tasks.add_parser("drop", help="take devices, or old keys, out of the list"))
    drop.add_argument(
        "--device-id", action="append", default=[], metavar="ID", help="a device that is to get no more; again for more"
    )
    drop.add_argument("--key-id", action="append", default=[], metavar="ID", help="a group key that nothing is sealed with now")
    options = arguments.parse_args(argv)
    match options.task:
        case "new":
            return told("group-key", lambda: _new(options.file))
        case "show":
            return told("group-key", lambda: _show(options.files))
        case "wrap":
            return _change(options, lambda: _wrapping(read_group_key(options.group_key), read_devices(options.device)))
        case _:
            return _change(options, lambda: _dropping(options.device_id, options.key_id))


def wrapped(keys: Keys, group_key: GroupKey, devices: Iterable[X25519PublicKey]) -> Keys:
    """The same with the key wrapped for these devices too. Raises OperatorError for a device's key that is none."""
    entries = dict(keys.keys.get(group_key.id, {}))
    for device in devices:
        try:
            entries[device_key_id(device)] = group_key.wrapped_for(device)
        except InputError as error:
            raise OperatorError(f"device {device_key_id(device)}: {error.detail}") from error
    return Keys(keys={**keys.keys, group_key.id: entries})


def dropped(keys: Keys, device_ids: Sequence[str], key_ids: Sequence[str]) -> Keys:
    """The same without these. Raises OperatorError for an id that stands nowhere in it."""
    known = {*keys.keys, *(device for entries in keys.keys.values() for device in entries)}
    if unknown := [each for each in (*device_ids, *key_ids) if each not in known]:
        raise OperatorError(f"{unknown[0]}: no such id in the group's keys")
    return Keys(
        keys={
            key_id: {device: entry for device, entry in entries.items() if device not in device_ids}
            for key_id, entries in keys.keys.items()
            if key_id not in key_ids
        }
    )


def read_devices(paths: Iterable[Path]) -> list[X25519PublicKey]:
    """The devices that files name. Raises OperatorError that names the line."""
    found: list[X25519PublicKey] = []
    for path in paths:
        data = Folder(path.parent).read(path.name)
        if data is None:
            raise OperatorError(f"{path} is missing")
        for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), start=1):
            if not line.strip() or line.strip().startswith("#"):
                continue
            try:
                found.append(parse_device(line))
            except InputError as error:
                raise OperatorError(f"{path}:{number}: {error}") from error
    if not found:
        raise OperatorError("no device is named: write a line for each into the file, as `edge-agent update key FILE` prints it")
    return found


def _new(path: Path) -> int:
    key = GroupKey(secrets.token_bytes(KEY_BYTES))
    if not make_private(path, key.encoded()):
        raise OperatorError(f"{path}: is there already, and a key that is written over is lost: choose another name")
    print(f"{path}: keep secret, and keep a copy\n  id {key.id}")
    return 0


def _show(paths: Iterable[Path]) -> int:
    for path in paths:
        print(f"{path}\n  id {read_group_key(path).id}")
    return 0


def _wrapping(group_key: GroupKey, devices: Sequence[X25519PublicKey]) -> Change:
    return lambda keys: wrapped(keys, group_key, devices)


def _dropping(device_ids: Sequence[str], key_ids: Sequence[str]) -> Change:
    if not device_ids and not key_ids:
        raise OperatorError("nothing is to be dropped: name it with --device-id or --key-id")
    return lambda keys: dropped(keys, device_ids, key_ids)


def _change(options: argparse.Namespace, change: Callable[[], Change]) -> int:
    """Change the group's wrapped keys in the repository; an exit code."""

    def work(signers: Sequence[Signer], now: datetime) -> int:
        state, files = load_folder(options.repository), Folder(options.repository)
        role = standing_role(state, options.group)
        standing = keys_of(files, role, state.groups[role])
        after = change()(Keys() if standing is None else wrapped_keys(standing, f"the keys of {options.group}"))
        data = _encoded(after)
        release = release_of(files, role, state.groups[role])
        if release is not None:
            check_wrapped(release[0], data, options.group)
        for key_id, entries in sorted(after.keys.items()):
            print(f"group key {key_id}: {len(entries)} {'device' if len(entries) == 1 else 'devices'}")
        changes = with_wrapped(state, options.group, data, now)
        for document in changes.values():
            entry = entry_of(document, role, KEYS_NAME)
            if entry is not None:
                put(options.repository / stored_name(entry), iter([data]), entry.length, entry.hashes["sha256"])
        return finish(options.repository, changes, signers, now)

    return run("group-key", options, work)


def _encoded(keys: Keys) -> bytes:
    try:
        return encode_keys(keys)
    except ReleaseError as error:
        raise OperatorError(str(error)) from error


def _of_repository(arguments: argparse.ArgumentParser) -> argparse.ArgumentParser:
    arguments.add_argument("repository", type=named, help="the repository's folder")
    arguments.add_argument("--group", required=True, metavar="GROUP", help="the fleet group")
    add_key_options(arguments)
    return arguments
