"""One trial of one release: what is looked at, in which order, and what is measured on the way.

The parts are held against each other, then the classifier runs, then the writer writes incidents of our own and the golden cases;
then they are written again, until some time is used, to see whether it still says the same and whether memory grows.

Rules: the first thing that is wrong ends the trial. All of it is bounded by counts and by time; a sentence that never ends,
memory that runs away and a crash are for the owner of the process.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import msgspec

from edge_agent.confidence import ConfidenceRule
from edge_agent.engines.classifier import RUNTIMES
from edge_agent.engines.instruction_set import instruction_set
from edge_agent.engines.loading import FACTORY, OpenRelease, machine_of, open_release
from edge_agent.errors import ReleaseError, StorageError
from edge_agent.pipeline import Writer, explain
from edge_agent.probe.classifier import wrong_classifier
from edge_agent.probe.golden import Golden, believed, differing, parse_golden
from edge_agent.probe.incidents import trial_incidents
from edge_agent.probe.memory import peak_rss_bytes, rss_bytes
from edge_agent.probe.parts import foreign_file, wrong_certificate, wrong_lexicon, wrong_rule, wrong_tokenizer
from edge_agent.probe.stopwatch import Stopwatch
from edge_agent.release.certificate import parse_certificate
from edge_agent.update.jobs import CUDA_HOST_BYTES, Probed, ProbeJob, Problem
from edge_agent.values import Incident, Summary
from edge_agent.verify import VERIFIER_VERSION

AGAIN_S = 20.0
"""How long incidents are written again: all at most `_MAX_ROUNDS` times, and `_LEAST_AGAIN` of them however long it takes."""
_MAX_ROUNDS = 4
_LEAST_AGAIN = 8
MAX_GROWTH_BYTES = 8 << 20
"""By how much memory may grow while what was written before is written again."""
MAX_SENTENCE_S = 20.0
"""Whatever the manifest allows: an incident has six sentences at most, and whoever writes it counts as hung after 120 s."""
_SHOWN = 3

Tell = Callable[[str], None]
"""Told what is done next: silence means that it hangs."""


def probe(job: ProbeJob, tell: Tell) -> Probed:
    """Try a release. Raises nothing that a release can be at fault for, as far as Python sees it.

    When it returns, its engines are gone: CTranslate2 ends a process that ends before its threads have.
    """
    return _Trial(job, tell).run()


class _Trial:
    """What is known in the course of one trial. Nothing in it leads back to it, so that engines go when it does."""

    def __init__(self, job: ProbeJob, tell: Tell) -> None:
        self._folder = Path(job.folder)
        self._device = job.device
        self._cuda = instruction_set(job.device) == "cuda"
        self._key_file, self._decrypt_folder = job.key_file, job.decrypt_folder
        self._tell = tell
        self._before_bytes = rss_bytes()
        self._load_s = 0.0
        self._differing = 0
        self._watch: Stopwatch | None = None

    def run(self) -> Probed:
        try:
            problem = self._problem()
        except ReleaseError as error:
            problem = _problem("unusable", str(error))
            if isinstance(error.__cause__, StorageError):  # the device's key, or the folder that it decrypts to
                problem = Problem(kind="storage", reason="storage", detail=str(error))
        return Probed(
            problem=problem,
            peak_rss_bytes=self._taken_bytes(),
            load_s=round(self._load_s, 3),
            sentences=0 if self._watch is None else self._watch.sentences,
            slowest_s=0.0 if self._watch is None else round(self._watch.slowest_s, 4),
            differing=self._differing,
        )

    def _problem(self) -> Problem | None:
        self._tell("files")
        began_s = time.monotonic()
        release = open_release(self._folder, self._device, self._key_file, self._decrypt_folder, self._folder)
        self._load_s += time.monotonic() - began_s
        if why := self._contradiction(release):
            return _problem("contradictory", why)
        golden = self._golden(release)
        if why := self._classifier(release):
            return _problem("classifier-unfit", why)
        self._tell("writer")
        began_s = time.monotonic()
        writer = release.open_writer(self._device)
        self._load_s += time.monotonic() - began_s
        return self._too_much(release) or self._speaks(release, writer, golden) or self._too_much(release)

    def _contradiction(self, release: OpenRelease) -> str:
        manifest, lexicon = release.manifest, release.speaking.lexicon
        read = release.contents.read
        rule = msgspec.json.decode(read("confidence.json"), type=ConfidenceRule)
        # The threshold in force is a certificate's, where one holds here; the rule's own where none does.
        why = foreign_file(self._folder, manifest) or wrong_lexicon(lexicon)
        why = why or wrong_rule(rule) or wrong_rule(release.speaking.rule, "its certificate")
        if not why and manifest.certificate is not None:
            certificate = parse_certificate(read(manifest.certificate), str(self._folder / manifest.certificate))
            why = wrong_certificate(certificate, manifest)
        return why or wrong_tokenizer(read("tokenizer.json"), read("writer/vocabulary.json"), lexicon)

    def _classifier(self, release: OpenRelease) -> str:
        if not any(find_spec(runtime) for runtime in RUNTIMES):
            return ""  # without a runtime the agent detects without a classifier, and a release changes nothing about it
        self._tell("classifier")
        began_s = time.monotonic()
        classifier = release.open_classifier()
        self._load_s += time.monotonic() - began_s
        return wrong_classifier(classifier, time.process_time)

    def _speaks(self, release: OpenRelease, writer: Writer, golden: Golden) -> Problem | None:
        ours = trial_incidents()
        incidents = (*ours, *(case.incident for case in golden.cases))
        watch = self._watch = Stopwatch(writer, _counting(self._tell), by_wall=self._cuda)
        written: list[Summary] = []
        for incident in incidents:
            written.append(_write(incident, watch, release))
            if slow := self._too_slow(release):
                return slow
        if why := believed(written[: len(ours)]):
            return _problem("not-believed", why + _control(self._folder, self._device, ours))
        if problem := self._golden_problem(release, golden, written[len(ours) :]):
            return problem
        return self._again(release, watch, incidents, written)

    def _golden(self, release: OpenRelease) -> Golden:
        name = release.manifest.golden
        if name is None:
            return Golden((), None)
        return parse_golden(release.contents.read(name), str(self._folder / name))

    def _golden_problem(self, release: OpenRelease, golden: Golden, written: Sequence[Summary]) -> Problem | None:
        lines = differing(golden.cases, written)
        self._differing = len(lines)
        alike = golden.machine == machine_of(self._device)[0] and release.manifest.checks.verifier_version == VERIFIER_VERSION
        if alike and lines:
            shown = "; ".join(lines[:_SHOWN])
            return _problem("golden-differs", f"{len(lines)} of {len(written)} golden cases came out otherwise: {shown}")
        spoken = [summary for case, summary in zip(golden.cases, written, strict=True) if case.route == "writer"]
        why = believed(spoken) if spoken else ""
        return _problem("not-believed", f"of the golden cases: {why}") if why else None

    def _again(
        self, release: OpenRelease, watch: Stopwatch, incidents: Sequence[Incident], written: Sequence[Summary]
    ) -> Problem | None:
        gc.collect()
        before_bytes, until_s = rss_bytes(), time.monotonic() + AGAIN_S
        for count, (incident, first) in enumerate(cycle(zip(incidents, written, strict=True))):
            late = count >= _LEAST_AGAIN and time.monotonic() > until_s
            if late or count >= _MAX_ROUNDS * len(incidents):
                break
            summary = _write(incident, watch, release)
            if (summary.text, summary.route, summary.reasons) != (first.text, first.route, first.reasons):
                return _problem("not-deterministic", f"incident {incident.id}: {summary.text!r} after {first.text!r}")
            if problem := self._too_slow(release) or self._too_much(release):
                return problem
        gc.collect()
        grown_bytes = rss_bytes() - before_bytes
        if grown_bytes > MAX_GROWTH_BYTES:
            return _problem("leaks", f"its memory grew by {_mib(grown_bytes)} while {count} incidents were written again")
        return None

    def _too_slow(self, release: OpenRelease) -> Problem | None:
        allowed_s = release.manifest.limits.max_sentence_s
        most_s = min(allowed_s, MAX_SENTENCE_S)
        if self._watch is None or self._watch.slowest_s <= most_s:
            return None
        whose = "its manifest" if most_s == allowed_s else "the agent"
        return _problem("too-slow", f"a sentence took {self._watch.slowest_s:.2f} s, {whose} allows {most_s:g} s")

    def _too_much(self, release: OpenRelease) -> Problem | None:
        most, taken = release.manifest.limits.max_rss_bytes, self._taken_bytes()
        if taken <= most + (CUDA_HOST_BYTES if self._cuda else 0):
            return None
        return _problem("too-much-memory", f"it took {_mib(taken)} of memory, its manifest allows {_mib(most)}")

    def _taken_bytes(self) -> int:
        return max(0, peak_rss_bytes() - self._before_bytes)


def _counting(tell: Tell) -> Callable[[int], None]:
    return lambda number: tell(f"sentence {number}")


def _control(folder: Path, device: str, incidents: Sequence[Incident]) -> str:
    """Who is at fault where a writer is not believed: if the one inside the package is not either, it is the runtime here."""
    if folder == FACTORY:
        return ""
    try:
        release = open_release(FACTORY, device)
        writer = release.open_writer(device)
    except ReleaseError as error:
        return f"; the release inside the package, tried beside it, cannot be used here either: {error}"
    if believed([explain(incident, None, writer, release.speaking, 0.0) for incident in incidents]):
        return "; the release inside the package does no better here: the runtime, or what this device forbids it, is at fault"
    return ""


def _write(incident: Incident, watch: Stopwatch, release: OpenRelease) -> Summary:
    return explain(incident, None, watch, release.speaking, 0.0)


def _problem(reason: str, detail: str) -> Problem:
    return Problem(kind="release", reason=reason, detail=detail)


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB"
