"""The update machine: a pure table of stages and events over one frozen record. Whoever owns the record saves it, then acts.

    idle -> fetching -> verified -> staged -> probing -> trial -> idle, with an outcome on the way out:
    committed | refused | rolled-back | cancelled

What is done in a stage follows from the stage alone: fetching looks and fetches, verified installs, staged begins to probe,
probing probes, trial soaks in the running agent. So a device that was cut off goes on from the record, whatever it was doing.

Rules:
* Pure: `after(record, event)` gives the next record, which is saved before anything is done about it. An event that does not
  fit the stage changes nothing: it is late, and not an error.
* What is active changes in three places only: a trial that soaked, a rollback that was ordered, a release found rotten.
* A try (of an installation, a probe, a trial) is counted before it is made, so that one which takes the device down with it is
  counted too. One that was ended in order is given back: a release is not blamed for restarts.
* One that ended with the boot of the device was cut off: by the power, as a rule, so that more are allowed; but a release that
  hangs the board until its watchdog resets it looks the same, and is given up in the end.
* What soaked before a stop in order counts; what soaked before a cut does not, and a crash begins the soak anew.
* What waits (for room, a key, memory, the running agent) gives way to a newer release. A trial under way does not: it ends.
* A counter that failed, and any below it, is not taken again before a higher one comes or a person says so. One that leaps
  ahead is not taken: after a counter that has none above it no release could ever follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.errors import plain
from edge_agent.release.manifest import MAX_LEAP
from edge_agent.update.record import MAX_REASON_CHARACTERS, Candidate, Ended, Held, Record, Result, Stage

MAX_TRIES: Final = 3
"""Installations, probes, and starts of the agent in a trial, that may end without a result before the release is given up."""
MAX_CUTS: Final = 10
"""The same of those in which the device itself went down: that is the power more often than the release."""
UNKNOWN_BOOT: Final = "unknown"
MAX_OUTCOMES: Final = 16
MAX_ROTTEN: Final = 4
RUNS_ALREADY: Final = "it runs already"
"""Why the release that is active is not taken: all is well."""


class Found(Struct, frozen=True):
    """A place offers a release that is wanted (`why_not` was asked)."""

    candidate: Candidate


class Broke(Struct, frozen=True):
    """Fetching ended before all was there; it goes on later."""

    reason: str


class Fetched(Struct, frozen=True):
    """Every blob stands verified in the store."""


class Installed(Struct, frozen=True):
    """The release's folder stands whole."""


class Begins(Struct, frozen=True):
    """An installation, a probe, or a start of the agent with the candidate, is about to be made, in this boot of the device."""

    boot: str = UNKNOWN_BOOT


class Passed(Struct, frozen=True):
    """The probe found nothing wrong."""


class Spared(Struct, frozen=True):
    """A try that was counted says nothing of the release: the agent was stopped in order, or this device could not make it."""

    soaked_s: float = 0.0
    """How long the release spoke in it, with nothing held against it."""


class Failed(Struct, frozen=True):
    """The release is at fault: it cannot be installed, failed the probe, or misbehaved in its trial."""

    reason: str


class Soaked(Struct, frozen=True):
    """The trial lasted as long as it had to."""


class Cancelled(Struct, frozen=True):
    """A person, or the source, does not want the candidate any more."""

    reason: str


class RollBack(Struct, frozen=True):
    """A person wants the release before this one, or the agent crashes with it again and again."""

    reason: str


class Rotten(Struct, frozen=True):
    """The active release cannot be opened: its files were damaged since."""

    reason: str


class Told(Struct, frozen=True):
    """Everything that ended stands in the outbox."""


class Reported(Struct, frozen=True):
    """The source was told how the deployment `ticket` ended."""

    source: str
    ticket: str


class Again(Struct, frozen=True):
    """A person wants what failed to be tried once more."""


Event: TypeAlias = (
    Found
    | Broke
    | Fetched
    | Installed
    | Begins
    | Passed
    | Spared
    | Failed
    | Soaked
    | Cancelled
    | RollBack
    | Rotten
    | Told
    | Reported
    | Again
)


def after(record: Record, event: Event, now_s: float) -> Record:
    """The record after `event`, which came at `now_s` by the device's clock. The same one where the event does not fit."""
    step = _TABLE.get((record.stage, type(event)))
    if step is None:
        return record
    stepped = step(record, event, now_s)
    return record if stepped == record else replace(stepped, changed_s=now_s)


