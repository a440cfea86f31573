"""How much has to be escalated for how much quality: our policy against chance and against one that knows every mistake.

    edge-ota curve FOLDER [--count N] [--seed N] [--csv FILE]

An incident is told well if the writer's own text of it, unverified and whole, says all that it should and nothing that is not
so, by the judgement of `oracle`; a template is not counted as told well. An escalated incident is counted as told well: a
stronger model that is always right is assumed. Quality is the share told well. Orders of escalation that are compared:

    policy   what the verifier refuses first, then what the writer was least sure of: what the device does
    score    what the writer was least sure of, without the verifier
    chance   at random, in the mean
    oracle   what is not told well first

Mixes: `calibration` is the set that certificates are measured on. `untrained` has many subjects that the writer was never
taught: groups without a leader, moves of unknown direction. `noised` is the calibration set told by a writer that draws its
words at a temperature instead of taking the likeliest, so that it makes mistakes anywhere.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from edge_agent.confidence import score
from edge_agent.engines.loading import OpenRelease, open_release
from edge_agent.engines.writer import CTranslate2Writer
from edge_agent.errors import EngineError, ReleaseError
from edge_agent.fill import fill, tidy
from edge_agent.pipeline import Writer, plan_of
from edge_agent.policy import Judged, decide
from edge_agent.prompt import prompt_of, style_of
from edge_agent.template import assemble
from edge_agent.values import Anomaly, Draft, Plan
from edge_agent.verify import refuse_chunk
from edge_ota.calibrate.certificate import COUNT, SEED
from edge_ota.calibrate.incidents import Drawn, draw
from edge_ota.calibrate.oracle import judge
from edge_ota.usage import described

TOLERATED = 0.005
"""Quality that is given up against escalating everything."""
TEMPERATURE = 2.0
ORDERS = ("policy", "score", "chance", "oracle")
_STEPS = 100


class Case(Struct, frozen=True):
    """One incident: how it would be ranked for escalation, and whether the writer told it well."""

    confidence: float
    """The policy's: 0 where the verifier refused a draft, else the least score."""
    score: float
    """The least score of its drafts, accepted or not."""
    escalates: bool
    """Whether the device would escalate it, with the release's threshold."""
    is_good: bool


class NoisedWriter(CTranslate2Writer):
    """The writer with noise on its choices: words are drawn at `TEMPERATURE`. Seed CTranslate2 before it is opened."""

    def __init__(self, generator: Any, tokenizer: Any, suppressed: list[list[str]]) -> None:  # native types, without stubs
        super().__init__(_Drawing(generator), tokenizer, suppressed)


class _Drawing:
    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def generate_batch(self, prompts: list[list[str]], **options: Any) -> Any:
        return self._generator.generate_batch(prompts, **options | {"sampling_topk": 0, "sampling_temperature": TEMPERATURE})


def cases(drawn: Sequence[Drawn], writer: Writer, release: OpenRelease) -> list[Case]:
    """Have the writer tell each incident, and judge what it wrote."""
    speaking = release.speaking
    found = []
    for one in drawn:
        plan = plan_of(one.incident, one.evidence, one.zone)
        if not plan.chunks:
            continue
        drafts = writer.write([prompt_of(chunk, style_of(one.incident.id, n)) for n, chunk in enumerate(plan.chunks)])
        judged = [
            Judged(refusal=refuse_chunk(chunk, draft, speaking.lexicon), score=score(speaking.rule, draft))
            for chunk, draft in zip(plan.chunks, drafts, strict=True)
        ]
        decision = decide(judged, speaking.rule.threshold, storm=one.incident.storm)
        least = min(draft.score for draft in judged)
        found.append(Case(decision.confidence, least, decision.verdict == "escalate", _is_good(one, plan, drafts)))
    return found


def _is_good(one: Drawn, plan: Plan, drafts: Sequence[Draft]) -> bool:
    if not all(draft.finished for draft in drafts):
        return False
    try:
        text = fill(assemble(plan, tuple(tidy(draft.skeleton) for draft in drafts)), plan.slots)
    except KeyError:  # a slot that the plan does not have
        return False
    return judge(one.incident, one.evidence, text, one.zone).is_whole


