"""What the looking process believes: of good repositories all, by every way, and of attackers nothing, with the floor told."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from tuf.api.metadata import Metadata, Root

from edge_agent.clock import SystemClock
from edge_agent.release.manifest import MAX_MANIFEST_BYTES, Merged, encode_manifest, parse_manifest
from edge_agent.update.floor import Floor
from edge_agent.update.jobs import Bundle, Looked, LookJob, Place, RemoteBundle, Repository
from edge_agent.update.look import look
from tests.update import fleet
from tests.update.bundles import bundle, in_bundle
from tests.update.ranges import Fault, a_page, compressed, endless_head, ignoring_ranges, never_ending, ranges, redirecting
from tests.update.server import answering
from tests.update.simulator import Repository as Simulated

FILES = fleet.contents(1, writer_model_bin=10_000)
NAME = "groups/a/release.json"


class Gateway:
    """A device that looks; its record holds what a look told."""

    def __init__(self, folder: Path, repository: Simulated, group: str = "a") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.group = group
        self.floor = Floor()
        (folder / "root.json").write_bytes(repository.factory_root)
        self._shown = 0

    def look(self, place: Place, *, now_s: float | None = None, build_time_s: float = 0.0, timeout_s: float = 10.0) -> Looked:
        job = LookJob(
            place=place,
            group=self.group,
            trust_folder=str(self.folder / "trust"),
            root_file=str(self.folder / "root.json"),
            now_s=time.time() if now_s is None else now_s,
            build_time_s=build_time_s,
            known=self.floor,
            timeout_s=timeout_s,
        )
        looked = look(job, SystemClock())
        self.floor = looked.floor
        return looked

    def at(self, files: dict[str, bytes], now_s: float | None = None) -> Looked:
        """Look at these files in a folder."""
        self._shown += 1
        return self.look(Repository(url=fleet.written(files, self.folder / f"shown-{self._shown}")), now_s=now_s)


@pytest.fixture
def repository() -> Simulated:
    made = Simulated()
    fleet.publish(made, FILES)
    return made


@pytest.fixture
def gateway(memory: Path, repository: Simulated) -> Gateway:
    return Gateway(memory, repository)


def why(looked: Looked) -> tuple[str, str]:
    """Kind and reason of a refusal, which names nothing."""
    assert looked.problem is not None
    assert looked.manifest is None
    assert looked.keys is None
    return looked.problem.kind, looked.problem.reason


def manifest(looked: Looked) -> bytes:
    assert looked.problem is None
    assert looked.manifest is not None
    return looked.manifest


def newest(repository: Simulated) -> bytes:
    """The manifest as the group's role names it now."""
    entry = repository.groups["group-a"].targets[NAME]
    return repository.files[f"targets/groups/a/{entry.hashes['sha256']}.release.json"]


# What is good.


def test_the_newest_release_is_seen_in_a_folder_with_floor_and_time(gateway: Gateway, repository: Simulated) -> None:
    looked = gateway.at(repository.files)
    assert manifest(looked) == newest(repository)
    assert {role: floor.version for role, floor in looked.floor.roles.items()} == {
        "root": 1, "timestamp": 2, "snapshot": 2, "targets": 1, "group-a": 2, "group-b": 1,
    }  # fmt: skip
    assert looked.time_s == pytest.approx(time.time(), abs=60)
    fleet.publish(repository, fleet.contents(2), 2)
    assert parse_manifest(manifest(gateway.at(repository.files)), "test").counter == 2


def test_it_is_seen_on_a_server_and_in_bundles_near_and_far(gateway: Gateway, repository: Simulated) -> None:
    data = bundle(in_bundle(repository.files))
    (gateway.folder / "stick.tar").write_bytes(data)
    with ranges({**repository.files, "it.tar": data}) as server:
        remote = RemoteBundle(url=f"{server.url}/it.tar", size_bytes=len(data))
        for place in (Repository(url=server.url), Bundle(path=str(gateway.folder / "stick.tar")), remote):
            assert manifest(gateway.look(place)) == newest(repository)
        assert not server.asked_for("blobs/"), "a look fetches no blob"
        server.fault = ignoring_ranges
        assert manifest(gateway.look(remote)) == newest(repository)


