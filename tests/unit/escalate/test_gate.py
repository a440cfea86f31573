"""The bounds of one backend taken together: what holds a question back, and what is kept of it."""

from __future__ import annotations

import json
from random import Random

import pytest
from msgspec.structs import replace

from edge_agent.config.settings import EscalationSettings
from edge_agent.errors import BackendRefusalError, TryLaterError
from edge_agent.escalate.contract import Usage
from edge_agent.escalate.gate import BACKOFF, BREAKER, BUDGET, FORMAT_UNSUPPORTED, Gate, Held, Reservation
from tests.journals import T0_S, TwoClocks

SETTINGS = EscalationSettings(requests_per_day=3, breaker_failures=2, breaker_pause_s=100.0, backoff_min_s=4.0)
ONE = Usage(tokens=10, bytes=100, money=0.1)


class Kept:
    """A gate, its clock and the meters that were kept."""

    def __init__(self, settings: EscalationSettings = SETTINGS) -> None:
        self.clock = TwoClocks(T0_S)
        self.meters: dict[str, bytes] = {}
        self.settings = settings
        self.gate = self.open()

    def open(self, fingerprint: str = "a", boot: str = "boot-1") -> Gate:
        return Gate(self.settings, fingerprint=fingerprint, kept=self.meters.get, clock=self.clock, boot=boot, rng=Random(1))

    def reserve(self) -> Reservation:
        reserved = self.gate.reserve(ONE)
        assert isinstance(reserved, Reservation)
        self.meters |= reserved.meters()
        self.gate.take(reserved)
        return reserved

    def keep(self) -> None:
        self.meters |= self.gate.meters()

    def held(self, severity: float = 0.5) -> str:
        held = self.gate.held(severity)
        return held.reason if held is not None else ""


def test_nothing_holds_the_first_question() -> None:
    assert Kept().held() == ""


def test_a_budget_that_is_spent_holds_until_the_day_is_over() -> None:
    kept = Kept()
    for _ in range(3):
        kept.gate.answered(kept.reserve(), None)
    held = kept.gate.reserve(ONE)
    assert isinstance(held, Held)
    assert (held.reason, held.for_s) == ("budget-requests", 86_400.0)
    kept.clock.pass_s(held.for_s)
    kept.reserve()


def test_a_question_that_fits_no_day_is_not_waited_for() -> None:
    assert Kept().gate.reserve(Usage(tokens=10_000_000)) == "budget-tokens"


def test_a_kill_after_the_commit_costs_the_most_and_never_nothing() -> None:
    kept = Kept()
    for _ in range(3):
        kept.reserve()
        kept.gate = kept.open()
    assert isinstance(kept.gate.reserve(ONE), Held)


def test_a_commit_that_failed_has_spent_nothing() -> None:
    kept = Kept()
    for _ in range(10):
        assert isinstance(kept.gate.reserve(ONE), Reservation)


@pytest.mark.parametrize("reason", ["connection", "tls"])
def test_an_outage_does_not_use_up_the_day(reason: str) -> None:
    kept = Kept()
    for _ in range(10):
        kept.gate.failed(kept.reserve(), TryLaterError(reason))
        kept.clock.pass_s(2_000)
    kept.reserve()


def test_a_question_that_was_sent_stays_spent_though_no_answer_came() -> None:
    kept = Kept()
    for _ in range(3):
        kept.gate.failed(kept.reserve(), TryLaterError("timeout"))
        kept.clock.pass_s(2_000)
    assert isinstance(kept.gate.reserve(ONE), Held)


def test_failures_wait_then_open_the_breaker_and_one_trial_closes_it() -> None:
    kept = Kept()
    kept.gate.failed(kept.reserve(), TryLaterError("status-503"))
    assert kept.held() == "backoff"
    kept.clock.pass_s(4)
    assert kept.held() == ""
    kept.gate.failed(kept.reserve(), TryLaterError("status-503"))
    assert (kept.held(), kept.gate.failing) == ("breaker-open", "status-503")
    assert kept.held(severity=1.0) == "breaker-open"
    kept.keep()
    kept.gate = kept.open()
    assert kept.held() == "breaker-open"
    kept.clock.pass_s(100)
    assert kept.held() == ""
    kept.gate.answered(kept.reserve(), None)
    assert (kept.held(), kept.gate.failing) == ("", "")


