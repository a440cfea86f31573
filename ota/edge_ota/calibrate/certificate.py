"""Measures a release's writer and writes the certificate that goes into it.

    edge-ota calibrate FOLDER [--count N] [--seed N]

What is certified: with confidence 1 - delta, on the distribution of `incidents`, at most a share alpha of the texts in which a
sentence is the writer's say anything that the incident does not bear out. The method is Learn then Test (Angelopoulos et al.
2021) with fixed-sequence testing over `GRID` and exact binomial p-values. One incident is one sample, because the sentences
of one text are not independent of each other; a wrong sentence makes its whole text wrong.

Rules: thresholds and their order stand here and were chosen on the development set; the calibration set is drawn anew and
judged by `oracle`. Measurements of other machines that the folder's certificate has of the same writer are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from edge_agent.atomic import write_atomic
from edge_agent.engines.loading import OpenRelease, machine_of, open_release
from edge_agent.engines.writer import COMPUTE_TYPE
from edge_agent.errors import EngineError, ReleaseError
from edge_agent.pipeline import SpeakingRelease, Writer, explain
from edge_agent.prompt import PROMPT_VERSION
from edge_agent.release.certificate import (
    CERTIFICATE_NAME,
    Certificate,
    Counted,
    Measured,
    certified_threshold,
    chance_of_so_few,
    encode_certificate,
    parse_certificate,
    speaker_of,
)
from edge_agent.values import Draft, Prompt
from edge_agent.verify import VERIFIER_VERSION
from edge_ota.calibrate.incidents import GENERATOR_VERSION, Drawn, digest, draw
from edge_ota.calibrate.oracle import judge
from edge_ota.usage import described

GRID = (0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""The strictest first. It ends where the confidence rule itself takes a draft to be as likely wrong as right."""
ALPHA, DELTA = 0.01, 0.05
COUNT = 3_000
SEED = 1


class RememberingWriter:
    """A writer that answers a prompt once: its answer depends on the prompt alone, and is the same for every threshold."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._answers: dict[Prompt, Draft] = {}

    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        """One draft a prompt. Raises EngineError."""
        for prompt in prompts:
            if prompt not in self._answers:
                (self._answers[prompt],) = self._writer.write([prompt])
        return [self._answers[prompt] for prompt in prompts]


def count(drawn: Sequence[Drawn], writer: Writer, release: SpeakingRelease, threshold: float) -> Counted:
    """Publish every incident as the device would with this threshold, and judge what was published."""
    speaking = replace(release, rule=replace(release.rule, threshold=threshold))
    texts = wrong = by_writer = 0
    for one in drawn:
        summary = explain(one.incident, one.evidence, writer, speaking, 0.0, one.zone)
        if summary.route == "template":
            continue
        texts += 1
        by_writer += summary.route == "writer"
        judgement = judge(one.incident, one.evidence, summary.text, one.zone)
        if not judgement.is_sound:
            wrong += 1
            print(f"wrong: {summary.text}\n  {'; '.join(judgement.unsupported)}", file=sys.stderr)
    return Counted(threshold=threshold, texts=texts, wrong=wrong, by_writer=by_writer)


def measure(release: OpenRelease, drawn: list[Drawn], seed: int) -> Measured:
    """Measure on this machine. Raises ReleaseError if not even the strictest threshold can be certified."""
    writer = RememberingWriter(release.open_writer())
    counts = tuple(count(drawn, writer, release.speaking, threshold) for threshold in GRID)
    threshold = certified_threshold(counts, ALPHA, DELTA)
    if threshold is None:
        first = counts[0]
        raise ReleaseError(
            f"nothing can be certified: with the threshold {first.threshold}, {first.wrong} of {first.texts} texts are wrong;"
            f" the chance of so few at {ALPHA:.0%} is {chance_of_so_few(first.texts, first.wrong, ALPHA):.3f}, above {DELTA}"
        )
    machine, exact = machine_of()
    return Measured(
        machine=machine,
        runtime_version=exact,
        incidents=len(drawn),
        incidents_sha256=digest(drawn),
        seed=seed,
        generator_version=GENERATOR_VERSION,
        counts=counts,
        threshold=threshold,
    )


def certify(folder: Path, incidents: int, seed: int) -> Certificate:
    """Measure the release in a folder; other machines' measurements of it are kept. Raises ReleaseError, EngineError."""
    release = open_release(folder)
    speaker = speaker_of(release.manifest, COMPUTE_TYPE, PROMPT_VERSION, VERIFIER_VERSION)
    mine = measure(release, draw("calibration", seed, incidents, release.open_classifier()), seed)
    path = folder / CERTIFICATE_NAME
    before = parse_certificate(path.read_bytes(), str(path)) if path.exists() else None
    kept = (
        before.measured if before is not None and (before.speaker, before.alpha, before.delta) == (speaker, ALPHA, DELTA) else ()
    )
    others = (measured for measured in kept if measured.machine != mine.machine)
    measured = sorted((mine, *others), key=lambda m: (m.machine.instruction_set, m.machine.runtime))
    return Certificate(alpha=ALPHA, delta=DELTA, speaker=speaker, measured=tuple(measured))


def report(certificate: Certificate) -> str:
    """A certificate as a table for people."""
    lines = []
    for measured in certificate.measured:
        lines.append(f"{measured.machine.instruction_set}, {measured.machine.runtime}: {measured.incidents} incidents")
        lines.append(f"{'threshold':>10} {'texts':>7} {'of the writer alone':>20} {'wrong':>6} {'p-value':>9}")
        for counted in measured.counts:
            chance = chance_of_so_few(counted.texts, counted.wrong, certificate.alpha)
            share = counted.by_writer / measured.incidents
            lines.append(f"{counted.threshold:>10} {counted.texts:>7} {share:>20.1%} {counted.wrong:>6} {chance:>9.2g}")
        lines.append(f"certified threshold: {measured.threshold}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 1 if the release cannot be opened or nothing can be certified."""
    parser = described("calibrate", __doc__)
    parser.add_argument("folder", type=Path, help="the folder of a release with its manifest")
    parser.add_argument("--count", type=int, default=COUNT, help="incidents to measure on")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(argv)
    try:
        certificate = certify(options.folder, options.count, options.seed)
    except (ReleaseError, EngineError) as error:
        print(f"edge-ota calibrate: {error}", file=sys.stderr)
        return 1
    write_atomic(options.folder / CERTIFICATE_NAME, encode_certificate(certificate), mode=0o644)
    print(report(certificate))
    print(f"{options.folder / CERTIFICATE_NAME}: written; build the release's manifest anew, under a new id and counter")
    return 0


if __name__ == "__main__":
    sys.exit(main())