def curve(found: Sequence[Case], order: str) -> list[float]:
    """Quality when the first k of the order are escalated, for k from 0 to all."""
    if order == "chance":
        base = sum(case.is_good for case in found) / len(found)
        return [base + (1 - base) * k / len(found) for k in range(len(found) + 1)]
    keys: dict[str, Callable[[Case], float]] = {
        "policy": lambda case: case.confidence,
        "score": lambda case: case.score,
        "oracle": lambda case: float(case.is_good),
    }
    good = sum(case.is_good for case in found)
    qualities = [good / len(found)]
    for case in sorted(found, key=keys[order]):
        good += not case.is_good
        qualities.append(good / len(found))
    return qualities


def share_needed(qualities: Sequence[float]) -> float:
    """The least share escalated at which no more than `TOLERATED` is missing to the quality of escalating everything."""
    wanted = qualities[-1] - TOLERATED - 1e-12
    return next(k for k, quality in enumerate(qualities) if quality >= wanted) / (len(qualities) - 1)


def untrained(drawn: Sequence[Drawn], seed: int) -> list[Drawn]:
    """A set in which many subjects have a form that the training phrases lack: see the module."""
    random = Random(f"untrained/{seed}")

    def change(anomaly: Anomaly) -> Anomaly:
        if random.random() < 0.3:
            return replace(anomaly, direction="none", baseline=None)
        return replace(anomaly, magnitude=40.0, score=0.9)

    return [
        replace(one, incident=replace(one.incident, anomalies=tuple(change(a) for a in one.incident.anomalies)))
        if random.random() < 0.6
        else one
        for one in drawn
    ]


def _noised(release: OpenRelease, seed: int) -> NoisedWriter:
    import ctranslate2  # the seed has to be set before a generator is made

    ctranslate2.set_random_seed(seed)
    return NoisedWriter.open(release.folder / "writer", release.folder / "tokenizer.json", sorted(release.speaking.lexicon))


def measure(release: OpenRelease, count: int, seed: int) -> dict[str, list[Case]]:
    """The cases of every mix. Raises EngineError."""
    drawn = draw("calibration", seed, count, release.open_classifier())
    writer = release.open_writer()
    return {
        "calibration": cases(drawn, writer, release),
        "untrained": cases(untrained(drawn, seed), writer, release),
        "noised": cases(drawn, _noised(release, seed), release),
    }


def report(name: str, found: Sequence[Case]) -> str:
    """What is needed in one mix, as a table for people."""
    kept = [case for case in found if not case.escalates]
    escalated = 1 - len(kept) / len(found)
    quality = escalated + sum(case.is_good for case in kept) / len(found)
    lines = [
        f"{name}: {len(found)} incidents; told well by the writer alone: {sum(c.is_good for c in found) / len(found):.1%}",
        f"  escalated by the device: {escalated:.1%}, quality then {quality:.2%}",
        f"  escalated for a quality within {TOLERATED * 100:g} points of escalating everything:",
    ]
    return "\n".join([*lines, *(f"    {order:<8}{share_needed(curve(found, order)):>7.1%}" for order in ORDERS)])


def write_csv(path: Path, mixes: dict[str, list[Case]]) -> None:
    """The curves, a row for each percent escalated."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["mix", "escalated", *ORDERS])
        for name, found in mixes.items():
            curves = [curve(found, order) for order in ORDERS]
            for step in range(_STEPS + 1):
                at = round(step / _STEPS * len(found))
                table.writerow([name, f"{step / _STEPS:.2f}", *(f"{qualities[at]:.5f}" for qualities in curves)])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 1 if the release cannot be opened."""
    parser = described("curve", __doc__)
    parser.add_argument("folder", type=Path, help="the folder of a release")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--csv", type=Path, help="write the curves here")
    options = parser.parse_args(argv)
    try:
        mixes = measure(open_release(options.folder), options.count, options.seed)
    except (ReleaseError, EngineError) as error:
        print(f"edge-ota curve: {error}", file=sys.stderr)
        return 1
    for name, found in mixes.items():
        print(report(name, found))
    if options.csv is not None:
        write_csv(options.csv, mixes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
