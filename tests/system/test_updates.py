"""Releases that come in over the air, with real processes: the agent, its children, a broker, a repository.

Good releases and bad ones, kills, lies, full disks and damaged ones. Whatever happens, a release speaks, detection and MQTT
stay up, and what the broker confirmed is in the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.engines.loading import FACTORY
from edge_agent.update.machine import MAX_TRIES
from edge_agent.update.orders import Check, Orders
from edge_agent.update.record import Record
from edge_agent.workers.health import UPDATE_S
from tests.agent import BASE, Watcher, eventually
from tests.mosquitto import Mosquitto
from tests.system.spoilt_agent import DEED, ENTRY, FACTORY_FOLDER, RELEASE
from tests.system.updating import (
    OTHER_WRITER,
    READINGS,
    UpdatingAgent,
    brought_to_trial,
    burst,
    committed,
    copied,
    outcomes,
    told_by,
    until_told,
)
from tests.update.whole_updates import Fleet

FACTORY_ID = json.loads((FACTORY / "manifest.json").read_bytes())["id"]
KILLS = 20


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet with one release, whose writer has to be opened anew."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    fleet.publish(1, OTHER_WRITER)
    return fleet


@pytest.fixture(scope="module")
def on_trial(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder of a device whose next start begins the trial of that release."""
    state = tmp_path_factory.mktemp("on-trial") / "state"
    brought_to_trial(state, fleet)
    return state


def readings(watcher: Watcher) -> int:
    """How many readings the agent counted since it started."""
    return int(watcher.ask("status", {})["data"]["counts"].get("readings", 0))


def result_of(record: Record) -> tuple[str, str]:
    """Release and result of what ended last."""
    return record.ended[-1].held.release, record.ended[-1].result


@pytest.mark.timeout(240)
def test_a_release_comes_in_while_readings_flow_and_none_is_lost(tmp_path: Path, mosquitto: Mosquitto) -> None:
    fleet = Fleet(tmp_path / "fleet")
    with (
        # A state that lasts no longer than `UPDATE_S` of edge_agent/workers/health.py may pass untold.
        UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet, soak_s=UPDATE_S + 3.0) as agent,
        Watcher(mosquitto.port) as watcher,
    ):
        agent.start()
        assert told_by(watcher, "before") == FACTORY_ID
        fleet.publish(1, OTHER_WRITER)
        assert watcher.ask("update-check", {})["status"] == "ok"
        sent = 1
        while not agent.record().ended:
            burst(watcher, f"meanwhile-{sent}")
            sent += 1
            assert agent.notifications()
            time.sleep(0.3)
        assert result_of(agent.record()) == ("fleet-1", "committed")
        assert told_by(watcher, "after") == "fleet-1"
        sent += 1
        eventually(lambda: readings(watcher) == sent * READINGS, f"{sent * READINGS} readings are counted")
        for number in range(1, sent - 1):
            until_told(watcher, f"meanwhile-{number}")
        eventually(lambda: outcomes(watcher), "the outcome is delivered")
        status = watcher.ask("status", {})["data"]
        assert status["drops"] == {}
        assert status["release"] == "fleet-1"
        eventually(lambda: watcher.documents("update")[-1]["state"] == "idle", "the end of the trial is told")
        states = [each["state"] for each in watcher.documents("update")]
        assert "trial" in states
        with Watcher(mosquitto.port, "late") as late:
            eventually(lambda: late.on("update"), "what is retained arrives")
            retained = late.on("update")[0]
            assert retained.retain
            document = json.loads(retained.payload)
            assert (document["state"], document["release"], document["counter"]) == ("idle", "fleet-1", 1)
            assert [each["outcome"] for each in document["outcomes"]] == ["committed"]
        assert agent.stop() == 0
    assert outcomes(watcher) == [("fleet-1", "committed")]


