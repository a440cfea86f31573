"""Sessions: how they start, what they give and refuse, and what they leave. The attacks are in `tests/update`."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from edge_agent.errors import LinkError, ReleaseError, RepositoryRefusedError, StorageError, TrustLostError
from edge_agent.update.floor import Floor, RoleFloor
from edge_agent.update.trust import Trust
from edge_agent.update.trusted import COPIES, MARKER
from tests.update.simulator import TARGETS_URL, URL, Repository, Served

NAME = "groups/a/release.json"


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def trust(tmp_path: Path, repository: Repository) -> Trust:
    return Trust(tmp_path, repository.factory_root)


def test_start_takes_the_factory_root_once(trust: Trust, repository: Repository) -> None:
    assert trust.held() is None
    assert trust.start()
    assert not trust.start()
    held = trust.held()
    assert held is not None
    assert held.metadata == {"root": repository.factory_root}


def test_a_factory_root_that_is_none_is_the_packages_fault(tmp_path: Path) -> None:
    trust = Trust(tmp_path, b"{}")
    with pytest.raises(ReleaseError, match="factory root"):
        trust.start()
    with pytest.raises(ReleaseError), trust.session(Served({}), URL, time.time()):
        pass
    assert trust.held() is None


def test_a_session_names_targets_and_fetches_them(trust: Trust, repository: Repository) -> None:
    fetcher = Served(repository.files)
    with trust.session(fetcher, URL, time.time()) as session:
        target = session.target(NAME)
        assert target is not None
        file = io.BytesIO()
        session.fetch(target, TARGETS_URL, file)
        assert file.getvalue() == b'{"counter":1}'
        asked = list(fetcher.asked)
        assert session.target(NAME) == target
        assert fetcher.asked == asked, "one look at one state"
        assert session.floor.roles["group-a"].version == 1


def test_without_consistent_snapshots_a_target_stands_under_its_own_name(tmp_path: Path, repository: Repository) -> None:
    repository.root.consistent_snapshot = False
    root = repository.sign("root")
    files = {path.replace("/1.", "/"): data for path, data in repository.files.items()}
    with Trust(tmp_path, root).session(Served(files), URL, time.time()) as session:
        target = session.target(NAME)
    assert target is not None
    assert target.path == NAME


def test_what_cannot_be_fetched_or_is_not_it_is_told_apart(trust: Trust, repository: Repository) -> None:
    files = dict(repository.files)
    with trust.session(Served(files), URL, time.time()) as session:
        target = session.target(NAME)
        assert target is not None
        files[f"targets/{target.path}"] = b"other bytes!!"
        with pytest.raises(RepositoryRefusedError, match="mismatch"):
            session.fetch(target, TARGETS_URL, io.BytesIO())
        del files[f"targets/{target.path}"]
        with pytest.raises(LinkError):
            session.fetch(target, TARGETS_URL, io.BytesIO())


def test_a_session_that_was_refused_stays_refused(trust: Trust, repository: Repository) -> None:
    files = {**repository.files, "metadata/timestamp.json": b"{}"}
    with trust.session(Served(files), URL, time.time()) as session:
        with pytest.raises(RepositoryRefusedError):
            session.refresh()
        files.update(repository.files)
        with pytest.raises(RepositoryRefusedError):
            session.refresh()
        with pytest.raises(RepositoryRefusedError):
            session.target(NAME)


def test_a_record_that_knows_the_repository_and_an_empty_folder_do_not_go_together(trust: Trust) -> None:
    known = Floor(roles={"root": RoleFloor(version=1)})
    with pytest.raises(TrustLostError, match="start anew"), trust.session(Served({}), URL, time.time(), known):
        pass


def test_starting_anew_is_a_persons_decision_and_the_record_still_holds(
    trust: Trust, repository: Repository, tmp_path: Path
) -> None:
    old = dict(repository.files)
    repository.release()
    with trust.session(Served(repository.files), URL, time.time()) as session:
        session.refresh()
        known = session.floor
    for name in COPIES:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(TrustLostError), trust.session(Served(repository.files), URL, time.time(), known):
        pass
    trust.start_anew()
    with (
        trust.session(Served(old), URL, time.time(), known) as session,
        pytest.raises(RepositoryRefusedError, match="rollback"),
    ):
        session.refresh()
    assert session.floor == known
    with trust.session(Served(repository.files), URL, time.time(), known) as session:
        assert session.target(NAME) is not None


def test_a_newer_factory_root_of_a_newer_package_is_taken(tmp_path: Path, repository: Repository) -> None:
    with Trust(tmp_path, repository.factory_root).session(Served(repository.files), URL, time.time()) as session:
        session.refresh()
    repository.rotate("root")
    newer = repository.files["metadata/2.root.json"]
    repository.give_keys("root", 3)
    repository.root.version = 3
    lost = {path: data for path, data in repository.files.items() if path != "metadata/2.root.json"}
    fetcher = Served(lost)
    with Trust(tmp_path, newer).session(fetcher, URL, time.time()) as session:
        session.refresh()
    assert fetcher.asked[0] == "metadata/3.root.json"
    held = Trust(tmp_path, newer).held()
    assert held is not None
    assert held.metadata["root"] == newer


def test_the_working_copy_is_gone_afterwards_and_two_do_not_look_at_once(tmp_path: Path, repository: Repository) -> None:
    scratch = tmp_path / "scratch"
    folder = tmp_path / "folder"
    for path in (scratch, folder):
        path.mkdir()
    trust = Trust(folder, repository.factory_root, scratch=scratch)
    with trust.session(Served(repository.files), URL, time.time()) as session:
        session.refresh()
        assert len(list(scratch.iterdir())) == 1
        with pytest.raises(StorageError, match="another process"), trust.session(Served({}), URL, time.time()):
            pass
    assert list(scratch.iterdir()) == []
    assert {path.name for path in folder.iterdir()} == {*COPIES, MARKER}


def test_no_room_for_a_working_copy_is_said(tmp_path: Path, repository: Repository) -> None:
    trust = Trust(tmp_path, repository.factory_root, scratch=tmp_path / "none")
    with pytest.raises(StorageError, match="working copy"), trust.session(Served({}), URL, time.time()):
        pass


def test_a_disk_that_takes_nothing_names_nothing(trust: Trust, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: object, data: bytes) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr("edge_agent.update.twice.write_atomic", full)
    with trust.session(Served(repository.files), URL, time.time()) as session:
        with pytest.raises(StorageError):
            session.target(NAME)
        with pytest.raises(StorageError):
            session.target(NAME)
