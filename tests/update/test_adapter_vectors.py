"""The vectors in the description of the adapter format: the merge is what the document says, down to the byte."""

from __future__ import annotations

import json
import re
from pathlib import Path

from edge_agent.update.merging import merge
from tests.update.adapters import write

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/formats/adapter.md"


def test_base_and_adapter_make_what_the_document_says(tmp_path: Path) -> None:
    found = re.findall(r"^```json vectors:merging\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    vectors = json.loads(found[0])
    assert len(vectors) == 2
    for vector in vectors:
        out = tmp_path / vector["name"]
        merge(*write(tmp_path, bytes.fromhex(vector["base"]), bytes.fromhex(vector["adapter"])), out)
        assert out.read_bytes().hex() == vector["merged"]
