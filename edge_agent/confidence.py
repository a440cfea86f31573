"""How sure the writer was of a chunk: a logistic rule over the log-probabilities of its tokens.

Rules: pure. The score ranks drafts that the verifier has accepted; it never stands in for the verifier. The rule's numbers come
with the release, fitted on drafts of its own writer, so that they are never mixed with another's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from edge_agent.values import Draft

FEATURES = ("mean", "low_quantile", "minimum", "log_length")
"""Names of the features, in the order of `ConfidenceRule.weights`."""
_LOW_QUANTILE = 0.1
_FLOOR = -20.0


class ConfidenceRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A logistic rule: `1 / (1 + exp(-(intercept + weights . features)))`; `threshold` is the least score told locally."""

    features: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float
    threshold: float


def features_of(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Mean, 10 % quantile and minimum of the log-probabilities (nats, floored at -20), and the logarithm of their number."""
    ordered = sorted(max(_FLOOR, value) if math.isfinite(value) else _FLOOR for value in logprobs)
    if not ordered:
        return (_FLOOR, _FLOOR, _FLOOR, 0.0)
    low = ordered[int(_LOW_QUANTILE * (len(ordered) - 1))]
    return (math.fsum(ordered) / len(ordered), low, ordered[0], math.log(len(ordered)))


def score(rule: ConfidenceRule, draft: Draft) -> float:
    """Confidence in one draft, in [0, 1]."""
    total = rule.intercept + math.fsum(w * f for w, f in zip(rule.weights, features_of(draft.logprobs), strict=True))
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total))))
