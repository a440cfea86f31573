"""The settings and the files that are shipped for them: the commented default, the schema, and each setting's place in both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from edge_agent.config.load import check, json_schema, load, load_text
from edge_agent.config.settings import MqttSettings, Settings, TlsSettings
from edge_agent.decode.family import MAX_PAYLOAD_BYTES
from edge_agent.decode.streams import MAX_UNIT_CHARS

CONFIG = Path(__file__).resolve().parents[3] / "config"
DEFAULT = CONFIG / "edge-agent.yaml"


def uncommented() -> str:
    """The default file with every `#key: value` in force; prose has a space after its `#`."""
    return re.sub(r"(?m)^( *)#(?=[-a-z])", r"\1", DEFAULT.read_text(encoding="utf-8"))


def sections() -> dict[str, type[msgspec.Struct]]:
    """Every section of the settings by its key, `""` for the top, also those within others."""
    return {"": Settings, **_within(inspect.type_info(Settings), "")}


def _within(section: inspect.Type, key: str) -> dict[str, type[msgspec.Struct]]:
    found: dict[str, type[msgspec.Struct]] = {}
    for field in section.fields:  # type: ignore[attr-defined]  # a struct's type has fields
        kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        for kind in kinds:
            if isinstance(kind, inspect.StructType):
                inner = f"{key}.{field.name}".lstrip(".")
                found |= {inner: kind.cls, **_within(kind, inner)}
    return found


def lines_of(section: str) -> str:
    """The part of the default file that is about a section: what stands below its key and further in."""
    lines = DEFAULT.read_text(encoding="utf-8").splitlines()
    for depth, name in enumerate(section.split(".") if section else ()):
        start = next(number for number, line in enumerate(lines) if re.match(rf" {{{2 * depth}}}#?{name}:", line)) + 1
        deeper = re.compile(rf" {{{2 * depth + 1}}}|$")
        end = next((number for number, line in enumerate(lines[start:], start) if not deeper.match(line)), len(lines))
        lines = lines[start:end]
    return "\n".join(lines)


def test_the_default_file_is_all_defaults() -> None:
    report = check(DEFAULT)
    assert report.settings == Settings()
    assert [warning.partition(": ")[2] for warning in report.warnings] == ["routes: there are none, so nothing is listened to"]


def test_what_is_commented_out_in_it_are_the_defaults_too() -> None:
    settings = load_text(uncommented(), "edge-agent.yaml")
    assert len(settings.routes) == 1
    assert settings.mqtt.tls == TlsSettings()
    plain = msgspec.structs.replace(settings, routes=(), mqtt=msgspec.structs.replace(settings.mqtt, tls=None))
    assert plain == Settings()


BY_REFERENCE = {"escalation.openai.tls", "update.repository.tls", "update.hawkbit.tls"}
"""What is told of as being like `mqtt.tls`."""


@pytest.mark.parametrize("section", sorted({*sections()} - BY_REFERENCE))
def test_every_setting_stands_in_it(section: str) -> None:
    text = lines_of(section)
    for name in sections()[section].__struct_fields__:
        assert re.search(rf"(?m)^ *#?{name}:", text), f"`{name}` of `{section}` is not in config/edge-agent.yaml"


def test_sections_within_sections_are_found() -> None:
    assert {"mqtt.tls", "escalation.openai", "escalation.openai.tls", "escalation.mqtt", "escalation.spool"} <= set(sections())
    assert "max_streams" not in lines_of("mqtt")
    assert "folder" in lines_of("escalation.spool")
    assert "topic" not in lines_of("escalation.spool")


def test_every_option_of_a_route_is_told_of_in_it() -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    routes = text[text.index("\nroutes:") : text.index("\ndetect:")]
    for field in inspect.type_info(Settings).fields:  # type: ignore[attr-defined]  # a struct's type has fields
        if field.name == "routes":
            for route in field.type.item_type.types:
                for option in (str(route.tag), *(option.name for option in route.fields)):
                    assert re.search(rf"\b{option}\b", routes), f"`{option}` of a route is not in config/edge-agent.yaml"


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((CONFIG / "edge-agent.schema.json").read_text(encoding="utf-8"))
    assert committed == json.loads(json.dumps(json_schema())), "run scripts/schema and commit config/edge-agent.schema.json"


def test_settings_are_frozen_and_strict() -> None:
    with pytest.raises(AttributeError):
        Settings().mqtt.port = 1  # type: ignore[misc]  # that is what is tried
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"mqtt": {"prot": 1}}, Settings)


def test_every_type_of_setting_can_be_read_from_yaml(tmp_path: Path) -> None:
    """A new setting of a type that the reader does not know is found here, not on a gateway."""
    file = tmp_path / "all.yaml"
    file.write_text(uncommented(), encoding="utf-8")
    assert load(file).mqtt.root == "edge"


def test_bounds_agree_with_those_of_the_decoders() -> None:
    top = {field.name: field.type for field in inspect.type_info(MqttSettings).fields}  # type: ignore[attr-defined]  # a struct
    assert top["max_payload_bytes"].le == MAX_PAYLOAD_BYTES
    unit = load_text(f"routes: [{{topic: a, format: number, unit: '{'x' * MAX_UNIT_CHARS}'}}]").routes[0].unit
    assert len(unit) == MAX_UNIT_CHARS
