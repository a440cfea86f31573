"""The widened writer is larger, and says word for word what it was made of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_agent.bench.widened import write_widened
from edge_agent.engines.loading import FACTORY, open_release
from edge_agent.engines.writer import CTranslate2Writer
from edge_agent.errors import ReleaseError
from edge_agent.pipeline import plan_of
from edge_agent.probe.incidents import trial_incidents
from edge_agent.prompt import prompt_of, style_of

SIZE_BYTES = 6_000_000


def test_a_widened_writer_says_the_same(tmp_path: Path) -> None:
    shutil.copytree(FACTORY / "writer", tmp_path / "writer")
    write_widened(FACTORY / "writer/model.bin", tmp_path / "writer/model.bin", SIZE_BYTES)
    assert SIZE_BYTES <= (tmp_path / "writer/model.bin").stat().st_size < 1.05 * SIZE_BYTES
    opened = open_release()
    lexicon = sorted(opened.speaking.lexicon)
    wide = CTranslate2Writer.open(tmp_path / "writer", FACTORY / "tokenizer.json", lexicon)
    prompts = [prompt_of(chunk, style_of(one.id, 0)) for one in trial_incidents() for chunk in plan_of(one, None).chunks]
    assert wide.write(prompts) == opened.open_writer().write(prompts)


def test_what_is_no_writer_is_not_widened(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x06\0\0\0\x02\0a\0" + bytes(12))
    with pytest.raises(ReleaseError, match="no feed-forward layers"):
        write_widened(tmp_path / "model.bin", tmp_path / "out", SIZE_BYTES)
