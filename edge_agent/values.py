"""The values that travel between the parts of edge-agent: immutable, typed, without behaviour that does I/O.

Rules: everything here is frozen; times are seconds since 1970-01-01T00:00:00Z as float (`*_s`); durations are seconds
(`*_s` too, named for what they last); a value that cannot be known is None, never NaN. Text that came from sensors
(stream names, units) is data: it is printed through slots and never becomes part of a prompt.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal["spike", "dip", "shift", "drift", "stuck", "noise", "silence"]
Direction: TypeAlias = Literal["up", "down", "none"]
IncidentState: TypeAlias = Literal["open", "closed"]
Route: TypeAlias = Literal["writer", "mixed", "template", "cloud"]
Verdict: TypeAlias = Literal["local", "escalate"]
Ending: TypeAlias = Literal["ongoing", "returned", "adopted", "unknown"]
"""How an anomaly stands: not over; over because the stream was usual again; over because the detector took the new behaviour
as the usual one; over for a reason that says nothing of the stream, such as a restart of the agent."""
EscalationState: TypeAlias = Literal["queued", "sent", "answered", "refused", "dropped"]
"""The fate of an escalation: the first two are pending, the others final."""
Relation: TypeAlias = Literal["alone", "together", "then"]

KINDS: tuple[Kind, ...] = ("spike", "dip", "shift", "drift", "stuck", "noise", "silence")


class Arrival(Struct, frozen=True, gc=False):
    """One MQTT message as it arrived. `session` numbers the connection, so that an acknowledgement is never sent on another."""

    topic: str
    payload: bytes
    arrived_s: float
    qos: int = 0
    mid: int = 0
    session: int = 0
    retain: bool = False


class Reading(Struct, frozen=True, gc=False):
    """One value of one stream at one time. `value` is finite."""

    stream: str
    time_s: float
    value: float
    unit: str = ""


class Rejection(Struct, frozen=True, gc=False):
    """A message or reading that was set aside: counted under `reason`, with `detail` for people."""

    topic: str
    reason: str
    detail: str = ""


class Anomaly(Struct, frozen=True, kw_only=True):
    """A span of one stream that is abnormal. `(stream, onset_s)` identifies it while it is updated.

    What `observed` and `baseline` mean follows from `kind`:
    spike, dip: the extreme value, the expected level. shift, drift: the new level, the level before.
    stuck: the value that repeats, the usual level. noise: the standard deviation now, and usually.
    silence: seconds since the last reading, the usual interval in seconds (`unit` is then "s").
    """

    stream: str
    kind: Kind
    direction: Direction
    onset_s: float
    peak_s: float
    end_s: float | None = None
    score: float
    observed: float | None = None
    baseline: float | None = None
    unit: str = ""
    magnitude: float = 0.0
    """Robust standard deviations from the expected level, at the peak."""
    ending: Ending = "returned"
    """Why it ended; counts only when `end_s` is set."""
    kind_confidence: float = 1.0
    """Probability that the classifier gave to `kind`; 1.0 where the kind was decided without it."""
    signature: bytes = b""
    """The classifier's int8 embedding of the window around the onset, or empty."""
    signed_by: str = ""
    """Which classifier made the signature, by the beginning of its digest (`detect.contract.signer`). Empty without a signature,
    and in what was stored while there was one classifier only."""

    @property
    def key(self) -> tuple[str, float]:
        """What identifies this anomaly across its updates."""
        return (self.stream, self.onset_s)

    @property
    def asset(self) -> str:
        """The part of the stream's name before its last `/`; the whole name if there is none."""
        head, _, _ = self.stream.rpartition("/")
        return head or self.stream


class Incident(Struct, frozen=True, kw_only=True):
    """Anomalies that belong together; the unit that is explained.

    `anomalies` holds at most a configured number of them, the most severe, ordered by onset; `anomaly_count` counts all.
    `revision` grows by one with every published change.
    """

    id: str
    asset: str
    state: IncidentState
    revision: int
    opened_s: float
    updated_s: float
    closed_s: float | None = None
    anomalies: tuple[Anomaly, ...]
    anomaly_count: int
    stream_count: int
    severity: float
    """The highest anomaly score, in [0, 1]."""
    storm: bool = False
    """True for the site-wide incident that takes in everything while too many open at once."""


class Closure(Struct, frozen=True, kw_only=True):
    """What an operator said when closing an incident."""

    incident_id: str
    cause: str
    note: str = ""
    closed_s: float


class PastIncident(Struct, frozen=True, kw_only=True):
    """A closed incident as the memory keeps it. `signature` is an int8 vector, `SIGNATURE_BYTES` long."""

    number: int
    """The journal's integer key of the incident; the memory's key too."""
    incident_id: str
    asset: str
    opened_s: float
    cause: str
    signature: bytes
    signed_by: str = ""
    """Which classifier made it, as in `Anomaly`."""