def seal(repository: Simulated) -> None:
    """Let the release say that its lexicon is stored sealed."""
    components = {path: fleet.described(data) for path, data in FILES.items()}
    lexicon = components["lexicon.txt"]
    assert lexicon.stored is not None
    components["lexicon.txt"] = replace(lexicon, stored=replace(lexicon.stored, sealed="0" * 32))
    repository.add("group-a", NAME, encode_manifest(fleet.manifest_of(components)))


def test_keys_come_with_a_sealed_release_and_only_then(gateway: Gateway, repository: Simulated) -> None:
    repository.add("group-a", "groups/a/keys.json", b'{"wrapped":"for each device"}')
    repository.release_again()
    assert gateway.at(repository.files).keys is None
    seal(repository)
    repository.release_again()
    assert gateway.at(repository.files).keys == b'{"wrapped":"for each device"}'


def test_a_group_without_a_release_has_none(gateway: Gateway, repository: Simulated) -> None:
    repository.groups["group-a"].targets.clear()
    repository.release_again()
    looked = gateway.at(repository.files)
    assert (looked.problem, looked.manifest) == (None, None)


def test_a_merged_component_needs_no_blob(gateway: Gateway, repository: Simulated) -> None:
    given = parse_manifest(newest(repository), "test")
    component = given.components["writer/model.bin"]
    merged = replace(component, stored=None, merged=Merged(base="lexicon.txt", adapter="writer/config.json"))
    changed = encode_manifest(replace(given, components={**given.components, "writer/model.bin": merged}))
    del repository.groups["group-a"].targets[f"blobs/{component.sha256}"]
    repository.add("group-a", NAME, changed)
    repository.release_again()
    assert manifest(gateway.at(repository.files)) == changed


# What is not a whole release of the group's own role.


def test_a_blob_that_nobody_names_is_missed(gateway: Gateway, repository: Simulated) -> None:
    del repository.groups["group-a"].targets[f"blobs/{fleet.digest(FILES['lexicon.txt'])}"]
    repository.release_again()
    assert why(gateway.at(repository.files)) == ("refused", "no-blob")


def test_a_blob_that_another_role_names_does_not_count(gateway: Gateway, repository: Simulated) -> None:
    name = f"blobs/{fleet.digest(FILES['lexicon.txt'])}"
    del repository.groups["group-a"].targets[name]
    repository.add("group-b", name, FILES["lexicon.txt"])
    repository.release_again("group-a", "group-b")
    assert why(gateway.at(repository.files)) == ("refused", "no-blob")


def test_blobs_that_two_groups_share_are_each_ones_own(gateway: Gateway, repository: Simulated) -> None:
    before = newest(repository)
    fleet.publish(repository, FILES, group="b")
    assert manifest(gateway.at(repository.files)) == before
    other = Gateway(gateway.folder / "b", repository, "b")
    assert manifest(other.at(repository.files)) == before


def test_a_blob_that_the_groups_role_may_not_name_does_not_count(gateway: Gateway, repository: Simulated) -> None:
    delegations = repository.targets.delegations
    assert delegations is not None
    assert delegations.roles is not None
    delegations.roles["group-a"].paths = ["groups/a/*"]
    repository.targets.version += 1
    repository.release_again()
    assert why(gateway.at(repository.files)) == ("refused", "no-blob")


def test_many_blobs_are_looked_up_at_once(gateway: Gateway, repository: Simulated) -> None:
    files = {**FILES, **{f"extra/{number}": b"%d" % number for number in range(500)}}
    fleet.publish(repository, files, 2)
    assert manifest(gateway.at(repository.files)) == newest(repository)


@pytest.mark.parametrize("field", ["length", "hash"])
def test_a_blob_of_which_manifest_and_repository_say_different_things_is_refused(
    gateway: Gateway, repository: Simulated, field: str
) -> None:
    entry = repository.groups["group-a"].targets[f"blobs/{fleet.digest(FILES['lexicon.txt'])}"]
    if field == "length":
        entry.length += 1
    else:
        entry.hashes["sha256"] = "0" * 64
    repository.release_again()
    assert why(gateway.at(repository.files)) == ("refused", "mismatch")


