"""Release manifests: accepted, refused, compared with files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from edge_agent.errors import ReleaseError
from edge_agent.release.manifest import (
    FORMAT,
    MAX_COMPONENTS,
    REQUIRED,
    Checks,
    Limits,
    Manifest,
    check_component,
    describe,
    encode_manifest,
    parse_manifest,
    refuse,
)

FILES = {name: name.encode() for name in REQUIRED}
EMPTY = {"sha256": "0" * 64, "size_bytes": 0}


def manifest() -> Manifest:
    components = describe(FILES)
    return Manifest(
        format=FORMAT,
        id="factory-1",
        counter=1,
        minimum_agent="0.1.0",
        components=components,
        checks=Checks(
            prompt_version=1,
            verifier_version=1,
            tokenizer_sha256=components["tokenizer.json"].sha256,
            classifier_sha256=components["classifier.tflite"].sha256,
        ),
        limits=Limits(max_rss_bytes=1, max_sentence_s=1.0),
    )


def test_what_was_encoded_is_parsed_and_encoding_is_canonical() -> None:
    data = encode_manifest(manifest())
    assert parse_manifest(data, "m") == manifest()
    assert encode_manifest(parse_manifest(data, "m")) == data


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["components"].pop(name)


def _set(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *folders, last = path.split("|")
        for folder in folders:
            document = document[folder]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *((_without(name), name) for name in REQUIRED),
        (_set("format", "edge-agent-release/9"), "edge-agent-release/9"),
        (_set("counter", -1), "counter"),
        (_set("id", "../x"), "id"),
        (_set("surprise", 1), "surprise"),
        (_set("components|../../etc/passwd", {"sha256": "0" * 64, "size_bytes": 0}), "components"),
        (_set("components|/etc/passwd", {"sha256": "0" * 64, "size_bytes": 0}), "components"),
        (_set("checks|tokenizer_sha256", "0" * 64), "tokenizer.json"),
        (_set("checks|classifier_sha256", "0" * 64), "classifier.tflite"),
        (_set("certificate", "certificate.json"), "certificate.json"),
        (_set("golden", "x" * 201), "golden"),
        (_set("format", "x" * 65), "format"),
        (_set("counter", 1 << 53), "counter"),
        (_set("counter", 10**4000), "counter"),
        (_set("checks|prompt_version", 10**4000), "prompt_version"),
        (_set("limits|max_rss_bytes", 1 << 60), "max_rss_bytes"),
        (_set("limits|max_sentence_s", 1e300), "max_sentence_s"),
        (_set("components|huge", {"sha256": "0" * 64, "size_bytes": 1 << 62}), "size_bytes"),
        (_set("components|manifest.json", EMPTY), "manifest.json: stands twice"),
        (_set("components|keys.json", EMPTY), "keys.json: stands twice"),
        (_set("components|Writer/Model.bin", EMPTY), "Writer/Model.bin: stands twice"),
        (_set("components|writer", EMPTY), "writer: is a file and a folder"),
        (_set("components|Lexicon.txt/x", EMPTY), "lexicon.txt: is a file and a folder"),
        (_set("components|manifest.json/x", EMPTY), "manifest.json: is a file and a folder"),
        (_set("components|" + "a/" * 65 + "a", EMPTY), "more than 64 folders"),
        (lambda document: document["components"].update({f"{i}/x": EMPTY for i in range(65)}), "more than 64 folders"),
        (_set("components|caf\u00e9", EMPTY), "components"),
        (_set("components|" + "x" * 201, EMPTY), "components"),
        (lambda document: document["components"].update({f"{i}": EMPTY for i in range(MAX_COMPONENTS)}), "components"),
    ],
)
def test_a_manifest_that_is_not_whole_is_refused_and_says_what_is_wrong(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    document = json.loads(encode_manifest(manifest()))
    change(document)
    with pytest.raises(ReleaseError, match=message.replace(".", r"\.")):
        parse_manifest(json.dumps(document).encode(), "m")


@pytest.mark.parametrize("name", ["\x1b]0;here\x07", "\u202egnorw", "two\nlines", "\x9b2J", "long" * 200_000])
def test_what_is_told_of_a_manifest_moves_no_cursor_and_is_short(name: str) -> None:
    document = json.loads(encode_manifest(manifest()))
    for change in ({name: 1}, {"format": name}, {"golden": name}, {"components": {name: EMPTY}}):
        with pytest.raises(ReleaseError) as told:
            parse_manifest(json.dumps({**document, **change}, ensure_ascii=False).encode(), "m")
        assert str(told.value).isprintable()
        assert len(str(told.value)) < 600


def _stored(**members: object) -> dict[str, object]:
    return {"sha256": "0" * 64, "size_bytes": 5, "chunk_bytes": 4096, "chunks": ["0" * 64], **members}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"stored": _stored()}, "lexicon.txt: is stored as other bytes, but is not sealed"),
        ({"stored": _stored(sealed="\x1b[2J")}, "sealed"),
        ({"stored": _stored(sealed="k", chunks=[])}, "0 chunks of 4096 bytes are not 5 bytes"),
        ({"stored": _stored(sealed="k"), "merged": {"base": "tokenizer.json", "adapter": "x"}}, "is both stored and merged"),
        ({"merged": {"base": "tokenizer.json", "adapter": "none"}}, "is merged of 'none', which is no component"),
        ({"merged": {"base": "lexicon.txt", "adapter": "tokenizer.json"}}, "is merged of 'lexicon.txt', which is no component"),
        ({"merged": {"base": "tokenizer.json", "adapter": "confidence.json"}}, "is merged of 'confidence.json', which is sealed"),
    ],
)
def test_how_a_component_is_stored_or_made_must_hold_together(members: dict[str, object], message: str) -> None:
    document = json.loads(encode_manifest(manifest()))
    document["components"]["confidence.json"]["stored"] = _stored(sealed="k")
    parse_manifest(json.dumps(document).encode(), "m")
    document["components"]["lexicon.txt"].update(members)
    with pytest.raises(ReleaseError, match=message.replace(".", r"\.")):
        parse_manifest(json.dumps(document).encode(), "m")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\xfe", b"null", b"{" * 5000, b" " * (2 << 20)])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ReleaseError, match="manifest"):
        parse_manifest(data, "m")


def test_a_component_is_compared_by_size_and_digest() -> None:
    check_component(manifest(), "lexicon.txt", FILES["lexicon.txt"])
    with pytest.raises(ReleaseError, match="bytes instead of"):
        check_component(manifest(), "lexicon.txt", b"")
    with pytest.raises(ReleaseError, match="digest"):
        check_component(manifest(), "lexicon.txt", FILES["lexicon.txt"][::-1])


def test_an_agent_refuses_what_it_cannot_run() -> None:
    assert refuse(manifest(), "0.1.0", 1) is None
    assert refuse(manifest(), "0.10.0", 1) is None
    assert "0.1.0 or newer" in (refuse(manifest(), "0.0.9", 1) or "")
    assert "prompts" in (refuse(manifest(), "0.1.0", 2) or "")


def test_a_certificate_is_no_reason_to_refuse() -> None:
    assert refuse(replace(manifest(), certificate="certificate.json"), "0.1.0", 1) is None


@pytest.mark.parametrize("change", [{"id": "factory-1\n"}, {"minimum_agent": "0.1.0\n"}])
def test_a_text_that_ends_in_a_line_is_none(change: dict[str, str]) -> None:
    document = json.loads(encode_manifest(manifest()))
    with pytest.raises(ReleaseError):
        parse_manifest(json.dumps({**document, **change}).encode(), "m")


def test_a_path_or_digest_that_ends_in_a_line_is_none() -> None:
    document = json.loads(encode_manifest(manifest()))
    document["components"]["more.txt\n"] = {"sha256": "a" * 64, "size_bytes": 1}
    with pytest.raises(ReleaseError):
        parse_manifest(json.dumps(document).encode(), "m")
    del document["components"]["more.txt\n"]
    document["components"]["more.txt"] = {"sha256": "a" * 64 + "\n", "size_bytes": 1}
    with pytest.raises(ReleaseError):
        parse_manifest(json.dumps(document).encode(), "m")
