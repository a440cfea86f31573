"""Formats that run code when they are loaded are refused, whatever they are called; text and data never are."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import pickletools
import tarfile
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edge_ota.contents import refuse_contents
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.engines.loading import FACTORY
from edge_agent.errors import ReleaseError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
JUNK = st.binary(min_size=1, max_size=200)


class Bomb:
    """What is loaded instead of this: a call."""

    def __init__(self, call: Any = os.system, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.arguments


BOMBS = [Bomb(os.system, "true"), [1, Bomb(print, "x")], {"state": Bomb(eval, "1")}, datetime(2026, 1, 1, tzinfo=UTC), Path("x")]


def refused(data: bytes, name: str = "part.bin") -> bool:
    try:
        refuse_contents(name, io.BytesIO(data))
    except ReleaseError:
        return True
    return False


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=VALUES)
@settings(max_examples=40, deadline=None)
def test_every_pickle_is_refused(protocol: int, value: object) -> None:
    assert refused(pickle.dumps(value, protocol))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: type(bomb).__name__)
@given(junk=JUNK, tail=st.binary(max_size=50))
@settings(max_examples=15, deadline=None)
def test_a_pickle_that_runs_something_is_refused_behind_and_before_rubbish(
    protocol: int, bomb: object, junk: bytes, tail: bytes
) -> None:
    data = pickle.dumps(bomb, protocol)
    assert refused(data + tail)
    assert refused(junk + data)
    assert refused(junk + data + tail)
    assert refused(junk + pickletools.optimize(data) + tail)


@pytest.mark.parametrize("protocol", [4, 5])
@given(junk=JUNK, value=st.lists(st.integers(), min_size=1))
@settings(max_examples=30, deadline=None)
def test_a_framed_pickle_of_mere_data_is_refused_behind_rubbish(protocol: int, junk: bytes, value: list[int]) -> None:
    assert refused(junk + pickle.dumps(value, protocol) + b"more")


@pytest.mark.parametrize("protocol", [2, 3])
def test_an_unframed_pickle_of_mere_data_is_refused_behind_rubbish_at_the_end_of_a_file(protocol: int) -> None:
    assert refused(b"header" + pickle.dumps([1, 2], protocol))


@pytest.mark.parametrize("written", [b"cos\nsystem\n(S'true'\ntR.", b"(S'true'\nios\nsystem\n.", b"(cos\nsystem\nS'true'\no."])
@pytest.mark.parametrize("before", [b"", b"words\n", b"\n", b"\xff\xfe\0", b"c", b"a" * (1 << 20)])
def test_pickles_written_by_hand_are_refused(written: bytes, before: bytes) -> None:
    assert refused(before + written)
    assert refused(before + written + b"\nand more\n")


def test_a_pickle_far_inside_a_large_file_is_refused() -> None:
    filler = np.random.default_rng(1).integers(0, 256, 3 << 20, dtype=np.uint8).tobytes()
    assert not refused(filler)
    for at in (1 << 20, (1 << 20) - 5, (2 << 20) + 3):
        for protocol in PROTOCOLS:
            assert refused(filler[:at] + pickle.dumps(Bomb(os.system, "true"), protocol) + filler[at:])


def test_a_large_list_of_words_is_not_refused() -> None:
    """Sorted, so that hundreds of lines in a row begin with `c`, and each word reads as something imported."""
    letters = np.random.default_rng(2).integers(97, 123, (6_000, 5), dtype=np.uint8)
    assert not refused(b"".join(sorted(bytes(row) + b"\n" for row in letters)) + b".\n", "lexicon.txt")


def _zip(compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1], 2))
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"))
    return out.getvalue()


def _numpy(*, objects: bool) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Path("x")] if objects else [1, 2], dtype=object if objects else np.int64), allow_pickle=objects)
    return out.getvalue()


def _npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.zeros(3))
    return out.getvalue()


PICKLED = pickle.dumps([1], 4)
ARCHIVES = {
    "torch zip": _zip(),
    "torch zip behind a header": b"HEADER\0\0" + _zip(zipfile.ZIP_DEFLATED),
    "torch before 1.6": pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2),
    "torch as tar": _tar(),
    "npz": _npz(),
    "numpy objects": _numpy(objects=True),
    "joblib gzip": gzip.compress(PICKLED),
    "joblib bz2": bz2.compress(PICKLED),
    "joblib xz": lzma.compress(PICKLED),
    "joblib lzma": lzma.compress(PICKLED, lzma.FORMAT_ALONE),
    "keras h5": b"\x89HDF\r\n\x1a\n" + bytes(64),
} | {f"joblib zlib {level}": zlib.compress(PICKLED, level) for level in range(10)}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_and_packed_pickles_are_refused(kind: str) -> None:
    assert refused(ARCHIVES[kind])


def test_what_joblib_writes_bare_is_refused() -> None:
    """Its array bytes stand in the middle of its pickle, so that this never comes to an end that is legal."""
    head = pickle.dumps(Bomb(np.dtype, "f8"), 4)[:-1]
    assert refused(head + bytes(range(256)))
    assert refused(b"\0" * 7 + head + bytes(range(256)))


@pytest.mark.parametrize("name", ["a.pkl", "a.PT", "b/c.joblib", "a.npz", "a.ckpt", "a.h5"])
def test_a_name_that_says_it_is_enough(name: str) -> None:
    assert refused(b"{}", name)


@given(words=st.lists(st.text("abcdefghijklmnopqrstuvwxyz.,-()", min_size=1, max_size=12)))
@settings(max_examples=300, deadline=None)
def test_a_list_of_words_is_not_refused(words: list[str]) -> None:
    assert not refused("".join(f"{word}\n" for word in sorted(words)).encode(), "lexicon.txt")


@given(text=st.text())
@settings(max_examples=300, deadline=None)
def test_text_that_ends_its_lines_is_not_refused(text: str) -> None:
    assert not refused(f"# Notes\n\n{text}\n".encode(), "notes.md")


@given(value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner), max_leaves=5))
def test_json_is_not_refused(value: object) -> None:
    assert not refused(json.dumps(value, ensure_ascii=False).encode(), "x.json")


TEXTS = ["", "\n", ".\n", "a\n", "N\n.\n", "I1\n", "(\n)\n.\n", "Pump\n.\n", "ca\ndo\n", "cat\ndog\n.\nabout\n", "N.B. this\n"]
TEXTS += ["[]", "0", '"."', "Vibration is high.\n", "(see below).\n", "{}\n", "# Title\n\nText. More.\n", "I.\n", "l.\n", "t.\n"]
TEXTS += ["S.\n", "(I1\nI2\nl\n", "N.\n"]


@pytest.mark.parametrize("text", TEXTS)
def test_short_texts_are_not_refused(text: str) -> None:
    assert not refused(text.encode(), "text.txt")


@pytest.mark.parametrize("path", sorted(path for path in FACTORY.rglob("*") if path.is_file()), ids=lambda path: path.name)
def test_the_files_of_the_factory_release_are_not_refused(path: Path) -> None:
    with path.open("rb") as file:
        refuse_contents(path.name, file)


def test_arrays_of_numbers_are_not_refused_by_content() -> None:
    assert not refused(_numpy(objects=False))
