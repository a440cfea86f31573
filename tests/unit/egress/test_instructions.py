"""The instructions are the same for every question and fit the schema of its answer."""

from __future__ import annotations

from edge_agent.egress.instructions import INSTRUCTIONS, answer_schema


def test_the_instructions_say_what_the_schema_asks_for() -> None:
    assert '{"sentences": [' in INSTRUCTIONS
    # Servers take the format `json_object` only where the messages speak of JSON.
    assert "JSON" in INSTRUCTIONS
    assert INSTRUCTIONS.isascii()
    assert all(len(line) < 200 for line in INSTRUCTIONS.splitlines())


def test_the_schema_asks_for_one_text_a_chunk_and_nothing_else() -> None:
    schema = answer_schema(3)
    assert schema["required"] == ["sentences"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert properties["sentences"] == {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3}


def test_with_patterns_each_text_has_its_own_in_order() -> None:
    properties = answer_schema(2, ("a b", "c d"))["properties"]
    assert isinstance(properties, dict)
    items = [{"type": "string", "pattern": "^a b$"}, {"type": "string", "pattern": "^c d$"}]
    assert properties["sentences"] == {"type": "array", "prefixItems": items, "minItems": 2, "maxItems": 2}
