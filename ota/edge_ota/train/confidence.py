"""Fits the confidence rule that ships with a writer: logistic regression on drafts of its own training checkpoints.

A finished writer is nearly always right, so that its drafts alone would teach nothing of being wrong; its earlier checkpoints
make the mistakes that it could make. Fitted by Newton's method with a small ridge (Hastie et al., 4.4.1), deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_agent.confidence import FEATURES, features_of

RIDGE = 1e-2
ACCEPTED_SHARE = 0.995
"""The threshold is set where this share of the finished writer's right drafts pass."""


def fit_confidence(runs: Sequence[Sequence[tuple[bool, Sequence[float]]]]) -> dict[str, object]:
    """Fit on the drafts (right or wrong, log-probabilities) of each checkpoint, the finished writer's last."""
    drafts = [draft for run in runs for draft in run]
    x = np.array([features_of(logprobs) for _, logprobs in drafts])
    y = np.array([right for right, _ in drafts], dtype=float)
    mean, spread = x.mean(0), x.std(0) + 1e-9
    z = np.column_stack([(x - mean) / spread, np.ones(len(x))])
    beta = np.zeros(z.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(z @ beta, -60, 60)))
        gradient = z.T @ (y - p) - RIDGE * beta
        curvature = (z * (p * (1 - p))[:, None]).T @ z + RIDGE * np.eye(len(beta))
        step = np.linalg.solve(curvature, gradient)
        beta += step
        if np.abs(step).max() < 1e-9:
            break
    weights = beta[:-1] / spread
    intercept = float(beta[-1] - (weights * mean).sum())
    final = np.array([features_of(logprobs) for right, logprobs in runs[-1] if right]).reshape(-1, len(FEATURES))
    scores = 1 / (1 + np.exp(-np.clip(final @ weights + intercept, -60, 60)))
    return {
        "features": list(FEATURES),
        "weights": [round(float(w), 6) for w in weights],
        "intercept": round(intercept, 6),
        "threshold": round(float(np.quantile(scores, 1 - ACCEPTED_SHARE)), 6) if len(scores) else 1.0,
    }
