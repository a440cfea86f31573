"""The escalate worker: what is asked, when, how often, and what an answer comes to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.chain import first_break
from edge_agent.config.settings import EscalationSettings
from edge_agent.errors import BackendRefusalError, StorageError, TryLaterError
from edge_agent.escalate.contract import Reply, Request
from edge_agent.workers.escalate import COLLECT_S, REOPEN_S, REVIEW_S, SETTLE_S
from tests.unit.workers.escalation import Behaviour, Station, examples, failing, right, saying, spike
from tests.unit.workers.parts import TOPICS

OPENAI = EscalationSettings(backend="openai")
DAY_S = 86_400.0


def never(request: Request) -> Reply | None:
    raise AssertionError("nothing may leave")


def nothing_yet(request: Request) -> Reply | None:
    return None


def test_a_right_answer_revises_the_summary_and_says_so(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        station.queue(spike())
        before = station.summary()
        station.work()
        assert station.stands() == ("answered", "")
        after = station.summary()
        assert (after.route, after.revised, after.model, after.revision) == ("cloud", True, "openai:large-1", before.revision)
        assert after.slots == before.slots
        (told,) = station.told(TOPICS.escalation("i-1"))
        assert (told["state"], told["attempts"], told["id"]) == ("answered", 1, station.backend.sent[0].id)
        assert station.told(TOPICS.summary_of("i-1"))[-1]["revised"] is True
        assert station.told(TOPICS.summary)[-1]["revised"] is True


def test_a_late_answer_about_an_earlier_incident_is_not_the_latest_summary(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        station.queue(spike(1))
        station.latest = "i-2"
        station.work()
        assert station.told(TOPICS.summary_of("i-1"))[-1]["revised"] is True
        assert station.told(TOPICS.summary)[-1]["revised"] is False


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"sentences": ["<stream:0> fell sharply."]}', "slot-missing"),
        ('{"sentences": []}', None),
        ("no JSON at all, 9.5 mm/s", None),
    ],
)
def test_an_answer_that_fails_is_refused_and_the_text_stands(tmp_path: Path, text: str, why: str | None) -> None:
    with Station(tmp_path, saying(text)) as station:
        station.queue(spike())
        before = station.summary()
        station.work()
        state, outcome = station.stands()
        assert state == "refused"
        assert outcome == why if why else outcome
        assert station.summary() == before
        assert station.metrics.flow.get(f"escalations_refused_{outcome}") == 1
        assert len(station.backend.sent) == 1


def test_the_most_severe_is_asked_first_then_the_oldest(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        station.queue(spike(1, 0.5), spike(2, 0.5), spike(3, 0.8))
        ids = [station.escalation(n).id for n in (3, 1, 2)]
        station.work()
        assert [request.id for request in station.backend.sent] == ids


def test_what_leaves_is_logged_before_it_leaves_with_its_hash(tmp_path: Path) -> None:
    with Station(tmp_path, never) as station:
        seen: list[bytes] = []

        def looked(request: Request) -> Reply:
            seen.extend(entry.body for entry in station.journal.log("egress"))
            return right(request)

        station.backend.behaviours = [looked]
        station.queue(spike())
        station.work()
        (entry,) = map(json.loads, seen)
        body = station.backend.sent[0].body
        assert entry["sha256"] == hashlib.sha256(body).hexdigest()
        assert entry["bytes"] == len(body)
        assert first_break(station.journal.log("egress"), station.journal.log_anchor("egress")) is None


def test_every_fate_stands_in_the_audit_log(tmp_path: Path) -> None:
    with Station(tmp_path, right, saying("{}")) as station:
        station.queue(spike(1, 0.9), spike(2, 0.8))
        station.work()
        assert (station.stands(1)[0], station.stands(2)[0]) == ("answered", "refused")
        assert len(station.journal.log("audit")) == 2
        assert first_break(station.journal.log("audit"), station.journal.log_anchor("audit")) is None


def test_a_kill_while_a_question_is_under_way_asks_again_under_the_same_id(tmp_path: Path) -> None:
    class Killed(BaseException):
        """Stands for the end of the process."""

    def killed(request: Request) -> Reply | None:
        raise Killed

    with Station(tmp_path, killed, right) as station:
        station.queue(spike())
        with pytest.raises(Killed):
            station.work()
        station.restart()
        station.work()
        first, second = station.backend.sent
        assert first == second
        assert station.stands() == ("answered", "")
        assert station.escalation().attempts == 2


def test_a_question_under_which_the_agent_always_dies_is_given_up(tmp_path: Path) -> None:
    class Killed(BaseException):
        """Stands for the end of the process."""

    def killed(request: Request) -> Reply | None:
        raise Killed

    with Station(tmp_path, killed, settings=replace(OPENAI, max_attempts=3)) as station:
        station.queue(spike())
        for _ in range(3):
            with pytest.raises(Killed):
                station.work()
            station.restart()
        station.work()
        assert len(station.backend.sent) == 3
        assert station.stands() == ("dropped", "too-many-attempts")


def test_after_a_start_at_a_time_in_the_future_an_open_incident_is_asked_about(tmp_path: Path) -> None:
    with Station(tmp_path, right) as station:
        station.clock.wall_s = station.clock.now_s() + 80 * 365 * DAY_S
        station.queue(spike(closed=False))
        station.clock.wall_s = station.clock.now_s() - 80 * 365 * DAY_S
        station.restart()
        station.work()
        station.clock.pass_s(SETTLE_S + REVIEW_S)
        station.work()
        assert station.stands() == ("answered", "")


def test_a_server_that_is_away_costs_no_attempts_and_loses_nothing(tmp_path: Path) -> None:
    with Station(tmp_path, failing(TryLaterError("connection"))) as station:
        station.queue(spike(1), spike(2))
        for _ in range(200):
            station.work()
            station.clock.pass_s(1_000)
        assert station.stands(1) == ("queued", "connection")
        assert station.escalation(1).attempts == station.escalation(2).attempts == 0
        assert any("does not answer" in text for text in station.metrics.conditions.current())
        station.backend.behaviours = [right]
        station.clock.pass_s(1_000)
        station.work()
        station.clock.pass_s(1_000)
        station.work()
        assert (station.stands(1)[0], station.stands(2)[0]) == ("answered", "answered")
        assert station.metrics.conditions.current() == ()


def test_a_question_that_is_always_put_off_is_given_up(tmp_path: Path) -> None:
    settings = replace(OPENAI, max_attempts=3)
    with Station(tmp_path, failing(TryLaterError("status-503")), settings=settings) as station:
        station.queue(spike())
        for _ in range(5):
            station.work()
            station.clock.pass_s(1_000)
        assert station.stands() == ("dropped", "too-many-attempts")
        assert len(station.backend.sent) == 3


def test_a_refusal_of_everything_is_final_for_one_and_holds_the_others(tmp_path: Path) -> None:
    with Station(tmp_path, failing(BackendRefusalError("status-401", breaks=True))) as station:
        station.queue(spike(1), spike(2))
        station.work()
        assert station.stands(1) == ("refused", "status-401")
        assert station.stands(2) == ("queued", "")
        assert any("check its settings, the key and the account" in t for t in station.metrics.conditions.current())
        assert len(station.backend.sent) == 1


def test_a_spent_budget_holds_and_says_so(tmp_path: Path) -> None:
    with Station(tmp_path, settings=replace(OPENAI, requests_per_day=1)) as station:
        station.queue(spike(1), spike(2))
        station.work()
        assert (station.stands(1)[0], station.stands(2)[0]) == ("answered", "queued")
        assert any("budget-requests" in text for text in station.metrics.conditions.current())
        station.restart()
        station.work()
        assert station.stands(2)[0] == "queued"
        station.clock.pass_s(DAY_S)
        station.work()
        assert station.stands(2)[0] == "answered"


def test_an_open_incident_is_asked_about_once_it_rests(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        station.queue(spike(closed=False))
        station.work()
        assert station.backend.sent == []
        station.clock.pass_s(SETTLE_S)
        station.work()
        assert station.stands() == ("answered", "")


def test_a_critical_incident_does_not_wait(tmp_path: Path) -> None:
    with Station(tmp_path, settings=replace(OPENAI, windows=("00:00-00:01",))) as station:
        station.queue(spike(1, severity=0.99, closed=False), spike(2, severity=0.5))
        station.work()
        assert (station.stands(1)[0], station.stands(2)[0]) == ("answered", "queued")


def test_a_newer_revision_takes_the_place_of_what_waits(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        station.queue(spike(closed=False), spike(revision=2))
        station.work()
        (request,) = station.backend.sent
        assert station.escalation().revision == 2
        assert request.id == station.escalation().id


def test_an_answer_about_a_revision_that_is_over_is_dropped(tmp_path: Path) -> None:
    with Station(tmp_path, nothing_yet, settings=EscalationSettings(backend="spool")) as station:
        station.queue(spike(severity=0.99, closed=False))
        station.work()
        request = station.backend.sent[0]
        station.journal.record([spike(severity=0.99, revision=2)], [])
        station.backend.later = [right(request)]
        station.clock.pass_s(COLLECT_S)
        station.work()
        assert station.stands() == ("dropped", "superseded")
        assert not station.summary().revised


def test_an_answer_that_comes_later_is_taken_once_also_after_a_restart(tmp_path: Path) -> None:
    with Station(tmp_path, nothing_yet, settings=EscalationSettings(backend="spool")) as station:
        station.queue(spike())
        station.work()
        assert station.stands() == ("sent", "awaited-spool")
        station.restart()
        station.work()
        assert len(station.backend.sent) == 1
        reply = right(station.backend.sent[0])
        for _ in range(2):
            station.backend.later = [reply]
            station.clock.pass_s(COLLECT_S)
            station.work()
        assert station.stands() == ("answered", "")
        assert station.metrics.flow.get("escalations_answered") == 1


def test_while_the_disk_refuses_an_answer_no_others_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To fetch the next ones says that the last ones are kept: a spool would remove them."""

    def refuse(*_: object, **__: object) -> bool:
        raise StorageError("no room")

    with Station(tmp_path, nothing_yet, settings=EscalationSettings(backend="spool")) as station:
        station.queue(spike(1), spike(2))
        station.work()
        station.backend.later = [right(request) for request in station.backend.sent]
        with monkeypatch.context() as patched:
            patched.setattr(station.journal, "settle", refuse)
            for _ in range(2):
                station.clock.pass_s(COLLECT_S)
                with pytest.raises(StorageError):
                    station.work()
        station.backend.later = [right(station.backend.sent[0])]
        station.clock.pass_s(COLLECT_S)
        station.work()
        assert [station.stands(number) for number in (1, 2)] == [("answered", ""), ("answered", "")]


