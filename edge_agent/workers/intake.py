"""The intake: from a source's lead to a release whose every blob stands verified in the store. The first half of an update.

A lead says where something may be. A look, in a child process, tells what is verified there; what is wanted becomes the
candidate, and is fetched by another child from the place where it was seen. A candidate that is half fetched goes on from any
source that offers the same release: the repository today, a stick tomorrow.

Rules: what a look found out (the floor, above all) is saved before it is used. Looks and bytes are counted against the day's
budget when they are spent, also those that came to nothing or were given up; what a fetch brought before the power went is not.
A source that failed decides itself when to be asked again. What this agent cannot run (it is too old, or too new), or this
gateway has not the memory for, is not wanted now; it is no failure of the release.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct

import edge_agent
from edge_agent.clock import Clock
from edge_agent.config.settings import UpdateSettings
from edge_agent.device_key import open_keys
from edge_agent.errors import ChildFailedError, EdgeAgentError, ReleaseError
from edge_agent.metrics import Metrics
from edge_agent.prompt import PROMPT_VERSION
from edge_agent.release.manifest import Manifest, parse_manifest, refuse
from edge_agent.update import Lead, Source, Verdict
from edge_agent.update.child import Child, ChildLimits
from edge_agent.update.floor import Floor
from edge_agent.update.jobs import Bundle, Fetched, FetchJob, Looked, LookJob, Problem
from edge_agent.update.machine import Broke, Event, Failed, Found, why_not
from edge_agent.update.machine import Fetched as AllFetched
from edge_agent.update.record import Candidate, Held
from edge_agent.workers.host import memory_bytes
from edge_agent.workers.keeper import Keeper

LOOK = "edge_agent.update.look"
FETCH = "edge_agent.update.fetch"
CONDITION = "update"
MAX_RSS_BYTES = 160 << 20
"""Of a child that looks or fetches; both take about a third of it."""
LOOK_S = 1_800.0
FETCH_S = 7 * 86_400.0
SPARE_S = 60.0
FILE_S = 60.0
"""For one file of metadata."""
NO_LIMIT = 1 << 62
BUILT_S = datetime.fromisoformat(edge_agent.BUILT).timestamp()
"""Now is later: a floor of the time for a device whose clock stands at 1970."""

Start = Callable[[str, Struct, ChildLimits, Callable[[Child], None]], None]
"""Starts a child for a module and a job; calls back with the child when it has ended."""

_log = logging.getLogger(__name__)


class _Fetching(Struct, frozen=True):
    """A fetch under way: of what, and what was missing before it."""

    manifest: Manifest
    missing_bytes: int


class Intake:
    """Looks and fetches. Used by the update worker's thread alone."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        sources: Sequence[Source],
        settings: UpdateSettings,
        apply: Callable[[Event], bool],
        start: Start,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """Without a group and a root file there are no sources. `apply` lets the machine take an event."""
        self._keeper = keeper
        self._sources = sources
        self._settings = settings
        self._apply = apply
        self._start = start
        self._metrics = metrics
        self._clock = clock
        self._asked: list[Lead] = []
        self._lead: Lead | None = None
        """The lead that a child is at work on."""
        self._fetching: _Fetching | None = None
        """What it fetches, where that counts against the day."""

    def ask(self, lead: Lead) -> None:
        """Take up this lead next, whatever the sources have; once, however often it is asked for meanwhile."""
        if lead not in self._asked:
            self._asked.append(lead)

    def abandon(self, why: str) -> None:
        """The child at work was ended: its lead comes to nothing. Raises StorageError."""
        lead, self._lead = self._lead, None
        try:
            self.count()
        finally:
            if lead is not None:
                lead.tell(Verdict.failed, why)

    def count(self) -> None:
        """Count what a fetch brought that was ended before it could tell. Raises StorageError."""
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            self._keeper.spent(self._came(fetching))

    def _came(self, fetching: _Fetching) -> int:
        """What stands there now and did not before: the least that was received, in bytes."""
        return max(0, fetching.missing_bytes - self._keeper.store.missing_bytes(fetching.manifest))

    def step(self) -> bool:
        """Follow the next lead, if there is one. Raises StorageError."""
        lead = self._asked.pop(0) if self._asked else self._next_lead()
        if lead is None:
            return False
        self._lead = lead
        with self._told(lead):
            self._look(lead)
        return True

    def _next_lead(self) -> Lead | None:
        return next((lead for source in self._sources if (lead := source.lead()) is not None), None)

    def _look(self, lead: Lead) -> None:
        looks, _ = self._keeper.today()
        if looks >= self._settings.looks_per_day:
            self._stands(lead, Problem(kind="budget", reason="looks", detail=f"{looks} looks today, as many as are allowed"))
            return
        job = LookJob(
            place=lead.place,
            group=self._settings.group,
            trust_folder=str(self._keeper.trust_folder),
            root_file=self._settings.root_file,
            now_s=self._clock.now_s(),
            build_time_s=BUILT_S,
            known=self._keeper.record.floor,
            timeout_s=FILE_S,
        )
        limits = ChildLimits(timeout_s=LOOK_S, silent_s=LOOK_S, max_rss_bytes=MAX_RSS_BYTES)
        self._start(LOOK, job, limits, lambda child: self._looked(lead, child))

    def _looked(self, lead: Lead, child: Child) -> None:
        try:
            looked = child.result(Looked)
        except ChildFailedError as error:
            looked = Looked(floor=Floor(), time_s=0.0, problem=Problem(kind="link", reason=error.reason, detail=error.detail))
        with self._told(lead):
            if looked.problem is not None:
                self._keeper.saw(looked.floor, f"{lead.source}: {_words(looked.problem)}", failed=True)
                self._stands(lead, looked.problem)
                return
            self._metrics.conditions.clear(CONDITION)
            if looked.manifest is None:
                self._keeper.saw(looked.floor, _nothing(lead, self._settings.group))
                self._end(lead, Verdict.nothing)
                return
            self._offered(lead, looked.manifest, looked)

    def _offered(self, lead: Lead, data: bytes, looked: Looked) -> None:
        """A verified manifest stands there: keep it if it is wanted, and fetch what it needs."""
        try:
            manifest = parse_manifest(data, f"{lead.source}: release.json")
            not_here = refuse(manifest, edge_agent.__version__, PROMPT_VERSION) or _too_large(manifest)
        except ReleaseError as error:
            self._keeper.saw(looked.floor, str(error), failed=True)
            self._stands(lead, Problem(kind="release", reason="manifest", detail=str(error)))
            return
        held = Held(release=manifest.id, counter=manifest.counter, manifest_sha256=hashlib.sha256(data).hexdigest())
        record = self._keeper.record
        why = not_here or ("" if _is(record.candidate, held) else why_not(record, held))
        unreadable = "" if why else self._unreadable(manifest, looked.keys)
        said = f": {why or unreadable}" if why or unreadable else ""
        found = f"{lead.source}: {held.named}{said}"
        if not said:
            self._take(lead, held, data, looked)
        # A look counts when what came of it stands in the record: whoever watches takes an idle record for its end.
        self._keeper.saw(looked.floor, found)
        if why:
            runs = record.active is not None and record.active.manifest_sha256 == held.manifest_sha256
            self._end(lead, Verdict.runs if runs else Verdict.unwanted, why)
            return
        if unreadable:  # it has not failed: it cannot be read yet
            self._metrics.conditions.set(CONDITION, unreadable)
            self._end(lead, Verdict.unwanted, unreadable)
            return
        if not _is(self._keeper.record.candidate, held):
            self._end(lead, Verdict.unwanted, "a newer release is on its way")
        elif self._keeper.record.stage != "fetching":  # it waits, and has been fetched
            self._end(lead, Verdict.taken)
        else:
            self._fetch(lead, held, manifest)

    def _take(self, lead: Lead, held: Held, data: bytes, looked: Looked) -> None:
        """Make it the candidate, unless a newer one is. What was signed newer than before is known first."""
        self._keeper.knows(looked.floor)
        self._keeper.store.put_manifest(data)
        if looked.keys is not None:
            self._keeper.store.put_keys(held.manifest_sha256, looked.keys)
        self._apply(Found(Candidate(held=held, source=lead.source, ticket=lead.ticket)))

    def _unreadable(self, manifest: Manifest, keys: bytes | None) -> str:
        """Why this device cannot open a sealed release, in words; empty where it can, or nothing is sealed."""
        try:
            open_keys(manifest, keys, "keys.json", self._settings.key_file)
        except EdgeAgentError as error:
            return str(error)
        return ""

    def _fetch(self, lead: Lead, held: Held, manifest: Manifest) -> None:
        # What comes from a stick costs no line.
        allowed = 0 if isinstance(lead.place, Bundle) else self._settings.bytes_per_day
        left = allowed - self._keeper.today()[1] if allowed else NO_LIMIT
        if left <= 0 and self._keeper.store.missing_bytes(manifest):
            self._broke(lead, Problem(kind="budget", reason="bytes", detail=f"the {allowed} bytes of today are used up"))
            return
        job = FetchJob(
            place=lead.place,
            store_folder=str(self._keeper.folder),
            manifest_sha256=held.manifest_sha256,
            max_bytes=max(0, left),
            min_free_bytes=self._settings.min_free_bytes,
            timeout_s=self._settings.chunk_timeout_s,
        )
        silent_s = 2 * self._settings.chunk_timeout_s + SPARE_S
        limits = ChildLimits(timeout_s=FETCH_S, silent_s=silent_s, max_rss_bytes=MAX_RSS_BYTES)
        fetching = _Fetching(manifest, self._keeper.store.missing_bytes(manifest))
        self._fetching = None if isinstance(lead.place, Bundle) else fetching
        self._start(FETCH, job, limits, lambda child: self._fetched(lead, child, fetching))

    def _fetched(self, lead: Lead, child: Child, fetching: _Fetching) -> None:
        self._fetching, manifest = None, fetching.manifest
        try:
            fetched = child.result(Fetched)
        except ChildFailedError as error:
            problem = Problem(kind="link", reason=error.reason, detail=error.detail)
            fetched = Fetched(fetched_bytes=self._came(fetching), complete=False, problem=problem)
        with self._told(lead):
            if not isinstance(lead.place, Bundle):
                self._keeper.spent(fetched.fetched_bytes)
            if fetched.complete:
                self._apply(AllFetched())
                self._end(lead, Verdict.taken)
            else:
                self._not_fetched(lead, fetched.problem or Problem(kind="link", reason="incomplete"), manifest)

    def _not_fetched(self, lead: Lead, problem: Problem, manifest: Manifest) -> None:
        """It goes on later, unless the release contradicts itself: fetching it again would cost the same again, day after day."""
        candidate = self._keeper.record.candidate
        digest = "" if candidate is None else candidate.held.manifest_sha256
        if problem.kind == "release" and digest and self._keeper.store.has_manifest(digest):
            self._apply(Failed(f"{manifest.id} cannot be fetched: {problem.detail}"))
            self._stands(lead, problem)
        else:
            self._broke(lead, problem)

    def _broke(self, lead: Lead, problem: Problem) -> None:
        self._apply(Broke(_words(problem)))
        self._stands(lead, problem)

    def _stands(self, lead: Lead, problem: Problem) -> None:
        """A problem is told: to the source always, as a condition where waiting alone does not cure it."""
        passes = problem.kind in ("link", "budget")
        _log.log(logging.INFO if passes else logging.WARNING, "%s: %s", lead.source, _words(problem))
        if not passes:
            self._metrics.conditions.set(CONDITION, f"{lead.source}: {_words(problem)}")
        self._end(lead, Verdict.refused if problem.kind in ("refused", "release") else Verdict.failed, _words(problem))

    @contextlib.contextmanager
    def _told(self, lead: Lead) -> Iterator[None]:
        """A source waits until it is told: what this disk cannot keep now is a failure of the look, told before it is raised."""
        try:
            yield
        except Exception as error:  # a source that is told nothing would wait until the next start
            self._end(lead, Verdict.failed, str(error) or type(error).__name__)
            raise

    def _end(self, lead: Lead, verdict: Verdict, words: str = "") -> None:
        self._lead = None
        lead.tell(verdict, words)


def _too_large(manifest: Manifest) -> str:
    """Why this gateway has not the memory for a release, in words; empty where it has. A limit above it would be none."""
    most, there = manifest.limits.max_rss_bytes, memory_bytes()
    if there is None or most <= there:
        return ""
    return f"release {manifest.id} may take {most >> 20} MiB of memory; this gateway has {there >> 20}"


def _is(candidate: Candidate | None, held: Held) -> bool:
    return candidate is not None and candidate.held.manifest_sha256 == held.manifest_sha256


def _nothing(lead: Lead, group: str) -> str:
    return f"{lead.source}: no release for the group {group}: none was published for it there, or it is called otherwise"


def _words(problem: Problem) -> str:
    """A problem for people. That the way was at fault is no reason of its own: the detail says what happened on it."""
    if problem.kind == problem.reason == "link" and problem.detail:
        return problem.detail
    return f"{problem.reason}: {problem.detail}" if problem.detail else problem.reason
