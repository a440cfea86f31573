"""Where the update of releases stands, as it is published: the document on `update`, and one for each outcome.

Rules: the document on `update` tells how things are now and how the last updates ended, so that whoever reads it once, after
weeks, knows the outcome. It names digests, so that reports about one release can be told from reports about another of its name.
"""

from __future__ import annotations

from msgspec import Struct

from edge_agent.messages.documents import Document
from edge_agent.messages.times import format_time


class UpdateOutcome(Struct, frozen=True, kw_only=True):
    """How one update, or one rollback, ended: `committed`, `refused`, `rolled-back` or `cancelled`."""

    release: str
    counter: int
    manifest_sha256: str
    outcome: str
    reason: str
    at_s: float


class UpdateState(Struct, frozen=True, kw_only=True):
    """Where the update of releases stands. `reason` says why it stands there, empty when there is nothing to say."""

    gateway: str
    state: str = "idle"
    release: str
    """The release that runs."""
    counter: int | None = None
    """Its counter, and the digest of its manifest; None for the release that ships inside the package, and for templates."""
    manifest_sha256: str | None = None
    candidate: str = ""
    """The release that is being fetched, probed or tried; empty for none."""
    candidate_counter: int | None = None
    source: str = ""
    """Where the candidate comes from."""
    done_bytes: int = 0
    total_bytes: int = 0
    """Of what is being fetched, or looked through; 0 where that is not known."""
    reason: str = ""
    changed_s: float | None = None
    looked: str = ""
    """What the last look at a source found, in words."""
    looked_s: float | None = None
    outcomes: tuple[UpdateOutcome, ...] = ()
    """Oldest first."""


def update_document(update: UpdateState) -> Document:
    """The state of the update machine as on `update`."""
    progress = {"done_bytes": update.done_bytes, "total_bytes": update.total_bytes}
    return {
        "gateway": update.gateway,
        "state": update.state,
        "release": update.release,
        "counter": update.counter,
        "manifest_sha256": update.manifest_sha256,
        "candidate": update.candidate or None,
        "candidate_counter": update.candidate_counter,
        "source": update.source or None,
        "progress": progress if update.total_bytes else None,
        "reason": update.reason or None,
        "changed": _time(update.changed_s),
        "looked": update.looked or None,
        "looked_at": _time(update.looked_s),
        "outcomes": [_listed(outcome) for outcome in update.outcomes],
    }


def outcome_document(gateway: str, outcome: UpdateOutcome) -> Document:
    """One outcome as on `update/outcome`."""
    return {"gateway": gateway, **_listed(outcome)}


def _listed(outcome: UpdateOutcome) -> Document:
    return {
        "release": outcome.release,
        "counter": outcome.counter,
        "manifest_sha256": outcome.manifest_sha256,
        "outcome": outcome.outcome,
        "reason": outcome.reason or None,
        "at": format_time(outcome.at_s),
    }


def _time(value_s: float | None) -> str | None:
    return None if value_s is None else format_time(value_s)
