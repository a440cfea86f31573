"""The commands about updates, where no agent runs and where one does: what they say, and their exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from edge_ota import bundle
from msgspec.structs import replace

from edge_agent.commands import updates
from edge_agent.commands.speakers import Speakers
from edge_agent.commands.update_bar import Bar
from edge_agent.config.settings import RepositorySettings, Settings
from edge_agent.errors import RequestError, StorageError
from edge_agent.update.machine import RUNS_ALREADY
from edge_agent.update.orders import Apply, Check, Orders
from edge_agent.update.record import Candidate, Ended, Held, Record
from edge_agent.workers.host import process_start
from edge_agent.workers.keeper import read_record
from edge_agent.workers.status_file import AgentStatus, status_paths, write_status
from tests.deadline import eventually
from tests.update.whole_updates import Fleet, Gateway, soaking


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    fleet.publish(1)
    return fleet


@pytest.fixture(scope="module")
def stick(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the fleet's release."""
    path = tmp_path_factory.mktemp("stick") / "fleet.tar"
    with contextlib.redirect_stdout(io.StringIO()):
        assert bundle.main([str(fleet.repository), str(path), "--group", "canary"]) == 0
    return path


def settings_at(folder: Path, fleet: Fleet, url: str | None = None) -> Settings:
    update = soaking(fleet.settings(), 1.0)
    if url is not None:
        update = replace(update, repository=RepositorySettings(url=url))
    return Settings(state_dir=str(folder / "state"), runtime_dir=str(folder / "run"), update=update)


def speaks_now(settings: Settings) -> str:
    """The release that `explain --config` and `audit verify --explain` write with."""
    return Speakers(settings, lambda error: pytest.fail(str(error))).speaker_now().release.id


