"""The vectors in docs/formats/decoders.md, run: what the document says of a message is what the agent makes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent.config.settings import RouteSettings, Settings
from edge_agent.decode.router import Router
from edge_agent.decode.table import DECODERS
from edge_agent.errors import DecodeError
from edge_agent.values import Arrival

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "formats" / "decoders.md"
NOW_S = 1_790_000_000.0
VECTORS: dict[str, list[dict[str, Any]]] = {
    name: json.loads(body)
    for name, body in re.findall(r"```json vectors:(\w+)\n(.*?)\n```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
}
CASES = [(name, vector) for name, vectors in VECTORS.items() for vector in vectors]


def route_of(name: str, vector: dict[str, Any]) -> RouteSettings:
    options = {"format": name, "topic": "#", **vector.get("route", {})}
    return msgspec.convert({"routes": [options]}, Settings).routes[0]


def test_every_format_has_vectors_of_both_kinds() -> None:
    assert set(VECTORS) == {route.__struct_config__.tag for route in DECODERS}
    for vectors in VECTORS.values():
        assert {"readings", "refused"} <= {key for vector in vectors for key in vector}


@pytest.mark.parametrize(("name", "vector"), CASES)
def test_vector(name: str, vector: dict[str, Any]) -> None:
    router = Router((route_of(name, vector),))
    arrival = Arrival(vector["topic"], vector["payload"].encode(), NOW_S)
    if "refused" in vector:
        with pytest.raises(DecodeError) as caught:
            router.decode(arrival)
        assert caught.value.reason == vector["refused"]
        return
    got = [(one.stream, one.value, one.unit, one.time_s - NOW_S) for one in router.decode(arrival)]
    wanted = [(*reading, "", 0)[:4] if len(reading) < 3 else (*reading, 0)[:4] for reading in vector["readings"]]
    assert [one[:3] for one in got] == [tuple(one[:3]) for one in wanted]
    assert [one[3] for one in got] == pytest.approx([one[3] for one in wanted], abs=1e-4)
    assert router.take_notes() == vector.get("notes", {})


def test_the_tables_of_the_document_name_every_reason() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    sources = (path.read_text(encoding="utf-8") for path in (DOCUMENT.parents[2] / "edge_agent" / "decode").glob("*.py"))
    reasons = {
        reason
        for source in sources
        for reason in re.findall(r'(?:DecodeError|_BadLine|note|_refusing)\([^"\n]*"([a-z-]+)"', source)
    }
    assert len(reasons) > 12
    for reason in reasons:
        assert f"`{reason}`" in text, reason
