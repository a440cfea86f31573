"""Logs as files: exact bodies, an anchor where the beginning is gone, damage carried through, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.chain import ANCHOR, first_break
from edge_agent.errors import InputError
from edge_agent.messages.log_lines import Chain, log_lines, parse_hash, parse_log
from edge_agent.values import LogEntry
from tests.unit.test_chain import chain_of

HASH = "ab" * 32


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_whatever_bytes_the_bodies_are_they_come_back(bodies: list[bytes]) -> None:
    entries = chain_of(*bodies)
    assert parse_log(log_lines(entries), "log") == (ANCHOR, entries)


def test_a_line_is_plain_json_with_the_body_as_text() -> None:
    (line,) = log_lines(chain_of('{"a":"é"}'.encode()))
    assert line.endswith(b"\n")
    document = json.loads(line)
    assert list(document) == ["number", "body", "hash"]
    assert document["body"] == '{"a":"é"}'
    assert parse_hash(document["hash"]) == chain_of('{"a":"é"}'.encode())[0].hash


def test_a_shortened_log_begins_with_the_hash_that_it_follows_from() -> None:
    whole = chain_of(b"one", b"two", b"three")
    lines = list(log_lines(whole[1:], whole[0].hash))
    assert json.loads(lines[0]) == {"number": 1, "body": None, "hash": whole[0].hash.hex()}
    anchor, entries = parse_log(lines, "log")
    assert (anchor, entries) == (whole[0].hash, whole[1:])
    assert first_break(entries, anchor) is None


def test_a_chain_that_is_written_here_is_whole() -> None:
    chain = Chain()
    entries = [chain.append(body) for body in (b"one", b"two")]
    assert entries == chain_of(b"one", b"two")
    assert (chain.head, chain.length) == (entries[-1].hash, 2)


def test_empty_lines_are_passed_over_and_every_problem_has_its_place() -> None:
    (line,) = log_lines(chain_of(b"one"))
    assert parse_log([b"\n", line, b""], "log")[1] == chain_of(b"one")
    with pytest.raises(InputError, match=r"log:2: is no JSON"):
        parse_log([line, b"{"], "log")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[]", "is no entry of a log"),
        ('{"number":1,"body":"b"}', "is no entry of a log"),
        ('{"number":1,"body":"b","hash":"00","more":1}', "is no entry of a log"),
        ('{"number":"1","body":"b","hash":"HASH"}', "number: expected a whole number"),
        ('{"number":true,"body":"b","hash":"HASH"}', "number: expected a whole number"),
        ('{"number":1,"body":{},"hash":"HASH"}', "body: expected text"),
        ('{"number":1,"body":"\\ud800","hash":"HASH"}', "body: holds half of a surrogate pair"),
        ('{"number":1,"body":"b","hash":7}', "hash: expected text"),
        ('{"number":1,"body":"b","hash":"abcd"}', "'abcd' is no hash; expected 64 hexadecimal digits"),
        ('{"number":1,"body":"b","hash":"ZZ"}', "is no hash"),
    ],
)
def test_what_is_no_entry_is_refused(line: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as refused:
        parse_log([line.replace("HASH", HASH).replace("ZZ", "zz" * 32).encode()], "log")
    assert refused.value.detail.startswith("log:1: ")


def test_only_the_first_line_may_be_without_a_body() -> None:
    anchor = '{"number":1,"body":null,"hash":"HASH"}'.replace("HASH", HASH).encode()
    with pytest.raises(InputError, match="log:2: has no body"):
        parse_log([anchor, anchor], "log")
    with pytest.raises(InputError, match="log:2: has no body"):
        parse_log([*log_lines(chain_of(b"one")), anchor], "log")


def test_a_hash_may_be_written_with_capitals() -> None:
    assert parse_hash(HASH.upper()) == bytes.fromhex(HASH)


def test_numbers_are_kept_as_they_are() -> None:
    entry = LogEntry(number=7, body=b"x", hash=bytes(32))
    assert parse_log(log_lines([entry]), "log") == (ANCHOR, [entry])