@pytest.mark.timeout(240)
def test_an_outcome_waits_for_a_broker_that_was_away_the_whole_time(tmp_path: Path, fleet: Fleet) -> None:
    broker = Mosquitto(tmp_path)
    with UpdatingAgent(tmp_path / "agent", broker.port, fleet) as agent:
        agent.start()
        assert agent.update("check").returncode == 0
        assert result_of(agent.until_ended()) == ("fleet-1", "committed")
        assert agent.process is not None
        agent.process.send_signal(signal.SIGSTOP)
        with broker, Watcher(broker.port) as watcher:
            agent.process.send_signal(signal.SIGCONT)
            eventually(lambda: outcomes(watcher), "the outcome is delivered")
            assert told_by(watcher, "after") == "fleet-1"
            assert agent.stop() == 0
            assert outcomes(watcher) == [("fleet-1", "committed")]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_good_release_outlives_kills_in_its_trial(tmp_path: Path, fleet: Fleet, on_trial: Path, mosquitto: Mosquitto) -> None:
    with UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet, soak_s=3.0) as agent, Watcher(mosquitto.port) as watcher:
        copied(on_trial, agent.state)
        for tries_left in range(MAX_TRIES - 1, 0, -1):
            agent.start()
            agent.until_tries_left(tries_left)
            agent.kill()
            assert agent.record().stage == "trial"
        agent.start()
        assert result_of(agent.until_ended()) == ("fleet-1", "committed")
        eventually(lambda: outcomes(watcher), "the outcome is delivered")


@pytest.mark.timeout(240)
def test_a_release_with_which_every_start_ends_is_given_up_and_said_to_be(
    tmp_path: Path, fleet: Fleet, on_trial: Path, mosquitto: Mosquitto
) -> None:
    with UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet, soak_s=600.0) as agent, Watcher(mosquitto.port) as watcher:
        copied(on_trial, agent.state)
        for tries_left in reversed(range(MAX_TRIES)):
            agent.launch()
            agent.until_tries_left(tries_left)
            agent.kill()
        agent.start()
        assert result_of(agent.until_ended()) == ("fleet-1", "rolled-back")
        eventually(lambda: outcomes(watcher) == [("fleet-1", "rolled-back")], "the outcome is delivered")
        assert told_by(watcher, "after") == FACTORY_ID
        reason = "the agent went down 3 times with it"
        eventually(lambda: [each["reason"] for each in watcher.documents("update")[-1]["outcomes"]] == [reason], "and why")


def kill_again_and_again(folder: Path, fleet: Fleet, broker: Mosquitto, kills: int, seed: int) -> Record:
    """Kill the agent at moments of chance while a release comes in and soaks; the record when it came to rest.

    Every burst that the broker confirmed is told of in the end; and every start gets as far as saying that it is ready.
    """
    dice = random.Random(seed)
    with UpdatingAgent(folder / "agent", broker.port, fleet, soak_s=2.0) as agent, Watcher(broker.port) as watcher:
        agent.start()
        agent.kill()
        for number in range(kills):
            agent.start()
            orders = Orders(agent.state / "update")
            orders.give(Check(again=agent.record().stage == "idle"), SystemClock())
            burst(watcher, f"machine-{number}")
            time.sleep(dice.uniform(0.0, 4.0))
            agent.kill()
        agent.start()
        Orders(agent.state / "update").give(Check(again=True), SystemClock())
        eventually(lambda: agent.record().active is not None, f"a good release runs\n{agent.log()[-2000:]}", 120.0)
        agent.until_ended()
        for number in range(kills):
            until_told(watcher, f"machine-{number}")
        assert told_by(watcher, "after") == "fleet-1"
        assert agent.stop() == 0
        return agent.record()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_kills_while_a_release_comes_in_end_in_a_good_release(tmp_path: Path, fleet: Fleet, mosquitto: Mosquitto) -> None:
    assert kill_again_and_again(tmp_path, fleet, mosquitto, 3, 7).stage == "idle"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_twenty_kills_while_a_release_comes_in_end_in_a_good_release(
    tmp_path: Path, fleet: Fleet, mosquitto: Mosquitto, seed: int
) -> None:
    assert kill_again_and_again(tmp_path, fleet, mosquitto, KILLS, seed).stage == "idle"


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        pytest.param("crashes", "the agent went down 3 times with it", id="crashes"),
        pytest.param("hangs", "the worker explain makes no progress since", id="hangs", marks=pytest.mark.slow),
        pytest.param("fails", "the runtime says no; given up", id="fails", marks=pytest.mark.slow),
        pytest.param("leaks", "MiB of memory", id="leaks", marks=pytest.mark.slow),
        pytest.param("says-nothing", "the verifier refused the writer in", id="refused"),
    ],
)
def test_a_release_that_misbehaves_in_minute_nine_of_its_trial_is_taken_back(
    tmp_path: Path, fleet: Fleet, on_trial: Path, mosquitto: Mosquitto, deed: str, reason: str
) -> None:
    """Its probe found nothing wrong with it. What was told the broker is explained, by the release before."""
    environ = {DEED: deed, RELEASE: "fleet-"}
    with (
        UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet, soak_s=600.0, environ=environ, entry=ENTRY) as agent,
        Watcher(mosquitto.port) as watcher,
    ):
        copied(on_trial, agent.state)
        agent.start()
        machines = [f"machine-{number}" for number in range(10)]
        for machine in machines:
            burst(watcher, machine)
        deaths = 0
        until_s = time.monotonic() + 120.0
        while not agent.record().ended:
            assert time.monotonic() < until_s, f"{deaths} deaths, {agent.record()}\n{agent.log()[-4000:]}"
            assert agent.process is not None
            if agent.process.poll() is not None:  # the service manager starts it again
                deaths += 1
                agent.process = None
                agent.launch()
            time.sleep(0.05)
        if deed == "hangs":
            assert agent.until_it_dies() != 0
            agent.start()
        assert deaths == (MAX_TRIES if deed == "crashes" else 0)
        assert result_of(agent.record()) == ("fleet-1", "rolled-back")
        assert reason in agent.record().ended[-1].reason
        eventually(lambda: outcomes(watcher), "the outcome is delivered")
        # What a crash cut off before an incident was opened is learnt anew: detectors keep nothing over a start.
        opened: set[str] = eventually(
            lambda: {each["asset"] for each in watcher.documents("incident/")}, "an incident was opened"
        )
        for machine in sorted(opened & set(machines)):
            until_told(watcher, machine)
        eventually(lambda: watcher.ask("status", {})["data"]["release"] == FACTORY_ID, "the release before is wanted")
        assert told_by(watcher, "after") == FACTORY_ID
        assert agent.stop() == 0
        assert set(outcomes(watcher)) == {("fleet-1", "rolled-back")}