def test_one_that_is_awaited_in_vain_is_sent_again(tmp_path: Path) -> None:
    settings = EscalationSettings(backend="spool", answer_within_s=3_600.0)
    with Station(tmp_path, nothing_yet, settings=settings) as station:
        station.queue(spike())
        station.work()
        station.clock.pass_s(3_599)
        station.work()
        assert len(station.backend.sent) == 1
        station.clock.pass_s(REVIEW_S)
        station.work()
        assert len(station.backend.sent) == 2


def test_those_that_are_awaited_do_not_stand_in_the_way_of_the_others(tmp_path: Path) -> None:
    with Station(tmp_path, nothing_yet, settings=EscalationSettings(backend="spool")) as station:
        station.queue(*(spike(n, 0.9) for n in range(1, 100)), spike(100, 0.5))
        station.work()
        assert station.stands(100) == ("sent", "awaited-spool")


def test_another_backend_does_not_wait_for_the_answers_of_the_last_one(tmp_path: Path) -> None:
    with Station(tmp_path, nothing_yet, settings=EscalationSettings(backend="spool")) as station:
        station.queue(spike())
        station.work()
        station.settings = OPENAI
        station.backend.behaviours = [right]
        station.restart()
        station.work()
        assert station.stands() == ("answered", "")


def test_an_answer_that_comes_as_a_request_gets_its_fate(tmp_path: Path) -> None:
    with Station(tmp_path, nothing_yet, settings=EscalationSettings(backend="mqtt")) as station:
        station.queue(spike())
        station.work()
        request = station.backend.sent[0]
        futures = [
            station.worker.answer(Reply(id="q-unknown", text="{}")),
            station.worker.answer(Reply(id=request.id, text=examples(request))),
            station.worker.answer(Reply(id=request.id, text=examples(request))),
        ]
        station.work()
        assert [future.result(0) for future in futures] == ["unknown-question", "answered", "answered"]
        assert station.metrics.flow.get("escalations_answered") == 1