def why_not(record: Record, offered: Held) -> str:
    """Why a release that is offered is not taken, in words; empty where it is wanted."""
    running = record.active
    if running is not None and offered.manifest_sha256 == running.manifest_sha256:
        return RUNS_ALREADY
    if offered.counter <= record.refused_counter:
        failed = f"counter {offered.counter} is not above {record.refused_counter}, which failed here"
        return f"{failed} (`update check --again` forgets that)"
    if offered.counter <= record.committed_counter and offered.manifest_sha256 not in record.rotten:
        return f"counter {offered.counter} is not above {record.committed_counter}, which ran here"
    highest = max(record.refused_counter, record.committed_counter)
    if highest >= 0 and offered.counter - highest > MAX_LEAP:
        return f"counter {offered.counter} is more than {MAX_LEAP} above {highest}, the highest here"
    return ""


def needed(record: Record) -> frozenset[str]:
    """The digests of the manifests whose releases must stay in the store."""
    candidate = None if record.candidate is None else record.candidate.held
    return frozenset(held.manifest_sha256 for held in (record.active, record.previous, candidate) if held is not None)


def speaks(record: Record) -> Held | None:
    """The release that is to run now: the candidate in its trial, else the active one; None for the factory release."""
    if record.stage == "trial" and record.candidate is not None:
        return record.candidate.held
    return record.active


def _found(record: Record, event: Found, now_s: float) -> Record:
    if record.stage == "trial" and record.boot:
        return record
    candidate = replace(event.candidate, began_s=now_s)
    old = record.candidate
    if old is not None and old.held.manifest_sha256 == candidate.held.manifest_sha256:
        return replace(record, candidate=replace(old, source=candidate.source, ticket=candidate.ticket))
    if old is not None and old.held.counter >= candidate.held.counter:
        return record
    if old is not None:
        record = _ends(record, "cancelled", f"{candidate.held.release} came, which is newer", now_s, taken_again=True)
    return replace(record, stage="fetching", candidate=candidate, reason="")


def _broke(record: Record, event: Broke, now_s: float) -> Record:
    if record.candidate is None:
        return record
    again = replace(record.candidate, attempts=record.candidate.attempts + 1)
    return replace(record, candidate=again, reason=_short(event.reason))


def _no_room(record: Record, event: Broke, now_s: float) -> Record:
    return _broke(_spared(record, Spared(), now_s), event, now_s)


def _fetched(record: Record, event: Fetched, now_s: float) -> Record:
    return _enters(record, "verified")


def _installed(record: Record, event: Installed, now_s: float) -> Record:
    return _enters(record, "staged")


def _begins(record: Record, event: Begins, now_s: float) -> Record:
    stage: Stage = "probing" if record.stage == "staged" else record.stage
    result, how = _TRIED[stage]
    ended = record.boot != ""
    cut = ended and record.boot != event.boot
    cuts, left = record.cuts + cut, min(MAX_TRIES, record.tries_left + cut)
    if stage == "verified" and not ended and left == 0:  # by a version of the agent that did not count installations
        left = MAX_TRIES
    if cuts >= MAX_CUTS:
        return _ends(record, result, f"the power went, or the device was reset, {cuts} times {how}", now_s)
    if left <= 0:
        went = "agent" if stage == "trial" else "device"
        return _ends(record, result, f"the {went} went down {MAX_TRIES} times {how}", now_s)
    soaked_s = 0.0 if ended and not cut else record.soaked_s
    return replace(record, stage=stage, tries_left=left - 1, boot=event.boot, cuts=cuts, soaked_s=soaked_s)


def _passed(record: Record, event: Passed, now_s: float) -> Record:
    return _enters(record, "trial")


def _spared(record: Record, event: Spared, now_s: float) -> Record:
    soaked_s = record.soaked_s + max(0.0, event.soaked_s)
    return replace(record, tries_left=min(MAX_TRIES, record.tries_left + 1), boot="", soaked_s=soaked_s)


def _failed(record: Record, event: Failed, now_s: float) -> Record:
    return _ends(record, "rolled-back" if record.stage == "trial" else "refused", event.reason, now_s)


def _soaked(record: Record, event: Soaked, now_s: float) -> Record:
    candidate = record.candidate
    if candidate is None:
        return replace(record, stage="idle")
    ran = record.active
    ended = _ends(record, "committed", "", now_s)
    return replace(
        ended,
        active=candidate.held,
        # What rotted, or is the same release installed again, is nothing to go back to.
        previous=record.previous if ran is not None and ran.manifest_sha256 == candidate.held.manifest_sha256 else ran,
        committed_counter=max(record.committed_counter, candidate.held.counter),
        refused_counter=record.refused_counter,
        rotten=(),
    )


def _cancelled(record: Record, event: Cancelled, now_s: float) -> Record:
    return _ends(record, "cancelled", event.reason, now_s)


def _rolled_back(record: Record, event: RollBack, now_s: float) -> Record:
    if record.active is None:
        return record
    return _leaves(record, record.active, event.reason, now_s, taken_again=False)