def spoil(release: Path) -> None:
    """Turn one bit of the writer around."""
    model = release / "writer/model.bin"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    # Other names of the same blob are damaged as well, as by a bad block.
    with model.open("r+b") as file:
        file.write(data)


@pytest.fixture(scope="module")
def two_releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, Path]:
    """A fleet whose newest release and the one before it run, and stand, on a device; their writers are two files."""
    folder = tmp_path_factory.mktemp("two")
    fleet = Fleet(folder / "fleet")
    model = (FACTORY / "writer/model.bin").read_bytes()
    for counter in (1, 2):
        fleet.publish(counter, {"writer/model.bin": model + bytes(counter)})
        committed(folder / "state", fleet)
    return fleet, folder / "state"


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("active", "previous", "factory", "speaks"),
    [
        pytest.param(True, False, False, "fleet-1", id="active", marks=pytest.mark.slow),
        pytest.param(False, True, False, "fleet-2", id="previous", marks=pytest.mark.slow),
        pytest.param(True, True, False, FACTORY_ID, id="both", marks=pytest.mark.slow),
        pytest.param(True, True, True, "template-only", id="all"),
    ],
)
def test_what_was_damaged_while_the_agent_was_stopped_gives_way_and_comes_again(
    tmp_path: Path,
    two_releases: tuple[Fleet, Path],
    mosquitto: Mosquitto,
    active: bool,
    previous: bool,
    factory: bool,
    speaks: str,
) -> None:
    fleet, state = two_releases
    inside = tmp_path / "factory"
    shutil.copytree(FACTORY, inside)
    if factory:
        spoil(inside)
    environ = {FACTORY_FOLDER: str(inside)}
    with (
        UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet, environ=environ, entry=ENTRY) as agent,
        Watcher(mosquitto.port) as watcher,
    ):
        copied(state, agent.state)
        record = agent.record()
        for held, damaged in ((record.active, active), (record.previous, previous)):
            assert held is not None
            if damaged:
                spoil(agent.state / "update/releases" / held.manifest_sha256)
        agent.start()
        assert told_by(watcher, "first") == speaks
        if not active:
            assert "was left" in watcher.ask("update-rollback", {})["data"]["done"]
            assert told_by(watcher, "second") == FACTORY_ID
        ended = len(agent.record().ended)
        assert agent.update("check", "--again").returncode == 0
        # The trial is short: it may be over before the command is.
        after = agent.until_ended(ended + 1)
        assert result_of(after) == ("fleet-2", "committed"), agent.log()
        assert told_by(watcher, "third") == "fleet-2"
        assert agent.stop() == 0


