"""Our client and python-tuf's plain one, side by side, over random repositories and attacks: they believe the same.

The plain client keeps its own folder, undisturbed. Each step changes the repository or attacks it; then both look, and must
believe the same roles at the same versions. What ours is stricter about (`trust`) is left out of the steps: damage of its
files, lengths, versions beyond belief, one key under two ids.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, SuccinctRoles, TargetFile, Targets
from tuf.ngclient import Updater

from tests.update.device import RELEASE, Device
from tests.update.simulator import URL, Repository, Served

State = dict[str, bytes]
Step = Callable[[Repository, random.Random], None]
ROLES = ("timestamp", "snapshot", "targets", "group-a", "group-b")


def bump(repository: Repository, chance: random.Random) -> None:
    for role in chance.sample(ROLES, chance.randint(1, 5)):
        repository.signed(role).version += 1
    repository.publish()


def release(repository: Repository, chance: random.Random) -> None:
    repository.release(chance.choice(("group-a", "group-b")))


def rotate(repository: Repository, chance: random.Random) -> None:
    repository.rotate(*chance.sample(("root", *ROLES), chance.randint(1, 4)))
    if chance.random() < 0.7:
        repository.release()


def roll_back(repository: Repository, chance: random.Random) -> None:
    for role in chance.sample(ROLES, chance.randint(1, 3)):
        repository.signed(role).version = max(1, repository.signed(role).version - chance.randint(1, 3))
    repository.publish()


def push_forward(repository: Repository, chance: random.Random) -> None:
    role = chance.choice(ROLES)
    repository.signed(role).version += 1000
    repository.publish()


def recover(repository: Repository, chance: random.Random) -> None:
    for role in ROLES:
        repository.signed(role).version = chance.randint(1, 4)
    repository.rotate(*chance.sample(ROLES[:3], chance.randint(1, 3)))


def expire(repository: Repository, chance: random.Random) -> None:
    role = chance.choice(ROLES)
    repository.signed(role).expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    repository.release()


def renew(repository: Repository, chance: random.Random) -> None:
    for role in ROLES:
        repository.signed(role).expires = repository.expires
    repository.targets.version += 1
    repository.release("group-b")
    repository.release()


def forget(repository: Repository, chance: random.Random) -> None:
    repository.snapshot.meta.pop(chance.choice(("group-a.json", "group-b.json")), None)
    repository.snapshot.version += 1
    repository.timestamp.version += 1
    repository.stamp()


def threshold(repository: Repository, chance: random.Random) -> None:
    role = chance.choice(("timestamp", "snapshot", "targets"))
    repository.root.roles[role].threshold = chance.randint(1, 2)
    repository.root.version += 1
    repository.sign("root")


STEPS: tuple[Step, ...] = (
    bump,
    release,
    release,
    rotate,
    roll_back,
    push_forward,
    recover,
    expire,
    renew,
    renew,
    forget,
    threshold,
)


def spoilt(files: State, past: list[State], chance: random.Random) -> State:
    """What is served: mostly what the repository has; else an old state, a mixture, or something broken on the way."""
    kind = chance.choice(("whole",) * 6 + ("replay", "mixture", "missing", "cut", "flipped"))
    if kind == "whole":
        return files
    if kind == "replay":
        return chance.choice(past)
    if kind == "mixture":
        old = chance.choice(past)
        return {path: old.get(path, data) if chance.random() < 0.5 else data for path, data in files.items()}
    path = chance.choice(sorted(path for path in files if path.startswith("metadata/")))
    if kind == "missing":
        return {name: data for name, data in files.items() if name != path}
    data = bytearray(files[path])
    if kind == "cut":
        del data[chance.randrange(len(data)) :]
    else:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return {**files, path: bytes(data)}


class Plain:
    """python-tuf's client as its documentation uses it."""

    def __init__(self, folder: Path, factory_root: bytes) -> None:
        folder.mkdir()
        self._folder = folder
        self._root = factory_root

    def believes(self, files: State) -> bool:
        try:
            return self.look(files, RELEASE) is not None
        except (RepositoryError, DownloadError):
            return False

    def look(self, files: State, name: str) -> TargetFile | None:
        updater = Updater(str(self._folder), URL, fetcher=Served(files), bootstrap=self._root)
        updater.refresh()
        return updater.get_targetinfo(name)

    def versions(self) -> dict[str, int]:
        return {path.name[:-5]: Metadata.from_bytes(path.read_bytes()).signed.version for path in self._folder.glob("*.json")}


@pytest.mark.parametrize("seed", range(20))
def test_both_believe_the_same(memory: Path, seed: int) -> None:
    chance = random.Random(seed)
    repository = Repository()
    ours, plain = Device(memory / "ours", repository.factory_root), Plain(memory / "plain", repository.factory_root)
    past: list[State] = [dict(repository.files)]
    for _ in range(8):
        step = chance.choice(STEPS)
        step(repository, chance)
        served = spoilt(dict(repository.files), past, chance)
        past.append(dict(repository.files))
        assert ours.believes(served) == plain.believes(served), step.__name__
        assert ours.versions() == plain.versions(), step.__name__


def test_both_walk_the_same_delegations(memory: Path) -> None:
    repository = Repository()
    top = repository.targets.delegations
    assert top is not None
    assert top.roles is not None
    for role, paths, terminating in (("far", ["far/*"], False), ("last", ["far/*", "end/*"], True), ("hidden", ["end/*"], False)):
        top.roles[role] = DelegatedRole(role, [], 1, terminating, paths)
        repository.groups[role] = Targets(version=1, expires=repository.expires)
        repository.give_keys(role, 1)
    repository.add("hidden", "end/x", b"behind a role that ends the search")
    repository.add("last", "far/x", b"found second")
    bins = SuccinctRoles([], 1, 2, "bin")
    far = repository.groups["far"]
    far.delegations = Delegations({}, None, bins)
    for name in bins.get_roles():
        repository.groups[name] = Targets(version=1, expires=repository.expires)
        repository.signers[name] = repository.signers["far"]
    far.add_key(repository.signers["far"][0].public_key)
    repository.add(bins.get_role_for_target("far/y"), "far/y", b"in a bin")
    repository.publish()
    ours = Device(memory / "ours", repository.factory_root)
    plain = Plain(memory / "plain", repository.factory_root)
    for name in ("far/x", "far/y", "far/z", "end/x", "nowhere", RELEASE):
        found, expected = ours.look(repository.files, name), plain.look(repository.files, name)
        assert (found.hashes if found else None) == (expected.hashes if expected else None), name
        assert ours.versions() == plain.versions()
    # The search for far/x ends in a bin before `last` is asked: bins end it (TAP 15).
    assert ours.look(repository.files, "far/x") is None
    found = ours.look(repository.files, "far/y")
    assert found is not None
    assert found.role == bins.get_role_for_target("far/y")
