"""The confidence rule."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.confidence import FEATURES, ConfidenceRule, features_of, score
from edge_agent.values import Draft

RULE = ConfidenceRule(features=FEATURES, weights=(1.0, 1.0, 2.0, 0.0), intercept=4.0, threshold=0.5)


def test_features_are_mean_low_quantile_minimum_and_length() -> None:
    logprobs = [-0.1] * 18 + [-1.0, -3.0]
    assert features_of(logprobs) == pytest.approx((-0.29, -1.0, -3.0, math.log(20)))


def test_the_documented_vector() -> None:
    rule = ConfidenceRule(features=FEATURES, weights=(1.0, 1.0, 2.0, 0.0), intercept=4.0, threshold=0.5)
    answered = Draft(skeleton="a", logprobs=(*[-0.1] * 18, -1.0, -3.0), finished=True)
    assert score(rule, answered) == pytest.approx(0.035916, abs=1e-6)


def test_no_tokens_and_impossible_tokens_are_as_unsure_as_can_be() -> None:
    assert features_of(()) == (-20.0, -20.0, -20.0, 0.0)
    assert features_of((-math.inf, math.nan)) == pytest.approx((-20.0, -20.0, -20.0, math.log(2)))


def test_a_surer_draft_scores_higher() -> None:
    sure = score(RULE, Draft(skeleton="a", logprobs=(-0.01, -0.01), finished=True))
    unsure = score(RULE, Draft(skeleton="a", logprobs=(-0.01, -4.0), finished=True))
    assert unsure < 0.5 < sure


@given(st.lists(st.floats(max_value=0.0), max_size=40))
def test_a_score_is_a_probability_whatever_the_log_probabilities(logprobs: list[float]) -> None:
    assert 0.0 <= score(RULE, Draft(skeleton="a", logprobs=tuple(logprobs), finished=True)) <= 1.0