def test_two_agents_on_one_state_folder_are_one_too_many(
    tmp_path: Path, two_releases: tuple[Fleet, Path], mosquitto: Mosquitto
) -> None:
    fleet, state = two_releases
    with UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet) as agent:
        copied(state, agent.state)
        agent.start()
        before = agent.record()
        second = agent.command("run", "--config", str(agent.config))
        assert second.returncode != 0
        assert b"another" in second.stderr
        assert agent.update("rollback").returncode == 0
        assert agent.record().active == before.previous
        assert agent.stop() == 0


def on_a_terminal(agent: UpdatingAgent, *arguments: str) -> tuple[int, str]:
    """Run `edge-agent update ...` on a terminal of its own; its exit code and what it showed."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "edge_agent.cli", "update", arguments[0], "--config", str(agent.config), *arguments[1:]]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = bytearray()
    with contextlib.suppress(OSError):  # a terminal that nobody holds any more gives an error, not an end
        while part := os.read(leader, 4_096):
            shown += part
    os.close(leader)
    return process.wait(60), shown.decode()


@pytest.mark.timeout(240)
def test_a_terminal_sees_a_bar_and_what_came_of_it(tmp_path: Path, fleet: Fleet, mosquitto: Mosquitto) -> None:
    with UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet) as agent:
        code, shown = on_a_terminal(agent, "check")
        assert code == 0, shown
        assert re.search(r"\r\x1b\[K(verified|staged|probing) +fleet-1 \[#{30}\] \d\.\d of \d\.\d MB", shown)
        assert shown.endswith("on trial: fleet-1, counter 1, from the agent's next start on\r\n")
        agent.start()
        assert result_of(agent.until_ended()) == ("fleet-1", "committed")
        assert agent.update("rollback").returncode == 0
        assert result_of(agent.record()) == ("fleet-1", "rolled-back")
        assert on_a_terminal(agent, "cancel") == (1, "edge-agent: no release is on its way in, or on trial\r\n")
        assert agent.stop() == 0


@pytest.mark.timeout(240)
def test_hostile_requests_are_answered_and_change_nothing(
    tmp_path: Path, two_releases: tuple[Fleet, Path], mosquitto: Mosquitto
) -> None:
    fleet, state = two_releases
    with UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet) as agent, Watcher(mosquitto.port) as watcher:
        copied(state, agent.state)
        agent.start()
        before = agent.record()
        bodies: tuple[object, ...] = ({"again": "yes"}, {"again": [[[]]]}, {"again": 1}, {"again": None}, [], "check", 7, None)
        for body in bodies:
            answer = watcher.ask("update-check", body)
            assert answer["status"] != "ok", body
        for command in ("update-status", "update-check", "update-cancel", "update-rollback"):
            for data in (
                b"[" * 100_000,
                b'{"again":' * 20_000,
                b"\xff\xfe",
                b"1e999999",
                b'{"a":1,"a":2',
                b"{" * 9,
            ):
                watcher.send(f"{BASE}/request/{command}", data)
        assert watcher.ask("update-status", {})["data"]["release"] == "fleet-2"
        assert told_by(watcher, "after") == "fleet-2"
        assert (agent.record().active, agent.record().ended) == (before.active, before.ended)
        assert agent.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", folder], check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True, timeout=30)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_full_disk_refuses_a_release_with_numbers_and_takes_it_when_there_is_room(
    tmp_path: Path, small_disk: Path, fleet: Fleet, mosquitto: Mosquitto
) -> None:
    update = {"min_free_bytes": 3_000_000}
    with (
        UpdatingAgent(tmp_path / "agent", mosquitto.port, fleet, update=update, state_dir=str(small_disk / "state")) as agent,
        Watcher(mosquitto.port) as watcher,
    ):
        agent.state = small_disk / "state"
        agent.start()
        assert told_by(watcher, "before") == FACTORY_ID
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - 3_500_000)))
        watcher.ask("update-check", {})
        eventually(lambda: agent.record().reason, "it is refused")
        assert re.search(r"\d+ bytes", agent.record().reason), agent.record().reason
        assert told_by(watcher, "meanwhile") == FACTORY_ID
        eventually(lambda: any("bytes" in each for each in watcher.ask("status", {})["data"]["problems"]), "health says so")
        ballast.unlink()
        watcher.ask("update-check", {})
        assert result_of(agent.until_ended()) == ("fleet-1", "committed")
        assert told_by(watcher, "after") == "fleet-1"
        assert agent.stop() == 0
