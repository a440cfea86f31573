"""The test vectors of docs/formats/egress.md, run against the code."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_agent.chain import ANCHOR, link
from edge_agent.egress.answer import parse_answer
from edge_agent.egress.log import egress_entry
from edge_agent.egress.pseudonyms import Pseudonyms
from edge_agent.egress.question import document, question_of
from edge_agent.egress.units import REVIEWED_UNITS
from edge_agent.errors import InputError
from edge_agent.messages import encode, parse_incident
from edge_agent.pipeline import plan_of

DOCUMENT = (Path(__file__).parents[2] / "docs" / "formats" / "egress.md").read_text("utf-8")
BLOCK = re.compile(r"^```json vectors:(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VECTORS: dict[str, list[dict[str, Any]]] = {name: json.loads(body) for name, body in BLOCK.findall(DOCUMENT)}


def vectors(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[name])


def test_every_block_of_vectors_is_run() -> None:
    assert sorted(VECTORS) == sorted(["questions", "streams", "requests", "answers", "entries"])


@vectors("questions")
def test_questions(vector: dict[str, Any]) -> None:
    names = Pseudonyms(bytes.fromhex(VECTORS["streams"][0]["key"]))
    incident = parse_incident(encode(vector["incident"]), "i.json")
    sent = document(
        question_of(
            plan_of(incident, None),
            id=names.request_id(incident.id, incident.revision),
            severity=incident.severity,
            allow=vector["allow"],
            pseudonyms=names,
        )
    )
    assert sent == json.dumps(vector["document"], ensure_ascii=False, separators=(",", ":")).encode()
    assert (len(sent), hashlib.sha256(sent).hexdigest()) == (vector["bytes"], vector["sha256"])


@vectors("streams")
def test_pseudonyms_of_streams(vector: dict[str, Any]) -> None:
    assert Pseudonyms(bytes.fromhex(vector["key"])).stream(vector["stream"]) == vector["pseudonym"]


@vectors("requests")
def test_ids_of_requests(vector: dict[str, Any]) -> None:
    names = Pseudonyms(bytes.fromhex(vector["key"]))
    assert names.request_id(vector["incident"], vector["revision"]) == vector["request"]


@vectors("answers")
def test_answers(vector: dict[str, Any]) -> None:
    if "refused" in vector:
        with pytest.raises(InputError) as caught:
            parse_answer(vector["text"], vector["chunks"])
        assert caught.value.reason == vector["refused"]
    else:
        assert parse_answer(vector["text"], vector["chunks"]) == tuple(vector["wordings"])


def test_entries_and_their_chain() -> None:
    previous = ANCHOR
    for vector in VECTORS["entries"]:
        members = {key: value for key, value in vector.items() if key not in ("entry", "hash", "body")}
        entry = egress_entry(**members, body=vector["body"].encode())
        previous = link(previous, entry)
        assert (entry.decode(), previous.hex()) == (vector["entry"], vector["hash"])


def test_the_units_are_those_of_the_code() -> None:
    listed = DOCUMENT.partition("## Reviewed units")[2].partition("\n\n")[2].partition("\n\n")[2]
    assert set(re.findall("`([^`]+)`", listed)) == REVIEWED_UNITS
