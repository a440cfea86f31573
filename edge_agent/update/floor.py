"""The floor: the highest version that this device has seen of each role of a repository, below which nothing is believed.

Rules: values only. An entry stands for as long as the keys that vouch for it stand: when these are rotated it starts anew,
which is how a fleet recovers from a stolen key that was used to push versions up (TUF specification 1.0.34, 5.3.11). The root's
never starts anew: its versions form one chain. The floor stands beside the metadata and again in the agent's own state
record, so that an older copy of either cannot bring an older repository back.

What vouches: for the timestamp its own keys; for the snapshot its own and the timestamp's, which states the snapshot's version;
for all targets roles the snapshot's, which states theirs. That is what python-tuf's client forgets and keeps.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

ROOT = "root"
TIMESTAMP = "timestamp"
SNAPSHOT = "snapshot"
TARGETS = "targets"
TOP_LEVEL: tuple[str, ...] = (ROOT, TIMESTAMP, SNAPSHOT, TARGETS)

MAX_VERSION = (1 << 53) - 1
"""Beyond it a version is not believed: JSON readers disagree about such numbers, and nobody publishes so often."""

MAX_ROLES = 1_024
"""That one snapshot may list: what was seen of each stands in the agent's record, and goes to the process that looks."""


class RoleFloor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was seen of one role."""

    version: int
    bound_to: str = ""
    """The digest of the key ids and thresholds that vouch for it; empty for the root."""
    issued_s: float = 0.0
    """When it says it was signed, in seconds since 1970; 0 where it does not say. The timestamp's is a floor for the time."""


class Floor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was seen of all roles, by name. Empty on a device that never saw a repository."""

    roles: dict[str, RoleFloor] = {}

    def below(self, seen: Mapping[str, RoleFloor]) -> list[str]:
        """The roles of `seen` that stand lower than here under the same keys, each with both versions; empty for none."""
        return [
            f"{role} {now.version}, {held.version} was seen before"
            for role, now in sorted(seen.items())
            if (held := self.roles.get(role)) and held.bound_to == now.bound_to and now.version < held.version
        ]

    def raised(self, seen: Mapping[str, RoleFloor]) -> Floor:
        """This floor and `seen`. An entry under other keys is replaced; one that nobody vouches for any more is dropped."""
        roles = dict(self.roles)
        for role, now in seen.items():
            held = roles.get(role)
            roles[role] = _higher(held, now) if held is not None and _is_like(held, now) else now
        return Floor(roles=_vouched(roles, seen))

    def joined(self, other: Floor) -> Floor:
        """The higher of both, role by role. Where the keys differ, that of the floor that has seen the newer root counts.

        What nobody vouches for any more by that is dropped, or what stands in the record would grow with each rotation.
        """
        newer, older = (self, other) if self._root >= other._root else (other, self)
        same = {name: role for name, role in older.roles.items() if _is_like(newer.roles.get(name), role)}
        missing = {name: role for name, role in older.roles.items() if name not in newer.roles}
        if newer._root > older._root:
            missing = _vouched(missing, newer.roles)
        return Floor(roles={**missing, **{name: _higher(role, same.get(name, role)) for name, role in newer.roles.items()}})

    @property
    def _root(self) -> int:
        return self.roles[ROOT].version if ROOT in self.roles else 0

    def time_s(self, vouching: str) -> float:
        """The latest time that the timestamp's keys, whose digest is `vouching`, signed; 0 where they signed none."""
        held = self.roles.get(TIMESTAMP)
        return held.issued_s if held is not None and held.bound_to == vouching else 0.0


def _vouched(roles: Mapping[str, RoleFloor], by: Mapping[str, RoleFloor]) -> dict[str, RoleFloor]:
    """Of `roles` those that `by` does not leave behind: its snapshot lists them no more, and its keys are others."""
    vouched = {role.bound_to for role in by.values()}
    return {name: role for name, role in roles.items() if SNAPSHOT not in by or name in TOP_LEVEL or role.bound_to in vouched}


def _is_like(one: RoleFloor | None, other: RoleFloor) -> bool:
    """Whether both were seen under the same keys."""
    return one is not None and one.bound_to == other.bound_to


def _higher(one: RoleFloor, other: RoleFloor) -> RoleFloor:
    """Both, of the same keys, in one."""
    version, issued_s = max(one.version, other.version), max(one.issued_s, other.issued_s)
    return RoleFloor(version=version, bound_to=one.bound_to, issued_s=issued_s)
