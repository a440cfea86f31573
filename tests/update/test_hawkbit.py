"""hawkBit over a real socket: an action ends as the record says, whatever is cut, lost or cancelled on the way."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.clock import SystemClock
from edge_agent.update import Verdict
from edge_agent.update.exchange import Meter
from edge_agent.update.hawkbit import MAX_REFUSALS
from edge_agent.update.jobs import RemoteBundle
from edge_agent.update.machine import Cancelled, Soaked
from edge_agent.update.places import opened
from tests.update.bundles import END, header, padded
from tests.update.hawkbit_device import POLL_S, STEP_S, Device, Fate, action_of, settle
from tests.update.hawkbit_stub import Action, Fault, Hawkbit, State, hawkbit

STAGES = ("unseen", "looking", "fetching", "verified", "staged", "probing", "trial", "ended")
FATES: tuple[Fate, ...] = ("commits", "cannot-be-installed", "fails-probe", "fails-trial")
SLEEP = f"00:00:{int(POLL_S) - 1}"


def as_recorded(device: Device, action: Action, *, cancel_was_wanted: bool) -> State:
    """How the server must see an action that is over."""
    ended = [each for each in device.record.ended if action_of(each.ticket) == action.id]
    if not ended:
        return "canceled"
    assert len(ended) == 1
    match ended[0].result:
        case "committed":
            return "finished"
        case "cancelled" if cancel_was_wanted:
            return "canceled"
    return "error"


def until_committed(device: Device) -> None:
    """Until its first release is."""
    while device.record.active is None:
        device.step()


def said(action: Action) -> list[tuple[str, str, str]]:
    return [feedback[:3] for feedback in action.feedback]


@pytest.mark.parametrize("fate", FATES)
def test_a_deployment_ends_as_the_record_says_and_is_told_on_the_way(tmp_path: Path, fate: Fate) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path, fate)
        action = server.assign()
        device.steps()
        assert action.state == ("finished" if fate == "commits" else "error")
        assert action.state == as_recorded(device, action, cancel_was_wanted=False)
        assert [execution for _, execution, _ in said(action)] == ["proceeding", "downloaded", "closed"]
        assert server.authorizations == {"TargetToken secret"}


def test_two_deployments_in_a_row_and_what_the_device_is(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        first, second = server.assign(), server.assign()
        device.steps()
        assert (first.state, second.state) == ("finished", "finished")
        assert [action_of(lead.ticket) for lead in device.leads] == [1, 2]
        device.steps()
        assert server.attributes["edge-agent.release"] == "r-2"
        assert server.attributes["edge-agent.counter"] == "2"
        assert not server.wants_attributes


def test_closed_is_not_said_before_the_record_says_so(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        device.busy_steps = 7
        action = server.assign()
        while device.record.active is None:
            assert "closed" not in [execution for _, execution, _ in said(action)]
            device.step()
        device.steps()
        assert action.state == "finished"


def test_a_cancellation_that_is_seen_when_the_release_is_committed_is_rejected(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        device.busy_steps = 8
        action = server.assign()
        while device.stage != "trial":
            device.step()
        server.cancel(action)
        device.asks_every = 1_000  # the worker is at something else
        device.source.hint()
        for _ in range(4):
            device.source.lead()
            settle(device.source)
            device.clock.s += STEP_S
        device.apply(Soaked())
        device.steps()
        assert ("cancelAction", "rejected", "failure") in said(action)
        assert action.state == "finished"


@pytest.mark.parametrize("stage", STAGES)
def test_a_cancellation_in_any_stage_is_confirmed_or_comes_too_late(tmp_path: Path, stage: str) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        device.busy_steps = 8
        action = server.assign()
        cancelled = stage == "unseen" and server.cancel(action)
        for _ in range(200):
            if not cancelled and (device.stage == stage or (stage == "ended" and device.record.ended)):
                cancelled = server.cancel(action)
            device.step()
        assert cancelled
        assert device.told
        assert action.state == as_recorded(device, action, cancel_was_wanted=True)
        assert action.state == ("finished" if stage == "ended" else "canceled")
        if stage not in ("unseen", "looking", "ended"):
            assert [ended.result for ended in device.record.ended] == ["cancelled"]


def test_a_newer_deployment_while_one_is_cancelled(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        device.busy_steps = 8
        first = server.assign()
        while device.stage != "trial":
            device.step()
        server.cancel(first)
        second = server.assign()
        device.steps()
        assert (first.state, second.state) == ("canceled", "finished")
        assert device.record.active is not None
        assert device.record.active.release == "r-2"


def test_a_release_that_a_person_gave_up_is_a_failure_there(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        device.busy_steps = 3
        action = server.assign()
        while device.stage != "trial":
            device.step()
        device.apply(Cancelled("a person wants it"))
        device.steps()
        assert action.state == "error"
        assert "a person wants it" in action.feedback[-1][3]


@pytest.mark.parametrize(
    ("verdicts", "state", "leads"),
    [
        ([Verdict.runs], "finished", 1),
        ([Verdict.unwanted], "error", 1),
        ([Verdict.nothing], "error", 1),
        ([Verdict.refused] * MAX_REFUSALS, "error", MAX_REFUSALS),
        ([Verdict.refused, Verdict.failed, Verdict.failed], "finished", 4),
        ([Verdict.failed] * 6, "finished", 7),
    ],
)
def test_what_never_became_a_candidate_is_told_too(tmp_path: Path, verdicts: list[Verdict], state: State, leads: int) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        device.verdicts = list(verdicts)
        action = server.assign()
        for _ in range(300):
            device.step()
        assert action.state == state
        assert len(device.leads) == leads
        assert len(action.feedback) < 12


def test_an_end_that_cannot_be_told_for_weeks_is_told_after_them(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        action = server.assign()
        until_committed(device)
        server.faults = lambda method, path: 503
        for week in range(3):
            for _ in range(20):
                device.clock.s += 7 * 86_400 / 20
                device.step()
            assert not device.told
            if week == 1:
                device.start()
        server.faults = lambda method, path: ""
        device.clock.s += 7_200
        device.steps()
        assert action.state == "finished"


def test_an_end_is_not_told_to_another_server(tmp_path: Path) -> None:
    with hawkbit() as server, hawkbit() as other:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        server.assign()
        until_committed(device)
        device.settings = msgspec.structs.replace(device.settings, url=other.url)
        device.start()
        other.assign(window="unavailable")
        device.steps()
        assert device.told
        assert other.actions[1].is_active


def test_an_action_that_the_server_forgot_or_closed_needs_no_telling(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        first = server.assign()
        until_committed(device)
        first.state = "error"  # an operator forced it
        device.steps()
        second = server.assign()
        while device.record.active is None or device.record.active.counter != second.id:
            device.step()
        del server.actions[second.id]
        device.steps()
        assert device.told


def test_an_action_that_is_offered_after_all_was_not_told(tmp_path: Path) -> None:
    """Whatever stands before the server says 404 while the server is renewed."""
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        action = server.assign()
        until_committed(device)
        server.faults = lambda method, path: 404
        device.steps()
        server.faults = lambda method, path: ""
        device.clock.s += 7_200
        device.steps()
        assert action.state == "finished"


def test_a_window_is_waited_for_and_said_once(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        action = server.assign(window="unavailable", handling="attempt")
        for _ in range(60):
            device.step()
        assert not device.leads
        assert said(action) == [("deploymentBase", "scheduled", "none")]
        action.window = "available"
        device.steps()
        assert action.state == "finished"


@pytest.mark.parametrize(
    "what",
    [
        {"handling": "skip"},
        {"filename": "release.zip"},
        {"others": ("another.tar",)},
        {"bundle": b""},
        {"links": {}},
        {"links": {"download": "https://user:word@cdn.example/release.tar"}},
        {"links": {"download-http": "http://cdn.example/release.tar"}},
        {"links": {"download": "ftp://cdn.example/release.tar"}},
    ],
)
def test_a_deployment_that_cannot_be_carried_out_fails_with_words(tmp_path: Path, what: dict[str, object]) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        action = server.assign(**what)
        for _ in range(40):
            device.step()
        assert not device.leads
        assert action.state == "error"
        assert len(action.feedback) == 1
        assert action.feedback[0][3][0]


def test_a_bundle_elsewhere_is_fetched_without_the_token(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        server.assign(links={"download": "https://cdn.example/release.tar", "download-http": "http://cdn.example/release.tar"})
        for _ in range(20):
            device.step()
        place = device.leads[0].place
        assert place == RemoteBundle(url="https://cdn.example/release.tar", size_bytes=6)


def test_the_server_s_own_bundle_is_fetched_with_the_token_and_asked_for_by_number(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        own = f"{server.url}{server.base}/softwaremodules/1/artifacts/release.tar"
        server.assign(links={"download": "https://cdn.example/release.tar", "download-http": own})
        server.url = "http://localhost:8080"  # what a server behind a proxy says it is called
        device.steps()
        assert device.leads[0].place == RemoteBundle(
            url=own, size_bytes=6, authorization_file=str(tmp_path / "token"), authorization_scheme="TargetToken"
        )
        assert server.actions[1].state == "finished"


def test_the_bundle_can_be_read_where_it_is(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as bundle:
        member = tarfile.TarInfo("metadata/timestamp.json")
        member.size = 5
        bundle.addfile(member, io.BytesIO(b"hello"))
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        server.assign(bundle=made.getvalue()[: 2 * 512 + 1_024])  # a record's padding is no part of a bundle
        device.steps()
        with opened(device.leads[0].place, SystemClock(), Meter(1 << 20), 10.0) as place:
            parts = place.file("metadata/timestamp.json", 10.0)
            assert parts is not None
            assert b"".join(parts) == b"hello"
        assert server.authorizations == {"TargetToken secret"}


def test_a_blob_of_many_pieces_is_one_entry_of_those_that_the_server_takes(tmp_path: Path) -> None:
    name, data, piece_bytes = "targets/blobs/" + "ab" * 32, bytes(range(256)) * 400, 512
    bundle = header(name, len(data)) + padded(data) + END
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        action = server.assign(bundle=bundle)
        device.steps()
        with opened(device.leads[0].place, SystemClock(), Meter(1 << 20), 10.0) as place:
            offsets = range(0, len(data), piece_bytes)
            came = b"".join(place.piece(name, at, piece_bytes, 10.0, until=len(data)) for at in offsets)
        assert came == data
        headers = 2  # the first block and the last two, each with what is near
        assert action.downloads == 1 + headers


def test_the_server_says_how_often_it_wants_to_be_asked_and_unchanged_deployments_are_not_sent_again(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = "00:02:00"
        device = Device(server.url, tmp_path)
        server.wants_attributes = False
        action = server.assign(window="unavailable")
        for _ in range(int(3_600 / STEP_S)):
            device.step()
        polls = [asked for asked in server.asked if asked.endswith(server.base)]
        assert 25 <= len(polls) <= 31
        tags = [asked.split()[2:] for asked in server.asked if f"deploymentBase/{action.id}?" in asked]
        assert tags[0] == []
        assert all(tags[1:])


def test_a_wrong_token_is_said_once_and_asked_about_less_and_less(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with hawkbit() as server:
        device = Device(server.url, tmp_path, token="wrong")
        server.assign()
        for _ in range(int(24 * 3_600 / STEP_S)):
            device.step()
        assert caplog.text.count("it does not know the token") == 1
        assert "it does not know the token" in device.source.trouble
        assert "wrong" not in caplog.text
        assert len(server.asked) < 40
        (tmp_path / "token").write_text("secret")
        device.clock.s += 4_000
        device.steps()
        assert server.actions[1].state == "finished"
        assert device.source.trouble == ""


def test_a_server_that_is_busy_is_left_alone_as_long_as_it_asks(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.retry_after = "5000"
        server.faults = lambda method, path: 429
        device = Device(server.url, tmp_path)
        while not server.asked:
            device.step()
        for _ in range(int(4_900 / STEP_S)):
            device.step()
        assert len(server.asked) == 1


def test_confirmation_is_not_given_and_that_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        device = Device(server.url, tmp_path)
        action = server.assign(state="waiting")
        for _ in range(30):
            device.step()
        assert caplog.text.count("auto-confirmation") == 1
        assert not device.leads
        server.actions[action.id] = Action(id=action.id)  # somebody confirmed it there
        device.steps()
        assert server.actions[action.id].state == "finished"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fate=st.sampled_from(FATES),
    stage=st.sampled_from((*STAGES, "never")),
    cuts=st.sets(st.integers(0, 120), max_size=12),
    losses=st.integers(0, 2**32),
    rate=st.sampled_from((0.0, 0.2, 0.5)),
    busy_steps=st.integers(1, 6),
    asks_every=st.integers(1, 5),
)
def test_whatever_is_cut_or_lost_the_action_ends_as_the_record_says(
    tmp_path: Path, fate: Fate, stage: str, cuts: set[int], losses: int, rate: float, busy_steps: int, asks_every: int
) -> None:
    with hawkbit() as server:
        server.sleep = SLEEP
        rng = random.Random(losses)
        faults: tuple[Fault, ...] = ("cut-before", "cut-after", 500, 503, 429, 401, 409)
        server.faults = lambda method, path: rng.choice(faults) if rng.random() < rate else ""
        device = Device(server.url, tmp_path, fate)
        device.busy_steps, device.asks_every = busy_steps, asks_every
        actions = [server.assign()]
        wanted: set[int] = set()
        for number in range(130):
            at = device.stage if not device.record.ended else "ended"
            if not wanted and (at == stage or stage == "unseen") and server.cancel(actions[0]):
                wanted.add(1)
            if number == 60:
                actions.append(server.assign())
            if number in cuts:
                device.start()
            device.step()
        server.faults = lambda method, path: ""
        _run_out(server, device)
        for action in actions:
            assert action.state == as_recorded(device, action, cancel_was_wanted=action.id in wanted)


def _run_out(server: Hawkbit, device: Device) -> None:
    """Until the server has no action left."""
    device.clock.s += 7_200
    for _ in range(400):
        if device.told and not any(action.is_active for action in server.actions.values()):
            return
        device.step()
    raise AssertionError(f"{device.record}, {server.actions}")
