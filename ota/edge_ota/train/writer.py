"""The recipe of the pico writer, whole: phrases, training, INT8 export, and what it gets right on chunks never trained.

    edge-ota train writer --out FOLDER [--steps N] [--seed N]
    edge-ota train writer --evaluate FOLDER [--count N]

A part of the combinations of a pair (kind, kind, relation) is held out of training; the table at the end says what share of
answers the device's verifier accepts, for combinations seen and never seen, measured on the exported INT8 model.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from edge_agent.grammar import accepts
from edge_agent.prompt import STYLES, prompt_of
from edge_agent.values import Chunk
from edge_ota.train.confidence import fit_confidence
from edge_ota.train.phrases import chunk_of, example_of, lexicon, vocabulary
from edge_ota.usage import described

STEPS = 3_000
HELD_OUT_PERCENT = 15
EVALUATED = 600


def held_out(chunk: Chunk) -> bool:
    """Whether this pair's combination of kinds and relation is kept from training."""
    if chunk.relation == "alone":
        return False
    name = "|".join((chunk.relation, *(subject.kind for subject in chunk.subjects)))
    return zlib.crc32(name.encode()) % 100 < HELD_OUT_PERCENT


def chunks(random: Random, *, unseen: bool) -> Iterator[Chunk]:
    """An endless stream of chunks, either of combinations that are trained or of pairs that never are."""
    while True:
        chunk = chunk_of(random)
        if held_out(chunk) == unseen:
            yield chunk


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe, or only the evaluation of a folder that the recipe wrote; returns the exit code."""
    parser = described("train writer", __doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--out", type=Path, help="train: folder for model, tokenizer, lexicon and confidence rule")
    which.add_argument("--evaluate", type=Path, help="only evaluate the folder of a release, such as edge_agent/factory")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=EVALUATED, help="chunks to answer of each sort")
    options = parser.parse_args(argv)
    if options.out is not None:
        _train(options.out, options.steps, options.seed)
    print(json.dumps(evaluate((options.out or options.evaluate) / "writer", options.count), indent=1))
    return 0


def _train(out: Path, steps: int, seed: int) -> None:
    from edge_ota.train.export import save_int8, save_tokenizer  # torch is not needed to evaluate
    from edge_ota.train.pico import Pico, PicoShape, Schedule, train

    pieces = vocabulary()
    numbers = {piece: number for number, piece in enumerate(pieces)}
    source = chunks(Random(seed), unseen=False)

    def draw(random: Random) -> tuple[list[int], list[int]]:
        example = example_of(next(source), random.randrange(STYLES))
        return [numbers[p] for p in example.prompt], [numbers[p] for p in example.answer]

    def report(line: str) -> None:
        print(line, flush=True)

    def inspect(network: Pico, step: int) -> None:
        save_int8(network, pieces, out / f"checkpoint-{step}")
        report(f"step {step}: {json.dumps(evaluate(out / f'checkpoint-{step}', 200))}")

    out.mkdir(parents=True, exist_ok=True)
    save_tokenizer(pieces, out / "tokenizer.json")
    (out / "lexicon.txt").write_text("\n".join(lexicon()) + "\n", encoding="utf-8")
    network = train(PicoShape(vocabulary=len(pieces)), Schedule(steps=steps), draw, seed, report, inspect)
    save_int8(network, pieces, out / "writer")
    checkpoints = sorted(out.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    rule = fit_confidence([write_all(folder, 400, seed=101) for folder in (*checkpoints, out / "writer")])
    (out / "confidence.json").write_text(json.dumps(rule, indent=1) + "\n", encoding="utf-8")


def write_all(model: Path, count: int, seed: int) -> list[tuple[bool, list[float]]]:
    """Answer `count` trained and `count` held-out chunks; for each, whether the verifier accepts it and its log-probabilities."""
    from edge_agent.engines.writer import CTranslate2Writer  # native code, only needed here

    writer = CTranslate2Writer.open(model, model.parent / "tokenizer.json", lexicon())
    answered = []
    for unseen in (False, True):
        random = Random(seed)
        source = chunks(random, unseen=unseen)
        asked = [(next(source), random.randrange(STYLES)) for _ in range(count)]
        for (chunk, _), draft in zip(asked, writer.write([prompt_of(c, s) for c, s in asked]), strict=True):
            answered.append((draft.finished and accepts(chunk, draft.skeleton), list(draft.logprobs)))
    return answered


def evaluate(model: Path, count: int) -> dict[str, object]:
    """Shares of accepted answers for trained combinations and for held-out pairs."""
    answers = write_all(model, count, seed=202)
    return {
        "asked": count,
        "accepted_trained": sum(ok for ok, _ in answers[:count]) / count,
        "accepted_held_out_pairs": sum(ok for ok, _ in answers[count:]) / count,
    }


if __name__ == "__main__":
    sys.exit(main())