def test_too_many_and_too_old_are_dropped_the_least_severe_first(tmp_path: Path) -> None:
    settings = replace(OPENAI, max_waiting=2, max_age_s=7_200.0)
    with Station(tmp_path, failing(TryLaterError("connection")), settings=settings) as station:
        station.queue(spike(1, 0.5), spike(2, 0.9), spike(3, 0.6))
        station.work()
        assert station.stands(1) == ("dropped", "too-many")
        assert (station.stands(2)[0], station.stands(3)[0]) == ("queued", "queued")
        station.clock.pass_s(7_201)
        station.work()
        assert station.stands(2) == station.stands(3) == ("dropped", "too-old")


def test_a_clock_that_is_set_drops_nothing(tmp_path: Path) -> None:
    with Station(tmp_path, failing(TryLaterError("connection"))) as station:
        station.clock.wall_s = 5.0
        station.restart()
        station.queue(spike())
        station.work()
        station.clock.pass_s(60)
        station.clock.wall_s = 1_790_000_000.0
        station.clock.pass_s(60)
        station.work()
        assert station.stands() == ("queued", "connection")


def test_a_backend_that_cannot_be_opened_is_a_condition_and_tried_again(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        good = station.opening

        def missing() -> object:
            raise StorageError("/etc/key: no such file")

        station.opening = missing  # type: ignore[assignment]  # it never returns
        station.queue(spike())
        station.work()
        assert any("/etc/key" in text for text in station.metrics.conditions.current())
        station.opening = good
        station.clock.pass_s(REOPEN_S)
        station.work()
        assert station.stands() == ("answered", "")
        assert station.metrics.conditions.current() == ()


def test_a_question_that_cannot_be_made_does_not_stand_in_the_way(tmp_path: Path) -> None:
    def defect(request: Request) -> Reply | None:
        raise RuntimeError("a defect")

    with Station(tmp_path, defect, right) as station:
        station.queue(spike(1, 0.9), spike(2, 0.8))
        with pytest.raises(RuntimeError):
            station.work()
        station.work()
        assert station.stands(1) == ("dropped", "asking-failed")
        assert station.stands(2) == ("answered", "")


def test_a_stop_keeps_the_meters_and_gives_back_what_was_handed_over(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        station.queue(spike())
        station.work()
        future = station.worker.answer(Reply(id="q", text=""))
        station.worker.finish()
        assert future.cancelled()
        assert station.journal.meter("escalation-budget")


def _stuck_at_the_first() -> Behaviour:
    """A server that is too slow for the first question that it is asked and answers all others."""
    stuck: list[str] = []

    def behave(request: Request) -> Reply | None:
        if not stuck:
            stuck.append(request.id)
        if request.id == stuck[0]:
            raise TryLaterError("timeout")
        return right(request)

    return behave


def test_a_question_that_is_never_answered_does_not_hold_up_the_others_and_is_given_up(tmp_path: Path) -> None:
    settings = EscalationSettings(backend="openai", max_attempts=6, backoff_max_s=2.0)
    with Station(tmp_path, _stuck_at_the_first(), settings=settings) as station:
        station.queue(spike(1, 0.94), *(spike(n, 0.5) for n in range(2, 6)))
        for _ in range(10):
            station.work()
            station.clock.pass_s(REVIEW_S)
        assert [station.stands(n) for n in range(2, 6)] == [("answered", "")] * 4
        assert station.stands(1) == ("queued", "timeout")  # nobody else was answered since: it may be an outage
        station.queue(*(spike(n, 0.5) for n in range(6, 12)))
        for _ in range(20):
            station.work()
            station.clock.pass_s(REVIEW_S)
        assert station.stands(1) == ("dropped", "too-many-attempts")
        assert [station.stands(n) for n in range(6, 12)] == [("answered", "")] * 6


def test_in_an_outage_all_take_turns_and_afterwards_the_most_severe_is_first(tmp_path: Path) -> None:
    settings = EscalationSettings(backend="openai", max_attempts=3, backoff_max_s=2.0, breaker_failures=100)
    with Station(tmp_path, failing(TryLaterError("timeout")), settings=settings) as station:
        station.queue(*(spike(n, severity) for n, severity in ((1, 0.9), (2, 0.8), (3, 0.7))))
        for _ in range(30):
            station.work()
            station.clock.pass_s(REVIEW_S)
        asked = [request.id for request in station.backend.sent]
        assert len(asked) >= 9
        assert asked[:3] == asked[3:6] == [station.escalation(n).id for n in (1, 2, 3)]
        assert [station.stands(n) for n in (1, 2, 3)] == [("queued", "timeout")] * 3
        station.backend.behaviours = [right]
        for _ in range(5):
            station.work()
            station.clock.pass_s(REVIEW_S)
        assert [station.stands(n) for n in (1, 2, 3)] == [("answered", "")] * 3
