"""The tree of errors: one root, split by what the caller should do."""

from __future__ import annotations

import inspect

import pytest

from edge_agent import errors
from edge_agent.errors import ConfigError, DecodeError, EdgeAgentError, EngineError, InputError, ReleaseError, plain

OURS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", OURS)
def test_every_error_is_one_of_ours_and_says_what_it_is_for(kind: type[Exception]) -> None:
    assert issubclass(kind, EdgeAgentError)
    assert kind.__doc__
    assert kind.__name__.endswith("Error")


def test_what_was_received_wrong_carries_a_reason_for_counters_and_a_detail_for_people() -> None:
    error = DecodeError("bad-json", "line 1: a comma is missing")
    assert isinstance(error, InputError)
    assert (error.reason, error.detail) == ("bad-json", "line 1: a comma is missing")
    assert str(error) == "bad-json: line 1: a comma is missing"
    assert str(InputError("empty")) == "empty"


def test_a_bad_configuration_carries_every_problem() -> None:
    problems = ("a.yaml:1:1: mqtt: wrong", "a.yaml:2:1: routes: wrong")
    error = ConfigError(problems)
    assert error.problems == problems
    assert str(error).splitlines() == list(problems)


def test_an_engine_that_fails_is_a_release_that_cannot_be_used() -> None:
    assert issubclass(EngineError, ReleaseError)
    assert not issubclass(EngineError, InputError)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("writer/model.bin: zu groß", "writer/model.bin: zu groß"),
        ("two\r\nlines\tand more", "two  lines and more"),
        ("\x1b[2J\x9b\u202e\udcff\0", "?[2J????"),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 17 + "..."),
    ],
)
def test_what_others_wrote_is_one_printable_line(text: str, shown: str) -> None:
    assert plain(text, 20 if text.startswith("x") else 100) == shown
