"""The writer: a decoder-only language model in INT8, run by CTranslate2, greedy, on one thread.

Rules: one owner, the explain worker; the native library is imported when a writer is opened, not before. What the model may
say is bounded here (only lexicon words and slot tokens can come out) and judged elsewhere (`verify`). The answer to a prompt
depends on the prompt and the model alone: prompts are answered one by one, so that no neighbour in a batch changes a rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edge_agent.errors import EngineError
from edge_agent.fill import SLOT
from edge_agent.prompt import END
from edge_agent.values import Draft, Prompt

if TYPE_CHECKING:
    from ctranslate2 import Generator
    from tokenizers import Tokenizer

COMPUTE_TYPE = "int8"
"""How weights are computed with; a certificate holds for one compute type."""


class CTranslate2Writer:
    """A loaded writer. Build it with `open`."""

    def __init__(self, generator: Generator, tokenizer: Tokenizer, suppressed: list[list[str]]) -> None:
        self._generator = generator
        self._tokenizer = tokenizer
        self._suppressed = suppressed

    @classmethod
    def open(cls, model: Path, tokenizer: Path, lexicon: Sequence[str], device: str = "cpu") -> Self:
        """Load a CTranslate2 model folder and its `tokenizer.json`.

        `lexicon` lists the words and stops that may be written; every other piece of the vocabulary that is not a slot token is
        suppressed. Raises EngineError if a file is missing or damaged, or tokenizer and model do not share one vocabulary.
        """
        import ctranslate2  # 17 MB that template-only operation does not need
        from tokenizers import Tokenizer as _Tokenizer

        try:
            generator = ctranslate2.Generator(
                str(model), device=device, compute_type=COMPUTE_TYPE, inter_threads=1, intra_threads=1, max_queued_batches=1
            )
            loaded = _Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # tokenizers raises bare Exception, CTranslate2 RuntimeError and ValueError
            raise EngineError(f"{model}: the writer cannot be loaded: {error}; install the release again") from error
        vocabulary: dict[str, int] = loaded.get_vocab()
        allowed = set(lexicon) | {END}
        missing = sorted(allowed - vocabulary.keys())
        if missing:
            raise EngineError(
                f"{tokenizer}: lacks {len(missing)} pieces of the lexicon, such as {missing[0]!r}: not of this release"
            )
        suppressed = [[piece] for piece in sorted(vocabulary) if piece not in allowed and not SLOT.fullmatch(piece)]
        return cls(generator, loaded, suppressed)

    def write(self, prompts: Sequence[Prompt]) -> list[Draft]:
        """Answer each prompt. Raises EngineError if a prompt holds a piece the vocabulary lacks or the runtime fails."""
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Draft:
        encoded = self._tokenizer.encode(" ".join(prompt.pieces), add_special_tokens=False)
        unknown = [piece for piece, token in zip(prompt.pieces, encoded.tokens, strict=False) if token == "<unk>"]
        if unknown:
            raise EngineError(
                f"the prompt holds {unknown[0]!r}, which the writer's vocabulary lacks: prompt and release do not match"
            )
        logprobs: list[float] = []

        def keep(step: Any) -> bool:  # ctranslate2 ships no types for its step result
            logprobs.append(float(step.log_prob))
            return False

        try:
            (result,) = self._generator.generate_batch(
                [encoded.tokens],
                max_length=prompt.max_pieces,
                beam_size=1,
                sampling_topk=1,
                suppress_sequences=self._suppressed,
                include_prompt_in_result=False,
                return_scores=True,
                return_end_token=True,
                end_token=END,
                callback=keep,
            )
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"the writer failed while running: {error}") from error
        pieces = list(result.sequences[0])
        finished = bool(pieces) and pieces[-1] == END
        return Draft(skeleton=" ".join(pieces[:-1] if finished else pieces), logprobs=tuple(logprobs), finished=finished)
