"""The pure decisions of the link: waits, protocol versions, the canary."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.mqtt.pace import ANSWER_TIMEOUT_S, Backoff, Canary, ProtocolChoice


class TestBackoff:
    def test_the_first_attempt_does_not_wait(self) -> None:
        assert Backoff(1.0, 60.0, 30.0).wait_s(random.Random(1)) == 0.0

    def test_the_ceiling_doubles_up_to_the_maximum(self) -> None:
        backoff = Backoff(1.0, 10.0, 30.0)
        ceilings = []
        for _ in range(6):
            backoff.ended(0.0)
            ceilings.append(backoff.ceiling_s())
        assert ceilings == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]

    def test_a_short_connection_does_not_reset_it_and_a_stable_one_does(self) -> None:
        backoff = Backoff(1.0, 60.0, 30.0)
        for _ in range(4):
            backoff.ended(29.9)
        assert backoff.ceiling_s() == 8.0
        backoff.ended(30.0)
        assert backoff.ceiling_s() == 1.0

    @given(failures=st.integers(1, 5_000), seed=st.integers())
    def test_waits_stay_between_zero_and_the_ceiling(self, failures: int, seed: int) -> None:
        backoff = Backoff(0.5, 60.0, 30.0)
        backoff.failures = failures
        assert 0.0 <= backoff.wait_s(random.Random(seed)) <= backoff.ceiling_s() <= 60.0

    def test_jitter_is_full(self) -> None:
        backoff, rng = Backoff(8.0, 60.0, 30.0), random.Random(7)
        backoff.ended(0.0)
        waits = [backoff.wait_s(rng) for _ in range(400)]
        assert min(waits) < 0.5
        assert max(waits) > 7.5
        assert abs(sum(waits) / len(waits) - 4.0) < 0.5


class TestProtocolChoice:
    def test_auto_begins_with_5_and_falls_back_when_refused_by_name(self) -> None:
        choice = ProtocolChoice("auto")
        assert choice.is_v5
        assert choice.refused_version()
        assert not choice.is_v5

    def test_a_refusal_by_name_counts_even_after_mqtt_5_worked(self) -> None:
        choice = ProtocolChoice("auto")
        choice.accepted()
        assert choice.refused_version()
        assert not choice.is_v5

    def test_unanswered_attempts_take_turns_until_one_version_works(self) -> None:
        choice = ProtocolChoice("auto")
        seen, at_once = [], []
        for _ in range(4):
            seen.append(choice.is_v5)
            at_once.append(choice.unanswered())
        assert seen == [True, False, True, False]
        assert at_once == [True, False, True, False], "only the step down follows at once, else two versions would spin"
        choice.unanswered()
        choice.accepted()
        for _ in range(3):
            assert not choice.unanswered()
        assert not choice.is_v5

    def test_once_mqtt_5_worked_silence_does_not_bring_it_down(self) -> None:
        choice = ProtocolChoice("auto")
        choice.accepted()
        assert not choice.unanswered()
        assert choice.is_v5

    @pytest.mark.parametrize(("configured", "is_v5"), [("5", True), ("3.1.1", False)])
    def test_a_configured_version_stays(self, configured: str, is_v5: bool) -> None:
        choice = ProtocolChoice(configured)  # type: ignore[arg-type]  # the parameters are of the right literals
        assert choice.is_v5 == is_v5
        assert not choice.unanswered()
        assert not choice.refused_version()
        assert choice.is_v5 == is_v5

    def test_waits_less_for_an_answer_while_the_version_is_a_guess(self) -> None:
        choice = ProtocolChoice("auto")
        assert choice.answer_timeout_s() < ANSWER_TIMEOUT_S
        choice.accepted()
        assert choice.answer_timeout_s() == ANSWER_TIMEOUT_S


class TestCanary:
    def proven(self) -> Canary:
        canary = Canary(interval_s=30.0, timeout_s=10.0)
        canary.connected(0.0)
        canary.sent(0.0, 0)
        canary.heard(0.1)
        return canary

    def test_is_due_at_once_and_then_after_each_interval(self) -> None:
        canary = Canary(30.0, 10.0)
        canary.connected(5.0)
        assert canary.due(5.0)
        canary.sent(5.0, 0)
        assert not canary.due(500.0), "one under way is enough"
        canary.heard(6.0)
        assert not canary.due(35.9)
        assert canary.due(36.0)

    def test_silence_after_a_proven_canary_is_deafness(self) -> None:
        canary = self.proven()
        canary.sent(40.0, received=7)
        assert not canary.deaf(49.9, received=7)
        assert canary.deaf(50.0, received=7)
        assert canary.unheard == 1

    def test_anything_that_arrives_shows_that_the_link_hears(self) -> None:
        canary = self.proven()
        canary.sent(40.0, received=7)
        assert not canary.deaf(50.0, received=8)
        assert canary.unheard == 0

    def test_a_canary_that_never_came_back_is_counted_but_forbidden_topics_tear_nothing_down(self) -> None:
        canary = Canary(30.0, 10.0)
        canary.connected(0.0)
        for start in (0.0, 100.0, 200.0):
            assert canary.due(start)
            canary.sent(start, received=0)
            assert not canary.deaf(start + 10.0, received=0)
        assert canary.unheard == 3

    def test_a_new_connection_forgets_what_was_under_way(self) -> None:
        canary = self.proven()
        canary.sent(40.0, received=7)
        canary.connected(45.0)
        assert not canary.deaf(60.0, received=0)
        assert canary.due(45.0)