def _rotten(record: Record, event: Rotten, now_s: float) -> Record:
    if record.active is None:
        return record
    left = _leaves(record, record.active, event.reason, now_s, taken_again=True)
    return replace(left, rotten=(*record.rotten, record.active.manifest_sha256)[-MAX_ROTTEN:])


def _told(record: Record, event: Told, now_s: float) -> Record:
    return replace(record, ended=tuple(replace(ended, told=True) for ended in record.ended))


def _reported(record: Record, event: Reported, now_s: float) -> Record:
    of = (event.source, event.ticket)
    return replace(record, ended=tuple(replace(e, reported=True) if (e.source, e.ticket) == of else e for e in record.ended))


def _again(record: Record, event: Again, now_s: float) -> Record:
    # That no older state of the repository comes back is the trust's business, not the counters'.
    ran = -1 if record.active is None else record.active.counter
    return replace(record, refused_counter=-1, committed_counter=ran)


def _enters(record: Record, stage: Stage, tries_left: int = MAX_TRIES) -> Record:
    """What was tried before says nothing of the tries of this stage."""
    return replace(record, stage=stage, tries_left=tries_left, boot="", cuts=0, soaked_s=0.0, reason="")


def _ends(record: Record, result: Result, reason: str, now_s: float, *, taken_again: bool = False) -> Record:
    """The candidate goes, with `result`; unless it may be taken again, its counter counts as one that failed."""
    candidate = record.candidate
    if candidate is None:
        return _enters(record, "idle", 0)
    ended = Ended(
        held=candidate.held,
        result=result,
        reason=_short(reason),
        at_s=now_s,
        source=candidate.source,
        ticket=candidate.ticket,
    )
    refused = record.refused_counter if taken_again else max(record.refused_counter, candidate.held.counter)
    return replace(
        _enters(record, "idle", 0),
        candidate=None,
        reason=_short(reason),
        refused_counter=refused,
        ended=_with(record, ended),
    )


def _leaves(record: Record, left: Held, reason: str, now_s: float, *, taken_again: bool) -> Record:
    """What is active gives way to what was before it."""
    ended = Ended(held=left, result="rolled-back", reason=_short(reason), at_s=now_s)
    refused = record.refused_counter if taken_again else max(record.refused_counter, left.counter)
    return replace(
        record,
        active=record.previous,
        previous=None,
        reason=_short(reason),
        refused_counter=refused,
        ended=_with(record, ended),
    )


def _with(record: Record, ended: Ended) -> tuple[Ended, ...]:
    """The last ones with `ended`; what was not told yet goes last, and before it what its source does not know."""
    kept = [*record.ended, ended]
    while len(kept) > MAX_OUTCOMES:
        done = (each for each in kept[:-1] if each.told and (each.reported or not each.source))
        kept.remove(next(done, None) or next((each for each in kept[:-1] if each.told), kept[0]))
    return tuple(kept)


def _short(reason: str) -> str:
    return plain(reason, MAX_REASON_CHARACTERS)


_Step: TypeAlias = Callable[[Record, Any, float], Record]  # the one event that its key names

_STAGES: tuple[Stage, ...] = get_args(Stage)
_TRIED: Mapping[Stage, tuple[Result, str]] = {
    "verified": ("refused", "while it was installed"),
    "probing": ("refused", "while it was probed"),
    "trial": ("rolled-back", "with it"),
}
"""How a release ends with which no try came to a result, and in the midst of what."""

_TABLE: Mapping[tuple[Stage, type[Event]], _Step] = {
    **{(stage, Found): _found for stage in _STAGES},
    ("fetching", Broke): _broke,
    ("fetching", Fetched): _fetched,
    ("fetching", Failed): _failed,
    ("fetching", Cancelled): _cancelled,
    ("verified", Begins): _begins,
    ("verified", Installed): _installed,
    ("verified", Broke): _no_room,
    ("verified", Spared): _spared,
    ("verified", Failed): _failed,
    ("verified", Cancelled): _cancelled,
    ("staged", Begins): _begins,
    ("staged", Cancelled): _cancelled,
    ("probing", Begins): _begins,
    ("probing", Passed): _passed,
    ("probing", Spared): _spared,
    ("probing", Failed): _failed,
    ("probing", Cancelled): _cancelled,
    ("trial", Begins): _begins,
    ("trial", Spared): _spared,
    ("trial", Soaked): _soaked,
    ("trial", Failed): _failed,
    ("trial", Cancelled): _cancelled,
    **{(stage, RollBack): _rolled_back for stage in _STAGES if stage != "trial"},
    **{(stage, Rotten): _rotten for stage in _STAGES},
    **{(stage, Told): _told for stage in _STAGES},
    **{(stage, Reported): _reported for stage in _STAGES},
    **{(stage, Again): _again for stage in _STAGES},
}
