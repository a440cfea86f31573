"""What went wrong, as the value that a child process tells its owner.

Rules: whose fault it is follows from the error's class alone; words for people are those of whoever raised it.
"""

from __future__ import annotations

from typing import TypeAlias

from edge_agent.errors import LinkError, ReleaseError, RepositoryRefusedError, StorageError, TrustLostError
from edge_agent.update.jobs import Problem

Told: TypeAlias = LinkError | RepositoryRefusedError | ReleaseError | StorageError
TOLD = (LinkError, RepositoryRefusedError, ReleaseError, StorageError)
"""The errors of an update that are told; any other is a defect of ours."""


def problem(error: Told, release_reason: str) -> Problem:
    """The problem that `error` is. `release_reason` is said where the release itself is at fault."""
    match error:
        case RepositoryRefusedError():
            return Problem(kind="refused", reason=error.reason, detail=error.detail)
        case TrustLostError():
            return Problem(kind="trust-lost", reason="trust-lost", detail=str(error))
        case StorageError():
            return Problem(kind="storage", reason="disk", detail=str(error))
        case ReleaseError():
            return Problem(kind="release", reason=release_reason, detail=str(error))
        case LinkError():
            return Problem(kind="link", reason="link", detail=str(error))
