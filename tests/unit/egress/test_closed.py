"""Documents that may leave are built anew by type, or refused without a word of what was in them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec import Struct

from edge_agent.egress.closed import rebuilt, refusal
from edge_agent.errors import EgressError


class Closed(Struct, frozen=True, forbid_unknown_fields=True):
    count: int


class Wider(Closed, frozen=True, forbid_unknown_fields=True):
    name: str = "a name"


def test_a_value_of_its_type_comes_out_equal_and_as_another_one() -> None:
    value = Closed(3)
    assert rebuilt(value, Closed, "thing") == value
    assert rebuilt(value, Closed, "thing") is not value


@pytest.mark.parametrize("wrong", ["canary", None, 1.5, [1]])
def test_a_member_of_another_type_is_refused_and_not_quoted(wrong: Any) -> None:
    with pytest.raises(EgressError, match=r"^thing: has a member") as told:
        rebuilt(Closed(cast(int, wrong)), Closed, "thing")
    assert "canary" not in str(told.value)


def test_a_wider_type_does_not_bring_its_members_along() -> None:
    with pytest.raises(EgressError, match=r"^thing: has a member"):
        rebuilt(Wider(3), Closed, "thing")


def test_a_refusal_says_that_nothing_left_and_what_to_do() -> None:
    assert (
        str(refusal("thing", "is wrong")) == "thing: is wrong; it did not leave. This is a defect of edge-agent, please report it"
    )
