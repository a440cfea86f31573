"""The headers of a bundle: what the format says is read, anything else refused, nothing beyond the file looked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import LinkError, RepositoryRefusedError
from edge_agent.update import ustar
from edge_agent.update.ustar import Span, spans
from tests.update.bundles import END, bundle, header, joined, member, padded

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/formats/repository.md"
NAME = "targets/blobs/" + "ab" * 32
GOOD = bundle({"metadata/1.root.json": b"{}", "metadata/timestamp.json": b"", NAME: b"x" * 1_000})


def spans_of(data: bytes) -> dict[str, Span]:
    def read(offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= len(data)
        return data[offset : offset + length]

    return spans(read, len(data))


def refused(data: bytes) -> str:
    with pytest.raises(RepositoryRefusedError) as told:
        spans_of(data)
    assert told.value.reason == "bundle"
    return told.value.detail


def test_files_are_found_where_they_stand() -> None:
    found = spans_of(GOOD)
    assert list(found) == ["metadata/1.root.json", "metadata/timestamp.json", NAME]
    assert [GOOD[at.offset : at.offset + at.size_bytes] for at in found.values()] == [b"{}", b"", b"x" * 1_000]
    assert spans_of(END) == {}


def test_the_headers_of_the_format_are_read() -> None:
    block = re.search(r"^```json vectors:headers\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    for vector in json.loads(block[1]):
        made = header(vector["name"], vector["size_bytes"], checksum=vector["checksum"].encode() + b"\0 ")
        assert spans_of(joined([made, padded(bytes(vector["size_bytes"]))])) == {vector["name"]: Span(512, vector["size_bytes"])}


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (b"1", "a hard link"), (b"2", "a symbolic link"), (b"3", "a device"), (b"4", "a device"), (b"5", "a folder"),
        (b"6", "a FIFO"),
        (b"x", "an extended header"), (b"g", "an extended header"), (b"L", "a long name"), (b"S", "a sparse file"),
        (b"7", "not a regular file"), (b"Z", "not a regular file"),
    ],
)  # fmt: skip
def test_only_files_are_in_a_bundle(kind: bytes, what: str) -> None:
    assert what in refused(joined([header(NAME, 0, kind=kind, link=b"/etc/passwd")]))
    assert what in refused(joined([header(NAME, 0, kind=kind)]))


def test_a_file_with_a_link_name_is_none() -> None:
    assert "files alone" in refused(joined([header(NAME, 0, link=b"x")]))


@pytest.mark.parametrize(
    "name",
    [
        "", "/etc/passwd", "metadata", "metadata/", "metadata//x", "metadata/../x", "metadata/..", "metadata/./x", "targets/.x",
        "other/x", "../metadata/x", "./metadata/x", "metadata/x y", "metadata/ü", "metadata/x\n", "metadata/x%2e", "Metadata/x",
    ],
)  # fmt: skip
def test_a_name_that_is_not_of_a_repository_is_refused(name: str) -> None:
    assert "is no name" in refused(joined([header(name, 0)]))


def test_a_prefix_is_a_part_of_the_name_and_is_held_to_the_same() -> None:
    made = joined([header("release.json", 0, prefix=b"targets/groups/a")])
    assert list(spans_of(made)) == ["targets/groups/a/release.json"]
    assert "is no name" in refused(joined([header("metadata/x", 0, prefix=b"..")]))
    assert "is no name" in refused(joined([header("x" * 100, 0, prefix=b"metadata/" + b"y" * 146)]))


def test_a_name_twice_is_refused_also_by_way_of_the_prefix() -> None:
    assert "stands in it twice" in refused(bundle({NAME: b""})[:512] + bundle({NAME: b"other"}))
    twice = joined([header("metadata/x", 0), header("x", 0, prefix=b"metadata")])
    assert "stands in it twice" in refused(twice)


@pytest.mark.parametrize(
    "size", [b"", b"-0000000001", b"0000000008", b"\x80" + bytes(11), b"\xff" * 12, b"1 1", b"0x10", b"12345\x01"]
)
def test_a_size_that_is_not_in_octal_digits_is_refused(size: bytes) -> None:
    assert "octal" in refused(joined([header(NAME, size)]))


def test_other_kinds_of_tar_and_damage_are_refused() -> None:
    assert "another kind of tar" in refused(joined([header(NAME, 0, magic=b"ustar  \0")]))
    assert "another kind of tar" in refused(joined([header(NAME, 0, magic=b"")]))
    assert "not a header" in refused(joined([header(NAME, 0, checksum=b"000000\0 ")]))
    assert "not a header" in refused(joined([header(NAME, 0, checksum=b"\xff" * 8)]))
    assert "not a header" in refused(b"\x1f\x8b" + bytes(2_000))
    assert "not a header" in refused(b"<html>" * 200)


def test_after_the_end_there_is_nothing() -> None:
    assert "nothing after" in refused(GOOD + bytes(512))
    assert "nothing after" in refused(GOOD + member("metadata/2.root.json", b"") + END)
    assert "nothing after" in refused(GOOD[:-512] + b"x" * 512)


@pytest.mark.parametrize("length", [0, 1, 511, 512, 600, len(GOOD) - 1_025, len(GOOD) - 1_024, len(GOOD) - 512, len(GOOD) - 1])
def test_a_bundle_that_is_not_whole_is_told_apart(length: int) -> None:
    with pytest.raises(LinkError, match="not copied whole"):
        spans_of(GOOD[:length])


def test_a_size_that_lies_ends_the_bundle() -> None:
    with pytest.raises(LinkError, match="not copied whole"):
        spans_of(joined([header(NAME, 1 << 32), bytes(512)]))
    assert "not a header" in refused(joined([header(NAME, 0), padded(b"these are its bytes")]))


def test_so_many_files_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ustar, "MAX_MEMBERS", 3)
    names = [f"metadata/{number}.root.json" for number in range(4)]
    assert len(spans_of(bundle(dict.fromkeys(names[:3], b"")))) == 3
    assert "more than 3 files" in refused(bundle(dict.fromkeys(names, b"")))


@given(at=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255), length=st.integers(0, len(GOOD)))
def test_any_damage_is_read_or_refused_and_never_leads_astray(at: int, value: int, length: int) -> None:
    damaged = bytearray(GOOD)
    damaged[at] = value
    try:
        found = spans_of(bytes(damaged[:length]))
    except (RepositoryRefusedError, LinkError):
        return
    assert all(span.offset + span.size_bytes <= length for span in found.values())
