"""The floor: what raises it, what stands below it, and that new keys start it anew."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.floor import Floor, RoleFloor


def at(version: int, bound_to: str = "k1", issued_s: float = 0.0) -> RoleFloor:
    return RoleFloor(version=version, bound_to=bound_to, issued_s=issued_s)


def test_a_lower_version_under_the_same_keys_stands_below() -> None:
    floor = Floor(roles={"timestamp": at(5), "root": at(2, "")})
    assert floor.below({"timestamp": at(4)}) == ["timestamp 4, 5 was seen before"]
    assert floor.below({"timestamp": at(5), "root": at(2, "")}) == []
    assert floor.below({"root": at(1, "")}) == ["root 1, 2 was seen before"]
    assert floor.below({"snapshot": at(1)}) == []


def test_under_other_keys_a_role_starts_anew() -> None:
    floor = Floor(roles={"timestamp": at(5)})
    assert floor.below({"timestamp": at(1, "k2")}) == []
    assert floor.raised({"timestamp": at(1, "k2")}).roles["timestamp"] == at(1, "k2")


def test_roles_that_a_new_snapshot_key_does_not_vouch_for_are_dropped() -> None:
    floor = Floor(roles={"root": at(1, ""), "group-a": at(7), "group-b": at(3)})
    seen = {"root": at(1, ""), "snapshot": at(1, "k2+t"), "group-a": at(1, "k2")}
    assert set(floor.raised(seen).roles) == {"root", "snapshot", "group-a"}
    assert "group-b" in floor.raised({"root": at(1, "")}).roles


def test_a_signed_time_counts_for_as_long_as_its_keys_do() -> None:
    floor = Floor(roles={"timestamp": at(5, issued_s=100.0)})
    assert floor.time_s("k1") == 100.0
    assert floor.time_s("k2") == 0.0
    assert Floor().time_s("k1") == 0.0
    assert floor.raised({"timestamp": at(6, issued_s=50.0)}).time_s("k1") == 100.0


def test_of_two_floors_with_different_keys_the_one_with_the_newer_root_counts() -> None:
    older = Floor(roles={"root": at(1, ""), "timestamp": at(9, "k1"), "group-a": at(2)})
    newer = Floor(roles={"root": at(2, ""), "timestamp": at(1, "k2")})
    for joined in (older.joined(newer), newer.joined(older)):
        assert joined.roles == {"root": at(2, ""), "timestamp": at(1, "k2"), "group-a": at(2)}


roles = st.dictionaries(
    st.sampled_from(["root", "timestamp", "snapshot", "group-a"]),
    st.builds(at, st.integers(1, 9), st.sampled_from(["k1", "k2"]), st.floats(0, 9)),
)


@given(roles, roles)
def test_nothing_that_raised_a_floor_stands_below_it_afterwards_or_lowers_what_stays(before: object, seen: object) -> None:
    floor = Floor(roles=before)  # type: ignore[arg-type]  # hypothesis does not carry the type
    raised = floor.raised(seen)  # type: ignore[arg-type]  # as above
    assert all(raised.roles[name].version >= role.version for name, role in seen.items())  # type: ignore[attr-defined]  # as above
    for name, role in raised.roles.items():
        held = floor.roles.get(name)
        assert held is None or held.bound_to != role.bound_to or held.version <= role.version


def test_what_no_key_vouches_for_after_a_rotation_is_dropped_where_floors_are_joined() -> None:
    older = Floor(roles={"root": at(1, ""), "snapshot": at(9, "k1"), "group-a": at(9, "k1"), "group-b": at(3, "k1")})
    newer = Floor(roles={"root": at(2, ""), "snapshot": at(1, "k2"), "group-a": at(1, "k2")})
    assert older.joined(newer) == newer.joined(older) == newer
    without_snapshot = Floor(roles={"root": at(2, "")})
    assert older.joined(without_snapshot).roles == {**older.roles, "root": at(2, "")}


@given(roles, roles)
def test_a_joined_floor_is_no_lower_than_either_under_its_keys(one: object, other: object) -> None:
    both = (Floor(roles=one), Floor(roles=other))  # type: ignore[arg-type]  # as above
    joined = both[0].joined(both[1])
    for floor in both:
        assert floor.below(joined.roles) == []


def test_a_floor_is_kept_as_json_and_takes_no_unknown_field() -> None:
    floor = Floor(roles={"root": at(3, "")})
    assert msgspec.json.decode(msgspec.json.encode(floor), type=Floor) == floor
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"roles":{},"more":1}', type=Floor)