def test_what_the_other_side_asks_for_is_waited() -> None:
    kept = Kept()
    kept.gate.failed(kept.reserve(), TryLaterError("status-429", retry_after_s=1_000))
    kept.keep()
    kept.gate = kept.open(boot="boot-2")
    kept.clock.pass_s(999)
    assert kept.held() == "backoff"
    kept.clock.pass_s(1)
    assert kept.held() == ""


def test_a_server_that_asks_to_be_asked_at_once_is_waited_for_all_the_same() -> None:
    kept = Kept()
    kept.gate.failed(kept.reserve(), TryLaterError("status-429", retry_after_s=0.0))
    assert kept.held() == "backoff"


def test_another_form_of_the_same_question_waits_for_nothing() -> None:
    kept = Kept()
    kept.gate.failed(kept.reserve(), TryLaterError(FORMAT_UNSUPPORTED, retry_after_s=0.0))
    assert kept.held() == ""


def test_a_form_that_a_server_does_not_take_costs_a_request_and_its_bytes() -> None:
    kept = Kept()
    kept.gate.failed(kept.reserve(), TryLaterError(FORMAT_UNSUPPORTED, retry_after_s=0.0))
    kept.keep()
    spent = json.loads(kept.meters[BUDGET])
    assert (spent["requests"], spent["tokens"], spent["bytes"], spent["money"]) == (1, 0, 100, 0)


def test_a_refusal_of_everything_opens_the_breaker_until_the_configuration_changes() -> None:
    kept = Kept()
    kept.gate.refused(kept.reserve(), BackendRefusalError("status-401", breaks=True))
    assert (kept.held(), kept.gate.broken) == ("breaker-open", "status-401")
    kept.keep()
    kept.gate = kept.open("b")
    assert (kept.held(), kept.gate.broken) == ("", "")


def test_a_refusal_of_one_question_leaves_the_others_alone() -> None:
    kept = Kept()
    kept.gate.refused(kept.reserve(), BackendRefusalError("answer-cut"))
    assert kept.held() == ""


def test_a_window_holds_all_but_the_critical() -> None:
    kept = Kept(replace(SETTINGS, windows=("00:00-00:01",)))
    assert kept.held(0.5) == "window-closed"
    assert kept.held(0.95) == ""


def test_damaged_meters_hold_rather_than_let_go() -> None:
    kept = Kept()
    kept.meters = {BUDGET: b"{", BREAKER: b"\xff", BACKOFF: b"[]"}
    kept.gate = kept.open()
    assert kept.held() == "backoff"
    kept.clock.pass_s(1_000)
    held = kept.gate.reserve(ONE)
    assert isinstance(held, Held)
    assert held.reason == "budget-unreadable"


def test_running_time_is_kept_now_and_then() -> None:
    kept = Kept()
    kept.gate.answered(kept.reserve(), None)
    assert not kept.gate.due_for_saving()
    kept.clock.pass_s(7_200)
    assert kept.gate.due_for_saving()
    kept.keep()
    kept.gate.saved()
    assert not kept.gate.due_for_saving()


@pytest.mark.parametrize(("reason", "tokens"), [("status-422", 0), ("answer-cut", 10), ("content-filter", 10)])
def test_an_answer_that_is_none_is_charged_for_and_an_error_is_not(reason: str, tokens: int) -> None:
    kept = Kept()
    kept.gate.refused(kept.reserve(), BackendRefusalError(reason))
    kept.keep()
    assert json.loads(kept.meters[BUDGET])["tokens"] == tokens
    assert json.loads(kept.meters[BUDGET])["bytes"] == 100
