"""Jobs and results of the processes that update: what is written is what is read."""

from __future__ import annotations

import msgspec
import pytest

from edge_agent.update.floor import Floor, RoleFloor
from edge_agent.update.jobs import Bundle, Fetched, FetchJob, Looked, LookJob, Place, Problem, RemoteBundle, Repository

PLACES: tuple[Place, ...] = (
    Repository(url="https://releases.example/edge"),
    Bundle(path="/media/usb/fleet.tar"),
    RemoteBundle(url="https://hawkbit.example/a", size_bytes=5, authorization_file="/run/token"),
)


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_read_as_what_it_was(place: Place) -> None:
    job = FetchJob(place=place, store_folder="/s", manifest_sha256="0" * 64, max_bytes=1, min_free_bytes=1)
    assert msgspec.json.decode(msgspec.json.encode(job), type=FetchJob) == job


def test_a_look_carries_its_floor_there_and_back() -> None:
    floor = Floor(roles={"root": RoleFloor(version=3)})
    job = LookJob(place=PLACES[0], group="fleet", trust_folder="/t", root_file="/r", now_s=1.0, build_time_s=0.0, known=floor)
    assert msgspec.json.decode(msgspec.json.encode(job), type=LookJob) == job
    looked = Looked(floor=floor, time_s=1.5, manifest=b"\x00{}", problem=Problem(kind="refused", reason="expired"))
    assert msgspec.json.decode(msgspec.json.encode(looked), type=Looked) == looked


def test_a_result_of_another_shape_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"fetched_bytes": "many", "complete": true}', type=Fetched)


def test_the_words_of_a_problem_are_plain_whoever_made_it() -> None:
    made = Problem(kind="link", reason="r" * 10_000, detail="\x1b]0;here\x07\n" * 1_000)
    assert made.reason.isprintable()
    assert made.detail.isprintable()
    assert len(made.reason) + len(made.detail) < 600
    said = b'{"kind": "link", "reason": "\\n", "detail": "\\u001b[2J"}'
    assert msgspec.json.decode(said, type=Problem) == Problem(kind="link", reason=" ", detail="?[2J")
