"""What each call of the recorded program stores: it follows from the call's name and numbers alone.

Rules: pure. So a reader of the program's marks knows every byte that may be found afterwards. A call is a line of words:
`record NUMBER REVISION`, `summary NUMBER REVISION`, `settle NUMBER REVISION STATE`, `close NUMBER`, `meter NAME VALUE`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.values import Closure, Escalation, EscalationState, Incident, IncidentState, Message, Summary
from tests.journals import T0_S, closure, incident, message, summary

LAST_REVISION: Final = 3
LATEST: Final = "summary"
"""The topic on which a newer message replaces one that waits."""
BURIED: Final = "packet-too-large"
STATES: Final[tuple[EscalationState, ...]] = ("queued", "sent", "answered", "refused")

Kept: TypeAlias = Incident | Summary | Closure | Escalation | bytes


class Effects(Struct, frozen=True, kw_only=True):
    """Everything that one call stores, in one transaction."""

    kept: Mapping[str, Kept]
    """By key, what stands until a later call replaces it: `incident 7`, `summary 7`, `escalation 7`, `closure 7`, `meter x`."""
    messages: Sequence[Message] = ()
    audit: bytes = b""
    egress: bytes = b""


def number_of(incident_id: str) -> int:
    """The number of an incident of ours."""
    return int(incident_id.removeprefix("i-"))


def key_of(sent: Message) -> str:
    """A name for a message that no other message has, without white space."""
    return f"{sent.topic}={sent.payload.decode()}" if sent.supersedes else sent.topic


@functools.cache
def effects(call: str) -> Effects:
    """What the call stores."""
    what, *words = call.split()
    match what:
        case "record":
            return _record(int(words[0]), int(words[1]))
        case "summary":
            return _summary(int(words[0]), int(words[1]))
        case "settle":
            return _settle(int(words[0]), int(words[1]), next(state for state in STATES if state == words[2]))
        case "close":
            return _close(int(words[0]))
        case "meter":
            return Effects(kept={f"meter {words[0]}": words[1].encode()})
    raise ValueError(f"no call: {call}")


def is_escalated(number: int) -> bool:
    """Whether summaries of this incident are escalated."""
    return number % 3 == 0


def _record(number: int, revision: int) -> Effects:
    """The last revision is closed."""
    state: IncidentState = "closed" if revision == LAST_REVISION else "open"
    told = message(f"incident/{number}/{revision}", f"{revision} ".ljust(200 + number % 300, "."), priority=number % 3)
    return Effects(kept={f"incident {number}": incident(number, revision, state, signature=bytes(32))}, messages=[told])


def _summary(number: int, revision: int) -> Effects:
    kept: dict[str, Kept] = {f"summary {number}": summary(number, revision, f"Incident {number}, revision {revision}.")}
    if is_escalated(number):
        kept[f"escalation {number}"] = _escalation(number, revision, "queued")
    own = message(f"summary/{number}/{revision}", "It rose.")
    latest = message(LATEST, f"{number}/{revision}", supersedes=True)
    return Effects(kept=kept, messages=[own, latest], audit=f"wrote {number} {revision}".encode())


def _settle(number: int, revision: int, state: EscalationState) -> Effects:
    kept: dict[str, Kept] = {
        f"escalation {number}": _escalation(number, revision, state),
        f"meter budget-{number}": f"{revision} {state}".encode(),
    }
    told = message(f"escalation/{number}/{revision}/{state}", state)
    if state == "sent":
        return Effects(kept=kept, messages=[told], egress=f"asked {number} {revision}".encode())
    if state == "answered":
        wording = summary(number, revision, f"Better said of {number}.")
        kept[f"summary {number}"] = replace(wording, route="cloud", revised=True, model="fake:large")
    return Effects(kept=kept, messages=[told], audit=f"{state} {number} {revision}".encode())


def _close(number: int) -> Effects:
    said = closure(number, note=f"Seen to by number {number}.")
    return Effects(kept={f"closure {number}": said}, messages=[message(f"closed/{number}", "by hand")])


def _escalation(number: int, revision: int, state: EscalationState) -> Escalation:
    return Escalation(
        incident_id=f"i-{number:06d}",
        revision=revision,
        id=f"request-{number}-{revision}",
        state=state,
        reasons=("low-confidence",),
        severity=number % 10 / 10,
        queued_s=T0_S + number,
        changed_s=T0_S + number + STATES.index(state),
        attempts=int(state != "queued"),
    )