@contextmanager
def running(settings: Settings) -> Iterator[Gateway]:
    """A worker at work in this process, which says that it is the agent."""
    path = status_paths(settings.runtime_dir, settings.state_dir, settings.gateway.id)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    gateway = Gateway(Path(settings.state_dir), settings.update)
    write_status(
        path,
        AgentStatus(
            pid=os.getpid(),
            pid_start=process_start(os.getpid()),
            state_dir=settings.state_dir,
            gateway=settings.gateway.id,
            connected=True,
            health={},
            latency_s={},
        ),
    )
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            gateway.worker.step(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield gateway
    finally:
        over.set()
        thread.join(60)
        gateway.stop()
        path.unlink()


def test_without_an_agent_a_release_comes_up_to_its_trial_and_every_command_tells_of_it(
    fleet: Fleet, stick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_at(tmp_path, fleet)
    assert updates.show_update(settings, as_json=False) == 0
    assert capsys.readouterr().out == "release     the one inside the package\nstate       idle\n"
    assert updates.show_history(settings, as_json=False) == 0
    assert capsys.readouterr().out == "no update has ended on this device\n"
    assert updates.check(settings, again=False) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == ["trial     fleet-1", "on trial: fleet-1, counter 1, from the agent's next start on"]
    assert updates.show_update(settings, as_json=False) == 0
    assert "candidate   fleet-1, counter 1, from repository" in capsys.readouterr().out
    # What waits for the agent gives way to what is newer, so the sources are looked at all the same.
    assert updates.check(settings, again=False) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "repository: fleet-1, counter 1"
    assert updates.apply(settings, stick) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "on trial: fleet-1, counter 1, from the agent's next start on"
    (tmp_path / "torn.tar").write_bytes(stick.read_bytes()[:4000])
    assert updates.apply(settings, tmp_path / "torn.tar") == 1
    assert "torn.tar was not taken: " in capsys.readouterr().out
    assert updates.cancel(settings) == 0
    assert capsys.readouterr().out == "cancelled: fleet-1, counter 1: a person asked for it\n"
    assert updates.apply(settings, stick) == 1
    assert "update check --again" in capsys.readouterr().out
    assert updates.check(settings, again=False) == 0
    assert "which failed here" in capsys.readouterr().out
    assert updates.show_history(settings, as_json=False) == 0
    assert capsys.readouterr().out.startswith("cancelled   fleet-1, counter 1, ")
    assert updates.show_history(settings, as_json=True) == 0
    assert [each["outcome"] for each in json.loads(capsys.readouterr().out)] == ["cancelled"]
    assert updates.show_update(settings, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "idle"
    for name in ("record.a", "record.b"):
        (Path(settings.state_dir) / "update" / name).write_text("damaged")
    with pytest.raises(StorageError, match="the record of releases is gone"):
        updates.show_update(settings, as_json=False)
    assert updates._record(settings) == Record(), "an order is taken, and the next release begins a new record"


def test_a_running_agent_is_asked_and_watched_to_the_end(
    fleet: Fleet, stick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_at(tmp_path, fleet)
    with running(settings) as gateway:
        assert updates.apply(settings, stick) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "on trial: fleet-1, counter 1, for 1 s"
        assert gateway.keeper.record.candidate is not None
        with pytest.raises(RequestError, match="fleet-1 is on trial, and nothing else is taken"):
            updates.apply(settings, stick)
        assert updates.cancel(settings) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "cancelled: fleet-1, counter 1: a person asked for it"
        # The look that was due at the start comes to nothing; the one that is asked for does not.
        eventually(lambda: gateway.record.looked_count == 2, 60.0)
        assert updates.check(settings, again=True) == 0
        eventually(lambda: gateway.record.active is not None, 60.0)
        assert speaks_now(settings) == "fleet-1"
        assert updates.apply(settings, stick) == 0
        assert capsys.readouterr().out.splitlines()[-1].endswith("it runs already")
        assert updates.roll_back(settings) == 0
        assert capsys.readouterr().out == "rolled-back: fleet-1, counter 1: a person asked for it\n"
        assert speaks_now(settings) != "fleet-1"
        with pytest.raises(RequestError, match="nothing to go back to"):
            updates.roll_back(settings)
        with pytest.raises(RequestError, match="stop it first"):
            updates.trust_anew(settings)
    assert updates.trust_anew(settings) == 0


OLD, NEW = (Held(release=f"fleet-{number}", counter=number, manifest_sha256=f"{number}" * 64) for number in (1, 2))
GAVE_WAY = Ended(held=OLD, result="cancelled", reason="fleet-2 came, which is newer", at_s=1.0)


@pytest.mark.parametrize("order", [Apply(path="/stick/two.tar"), Check()])
@pytest.mark.parametrize(
    ("after", "code"),
    [
        (Record(stage="trial", candidate=Candidate(held=NEW, source="apply"), ended=(GAVE_WAY,)), 0),
        (Record(ended=(GAVE_WAY, Ended(held=NEW, result="committed", reason="", at_s=2.0))), 0),
        (Record(ended=(GAVE_WAY, Ended(held=NEW, result="refused", reason="wrong", at_s=2.0))), 1),
    ],
)
def test_what_gave_way_to_the_release_that_was_asked_for_is_no_failure(
    tmp_path: Path, fleet: Fleet, order: Apply | Check, after: Record, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Record(stage="trial", candidate=Candidate(held=OLD, source="repository"))
    assert updates._told(settings_at(tmp_path, fleet), order, before, after) == code
    assert "cancelled: fleet-1, counter 1: fleet-2 came" in capsys.readouterr().out


COMMITTED = Ended(held=OLD, result="committed", reason="", at_s=1.0)
WAS_OLD = Record(stage="probing", candidate=Candidate(held=OLD, source="apply"))


@pytest.mark.parametrize("order", [Apply(path="/stick/two.tar"), Check()])
def test_what_was_on_its_way_before_is_not_the_end_of_what_was_asked_for(order: Apply | Check) -> None:
    for now in (replace(WAS_OLD, stage="staged"), Record(active=OLD, ended=(COMMITTED,))):
        assert not updates._is_over(order, WAS_OLD, now)
    new = Record(stage="trial", candidate=Candidate(held=NEW, source="apply"), active=OLD, ended=(COMMITTED,), looked_count=1)
    assert updates._is_over(order, WAS_OLD, new)


@pytest.mark.parametrize(("looked", "code"), [("apply: two.tar: ends after 0 bytes", 1), (f"apply: fleet-1: {RUNS_ALREADY}", 0)])
def test_a_bundle_that_is_not_taken_is_told_beside_what_ended_before_it(
    tmp_path: Path, fleet: Fleet, looked: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    after = Record(active=OLD, ended=(COMMITTED,), looked=looked, looked_count=1)
    assert updates._told(settings_at(tmp_path, fleet), Apply(path="/stick/two.tar"), WAS_OLD, after) == code
    assert capsys.readouterr().out == f"committed: fleet-1, counter 1\n{looked}\n"


def test_a_look_that_ended_before_the_order_was_taken_is_not_its_end(
    tmp_path: Path, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = Record(looked="repository: fleet-2, counter 2: it failed here", looked_count=1)
    new = Record(stage="trial", candidate=Candidate(held=NEW, source="repository"), looked_count=2)
    waits = [True, True, False]
    reads = [stale, stale, stale, new]
    monkeypatch.setattr(updates, "WATCH_S", 0.0)
    monkeypatch.setattr(Orders, "is_waiting", lambda *_: waits.pop(0))
    monkeypatch.setattr(updates, "read_record", lambda _: reads.pop(0))
    assert updates._by_the_agent(settings_at(tmp_path, fleet), Check(again=True), Record(), Bar(io.StringIO())) == new


def test_an_agent_that_takes_no_order_is_told_of(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_at(tmp_path, fleet)
    Gateway(Path(settings.state_dir), settings.update).stop()
    monkeypatch.setattr(updates, "_agent_runs", lambda settings: True)
    monkeypatch.setattr(updates, "TAKEN_S", 0.1)
    with pytest.raises(RequestError, match="did not take the order"):
        updates.check(settings, again=False)
    assert len(Orders(Path(settings.state_dir) / "update").waiting()) == 1


def test_two_at_once_are_one_too_many(fleet: Fleet, tmp_path: Path) -> None:
    settings = settings_at(tmp_path, fleet)
    other = Gateway(Path(settings.state_dir), settings.update)
    with pytest.raises(StorageError, match="another agent updates from there"):
        updates.check(settings, again=False)
    other.stop()


def test_root_leaves_nothing_that_the_agents_user_could_not_read(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_at(tmp_path, fleet)
    state = Path(settings.state_dir)
    state.mkdir()
    if os.geteuid() == 0:
        os.chown(state, 65_534, 65_534)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(RequestError, match=r"runuser -u \S+ -- edge-agent update"):
        updates.check(settings, again=False)
    with pytest.raises(RequestError, match="other-user"):
        updates.trust_anew(settings)
    assert list(state.iterdir()) == []


def test_what_is_no_bundle_is_said_to_be_none(fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_at(tmp_path, fleet)
    os.mkfifo(tmp_path / "fifo")
    for name, what in (("missing", "no such file"), ("fifo", "no regular file"), (".", "is a folder")):
        with pytest.raises(RequestError, match=what):
            updates.apply(settings, tmp_path / name)
    (tmp_path / "text").write_bytes(b"no bundle" * 1_000)
    assert updates.apply(settings, tmp_path / "text") == 1
    assert "this is no bundle" in capsys.readouterr().out
    assert read_record(Path(settings.state_dir)).stage == "idle"


def test_nothing_is_done_without_a_group_or_a_candidate_or_a_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    off = Settings(state_dir=str(tmp_path / "state"), runtime_dir=str(tmp_path / "run"))
    with pytest.raises(RequestError, match=r"update\.group"):
        updates.check(off, again=False)
    with pytest.raises(RequestError, match=r"update\.group"):
        updates.apply(off, tmp_path / "x.tar")
    with pytest.raises(RequestError, match=r"update\.group"):
        updates.trust_anew(off)
    with pytest.raises(RequestError, match="no release is on its way in"):
        updates.cancel(off)
    with pytest.raises(RequestError, match="nothing to go back to"):
        updates.roll_back(off)
    assert updates.show_update(off, as_json=False) == 0
    assert "updates are off" in capsys.readouterr().out
    assert not (tmp_path / "state").exists()


def test_a_check_of_an_empty_folder_and_of_a_budget_that_is_spent_end_and_say_so(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "FOLDER_LOOK_S", 0.2)
    monkeypatch.setattr(updates, "LOOK_S", 0.2)
    folder_only = settings_at(tmp_path / "folder", fleet, url="")
    assert updates.check(folder_only, again=False) == 0
    assert capsys.readouterr().out == f"no bundle waits in {tmp_path}/folder/state/update/inbox\n"
    spent = settings_at(tmp_path / "spent", fleet)
    spent = replace(spent, update=replace(spent.update, looks_per_day=0))
    assert updates.check(spent, again=False) == 1
    assert "nothing was found within" in capsys.readouterr().out


def test_a_repository_that_is_not_there_is_told(fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_at(tmp_path, fleet, url=f"file://{tmp_path}/nowhere")
    assert updates.check(settings, again=False) == 1
    assert capsys.readouterr().out.startswith("repository: ")
    assert read_record(Path(settings.state_dir)).looked_failed


def test_a_group_that_has_no_release_is_nothing_new_and_says_what_that_may_mean(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_at(tmp_path, fleet)
    settings = replace(settings, update=replace(settings.update, group="canari"))
    assert updates.check(settings, again=False) == 0
    assert (
        "no release for the group canari: none was published for it there, or it is called otherwise" in capsys.readouterr().out
    )
    assert not read_record(Path(settings.state_dir)).looked_failed
