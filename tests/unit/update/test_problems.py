"""Errors as values: whose fault it is follows from the class."""

from __future__ import annotations

import pytest

from edge_agent.errors import LinkError, ReleaseError, RepositoryRefusedError, StorageError, TrustLostError
from edge_agent.update.jobs import Problem
from edge_agent.update.problems import Told, problem


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LinkError("gone"), Problem(kind="link", reason="link", detail="gone")),
        (RepositoryRefusedError("expired", "it is"), Problem(kind="refused", reason="expired", detail="it is")),
        (ReleaseError("bad"), Problem(kind="release", reason="manifest", detail="bad")),
        (StorageError("full"), Problem(kind="storage", reason="disk", detail="full")),
        (TrustLostError("lost"), Problem(kind="trust-lost", reason="trust-lost", detail="lost")),
    ],
)
def test_an_error_is_told_by_its_class(error: Told, told: Problem) -> None:
    assert problem(error, "manifest") == told