class Evidence(Struct, frozen=True, kw_only=True):
    """The nearest past incident. `similarity` is a cosine in [-1, 1]."""

    incident_id: str
    asset: str
    opened_s: float
    cause: str
    similarity: float


class Slot(Struct, frozen=True, kw_only=True):
    """One fact a sentence may state: its token (`<peak:2>`), what it means, and how the formatter prints it."""

    token: str
    role: str
    text: str


class ChunkSubject(Struct, frozen=True, kw_only=True):
    """One anomaly (or group that moved together) of a chunk, as the prompt and the verifier see it: words, never values."""

    index: int
    """Number of its slots, `<peak:index>`; unique within a plan."""
    kind: Kind
    ending: Ending
    grouped: bool
    roles: tuple[str, ...]
    """The slots that must be stated of it, each once, in canonical order, such as ("stream", "moved", "peak", "base", "at")."""


class Chunk(Struct, frozen=True, kw_only=True):
    """One or two subjects that one stretch of writing states. `relation` says how the second relates to the first."""

    relation: Relation
    subjects: tuple[ChunkSubject, ...]


class Plan(Struct, frozen=True, kw_only=True):
    """What will be said about an incident, in order: the chunks, then the tail (what is left as counts), then the evidence."""

    chunks: tuple[Chunk, ...]
    slots: tuple[Slot, ...]
    tail: bool
    evidence: bool


class Facts(Struct, frozen=True, kw_only=True):
    """What may be said of an incident: its anomalies after contradictions were taken out, ordered by onset."""

    incident: Incident
    anomalies: tuple[Anomaly, ...]
    evidence: Evidence | None
    reasons: tuple[str, ...]
    """What was left out as contradictory or unknown, such as `baseline-contradicts-direction`."""


class Prompt(Struct, frozen=True, kw_only=True):
    """The writer's input: pieces of the release's vocabulary only. Carries no text from sensors."""

    pieces: tuple[str, ...]
    max_pieces: int


class Draft(Struct, frozen=True, kw_only=True):
    """What the writer answered to one prompt: the skeleton with slot tokens, and each token's log-probability (natural log)."""

    skeleton: str
    logprobs: tuple[float, ...]
    finished: bool
    """False when the writer ran into its length limit."""


class Summary(Struct, frozen=True, kw_only=True):
    """The published sentences of one revision of an incident. Every fact in `text` is verified against the incident."""

    incident_id: str
    revision: int
    text: str
    skeleton: str
    slots: tuple[Slot, ...]
    confidence: float
    route: Route
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why the route is not `writer` or the verdict not `local`; empty otherwise."""
    release: str
    written_s: float
    asset: str = ""
    state: IncidentState = "open"
    evidence: Evidence | None = None
    revised: bool = False
    """True for a late answer of a stronger model that took the place of a summary of the same revision."""
    model: str = ""
    """Which model's wording stands where the route is `cloud`, as `<backend>:<model>`; empty otherwise."""


class Escalation(Struct, frozen=True, kw_only=True):
    """An incident sent to a stronger model, and its fate. There is one an incident: of its newest escalated revision."""

    incident_id: str
    revision: int
    id: str
    """What the outside knows it by: a pseudonym of incident and revision, so that asking twice can be told from two questions."""
    state: EscalationState = "queued"
    reasons: tuple[str, ...]
    """Why the local text was not certain."""
    severity: float
    queued_s: float
    changed_s: float
    attempts: int = 0
    """How often it was sent."""
    outcome: str = ""
    """Why it was refused or dropped, or why the last attempt failed; a stable word."""


class Drop(Struct, frozen=True, kw_only=True):
    """How much was given up for one reason, ever. Times are seconds since 1970 by the system clock."""

    reason: str
    count: int
    bytes: int
    first_s: float
    last_s: float


class LogEntry(Struct, frozen=True, kw_only=True):
    """One entry of a hash-chained log: `hash` is `chain.link(hash of the entry before, body)`, 32 bytes."""

    number: int
    body: bytes
    hash: bytes


class Message(Struct, frozen=True, kw_only=True):
    """One MQTT message to be published. `supersedes` lets a newer one on the same topic replace it while it waits."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    supersedes: bool = False
    response_correlation: bytes = b""
    """MQTT 5 correlation data to copy into a response; empty for none."""
    priority: int = 1
    """When the outbox is full the lowest goes first, the oldest of it: 0 routine, 1 usual, 2 what a person must see, 3 the
    record of what was given up."""