def test_a_release_that_another_groups_role_names_is_refused_even_where_the_delegation_lets_it(
    gateway: Gateway, repository: Simulated
) -> None:
    delegations = repository.targets.delegations
    assert delegations is not None
    assert delegations.roles is not None
    delegations.roles["group-b"].paths = ["groups/*/*", "blobs/*"]
    del repository.groups["group-a"].targets[NAME]
    repository.add("group-b", NAME, fleet.made(FILES, 9))
    repository.targets.version += 1
    repository.release_again("group-a", "group-b")
    assert why(gateway.at(repository.files)) == ("refused", "role")


def test_a_delegated_role_that_names_another_groups_targets_names_nothing(gateway: Gateway, repository: Simulated) -> None:
    del repository.groups["group-a"].targets[NAME]
    repository.add("group-b", NAME, fleet.made(FILES, 9))
    repository.release_again("group-a", "group-b")
    looked = gateway.at(repository.files)
    assert (looked.problem, looked.manifest) == (None, None)


def test_a_release_that_the_top_role_names_itself_is_refused(gateway: Gateway, repository: Simulated) -> None:
    repository.add("targets", NAME, newest(repository))
    repository.targets.version += 1
    repository.release_again()
    assert why(gateway.at(repository.files)) == ("refused", "role")


def test_the_manifest_of_one_release_and_the_blobs_of_another_are_no_release(gateway: Gateway, repository: Simulated) -> None:
    files = dict(repository.files)
    fleet.publish(repository, fleet.contents(2, writer_model_bin=10_000), 2)
    second = dict(repository.files)
    older = next(name for name in files if name.endswith(".release.json") and "/a/" in name and len(files[name]) > 100)
    newer = f"targets/groups/a/{fleet.digest(newest(repository))}.release.json"
    assert why(gateway.at({**second, newer: files[older]})) == ("refused", "mismatch")
    assert why(gateway.at({**second, newer: b"x" * len(second[newer])})) == ("refused", "mismatch")
    assert why(gateway.at({name: data for name, data in second.items() if name != newer})) == ("link", "link")
    assert parse_manifest(manifest(gateway.at(second)), "test").counter == 2


@pytest.mark.parametrize("old", ["snapshot", "targets", "group-a"])
def test_metadata_of_two_states_does_not_mix(gateway: Gateway, repository: Simulated, old: str) -> None:
    before = dict(repository.files)
    fleet.publish(repository, fleet.contents(2), 2)
    now, then = ("1", "1") if old == "targets" else ("3", "2")
    if old == "targets":
        repository.rotate("targets")  # the same version under other keys
    mixed = {**repository.files, f"metadata/{now}.{old}.json": before[f"metadata/{then}.{old}.json"]}
    assert why(gateway.at(mixed))[0] == "refused"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"format": 1}', b"[" * 100_000, b"x" * 1_000])
def test_a_manifest_that_is_none_is_the_releases_fault(gateway: Gateway, repository: Simulated, data: bytes) -> None:
    repository.add("group-a", NAME, data)
    repository.release_again()
    assert why(gateway.at(repository.files)) == ("release", "manifest")


@pytest.mark.parametrize("name", [NAME, "groups/a/keys.json"])
def test_a_manifest_or_keys_without_measure_are_not_fetched(gateway: Gateway, repository: Simulated, name: str) -> None:
    seal(repository)
    repository.add("group-a", name, bytes(MAX_MANIFEST_BYTES + 1))
    repository.release_again()
    with ranges(repository.files) as server:
        assert why(gateway.look(Repository(url=server.url))) == ("refused", "too-long")
        assert server.sent_bytes < MAX_MANIFEST_BYTES


# Time, sleep, replay.


def test_asleep_through_five_root_rotations_in_which_all_roles_were_revoked(gateway: Gateway, repository: Simulated) -> None:
    gateway.at(repository.files)
    for number in range(2, 7):
        repository.rotate("root", "timestamp", "snapshot", "targets", "group-a", "group-b")
        fleet.publish(repository, fleet.contents(number), number)
    looked = gateway.at(repository.files)
    assert parse_manifest(manifest(looked), "test").counter == 6
    assert looked.floor.roles["root"].version == 6


