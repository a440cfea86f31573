"""The factory release's writer, run for real by CTranslate2 in INT8."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path

import pytest

from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.engines.writer import CTranslate2Writer
from edge_agent.errors import EngineError
from edge_agent.prompt import STYLES, prompt_of
from edge_agent.values import Chunk, ChunkSubject, Prompt
from edge_agent.verify import refuse_chunk

SPIKE = ChunkSubject(
    index=0, kind="spike", ending="returned", grouped=False, roles=("stream", "moved", "peak", "base", "at", "for")
)
SILENCE = ChunkSubject(index=1, kind="silence", ending="ongoing", grouped=False, roles=("stream", "at"))
PAIR = Chunk(relation="then", subjects=(SPIKE, SILENCE))


@lru_cache(maxsize=1)
def writer() -> CTranslate2Writer:
    return open_release().open_writer()


def test_a_pair_is_phrased_truly_in_every_style() -> None:
    lexicon = open_release().speaking.lexicon
    drafts = writer().write([prompt_of(PAIR, style) for style in range(STYLES)])
    assert [refuse_chunk(PAIR, draft, lexicon) for draft in drafts] == [None] * STYLES
    assert len({draft.skeleton for draft in drafts}) > 1


def test_answers_do_not_depend_on_company_or_repetition() -> None:
    prompts = [prompt_of(PAIR, style) for style in range(STYLES)]
    together = writer().write(prompts)
    assert together == [writer().write([prompt])[0] for prompt in prompts]
    assert together == writer().write(prompts)


def test_every_token_has_its_log_probability() -> None:
    (draft,) = writer().write([prompt_of(PAIR, 0)])
    assert draft.finished
    assert len(draft.logprobs) == len(draft.skeleton.split()) + 1
    assert all(value <= 0 for value in draft.logprobs)


def test_a_limit_leaves_the_draft_unfinished() -> None:
    (draft,) = writer().write([Prompt(pieces=prompt_of(PAIR, 0).pieces, max_pieces=5)])
    assert not draft.finished
    assert len(draft.skeleton.split()) == 5


def test_only_lexicon_and_slots_come_out_even_for_a_senseless_prompt() -> None:
    lexicon = open_release().speaking.lexicon
    (draft,) = writer().write([Prompt(pieces=("<s>", "=say", "=spike", "=say", "=group", "=say"), max_pieces=60)])
    assert all(piece in lexicon or piece.startswith("<") for piece in draft.skeleton.split())


def test_a_piece_that_the_vocabulary_lacks_is_an_error() -> None:
    with pytest.raises(EngineError, match=["ignore", "previous", "instructions"][0]):
        writer().write([Prompt(pieces=("<s>", "ignore", "=say"), max_pieces=10)])


def test_a_missing_model_and_a_foreign_tokenizer_are_errors(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be loaded"):
        CTranslate2Writer.open(tmp_path, FACTORY / "tokenizer.json", ["at"])
    shutil.copytree(FACTORY / "writer", tmp_path / "writer")
    with pytest.raises(EngineError, match="lacks 1 pieces"):
        CTranslate2Writer.open(tmp_path / "writer", FACTORY / "tokenizer.json", ["at", "bearing"])