@pytest.mark.parametrize(("year", "told"), [(1970, None), (2000, None), (2106, ("refused", "expired"))])
def test_a_wrong_clock_costs_at_most_new_releases(
    gateway: Gateway, repository: Simulated, year: int, told: tuple[str, str] | None
) -> None:
    now_s = datetime(year, 1, 1, tzinfo=UTC).timestamp()
    looked = gateway.at(repository.files, now_s)
    if told is None:
        assert manifest(looked) == newest(repository)
    else:
        assert why(looked) == told
    assert looked.time_s == now_s
    assert manifest(gateway.at(repository.files)) == newest(repository)


def test_with_a_clock_at_1970_expiry_is_judged_by_when_the_agent_was_built(gateway: Gateway, repository: Simulated) -> None:
    place = Repository(url=fleet.written(repository.files, gateway.folder / "shown"))
    built_s = repository.expires.timestamp() + 1
    looked = gateway.look(place, now_s=0.0, build_time_s=built_s)
    assert why(looked) == ("refused", "expired")
    assert looked.time_s == built_s


def test_a_replay_of_what_was_good_is_refused_and_the_floor_stands(gateway: Gateway, repository: Simulated) -> None:
    old = dict(repository.files)
    fleet.publish(repository, fleet.contents(2), 2)
    after = gateway.at(repository.files).floor
    looked = gateway.at(old)
    assert why(looked) == ("refused", "version")
    assert looked.floor == after


def test_a_replay_after_the_trust_was_lost_is_kept_out_by_the_record(gateway: Gateway, repository: Simulated) -> None:
    old = dict(repository.files)
    fleet.publish(repository, fleet.contents(2), 2)
    after = gateway.at(repository.files).floor
    for path in (gateway.folder / "trust").iterdir():
        path.unlink()
    looked = gateway.at(old)
    assert why(looked) == ("trust-lost", "trust-lost")
    assert looked.floor == after


# Hostile metadata and hostile servers.


def test_one_key_counted_twice_counts_once(gateway: Gateway, repository: Simulated) -> None:
    gateway.at(repository.files)
    repository.root.version += 1
    payload = Metadata[Root](repository.root)
    payload.sign(repository.signers["root"][0])
    document = json.loads(payload.to_bytes())
    document["signatures"].append({**document["signatures"][0], "keyid": document["signatures"][0]["keyid"].upper()})
    assert why(gateway.at({**repository.files, "metadata/2.root.json": json.dumps(document).encode()}))[0] == "refused"


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "deep": b"[" * 200_000,
    "long-number": b'{"signed":' + b"9" * 100_000 + b"}",
    "nan": b'{"signed":NaN,"signatures":[]}',
    "not-utf-8": b'{"signed":"\xff"}',
    "twice": b'{"signed":{},"signed":{"_type":"timestamp"},"signatures":[]}',
    "page": b"<html></html>",
}


@pytest.mark.parametrize(
    "path", ["metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.group-a.json"]
)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_json_is_refused_and_what_was_known_stands(gateway: Gateway, repository: Simulated, kind: str, path: str) -> None:
    looked = gateway.at({**repository.files, path: HOSTILE[kind]})
    assert why(looked)[0] == "refused"
    assert manifest(gateway.at(repository.files)) == newest(repository)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(a_page, "refused"), (never_ending, "refused"), (compressed, "link"), (redirecting, "link"), (endless_head, "link")],
)
def test_a_server_that_sends_something_else_costs_little_and_changes_nothing(
    gateway: Gateway, repository: Simulated, fault: Fault, kind: str
) -> None:
    before = gateway.at(repository.files).floor
    with ranges(repository.files, fault) as server:
        looked = gateway.look(Repository(url=server.url))
        assert server.sent_bytes < 16 << 20
    assert why(looked)[0] == kind
    assert looked.floor == before


def test_a_server_that_drips_is_left(gateway: Gateway) -> None:
    def drip(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        line.recv(1)

    with answering(drip) as url:
        assert why(gateway.look(Repository(url=url), timeout_s=0.3)) == ("link", "link")
