"""The reviewed units: short, printed as they are, and free of anything that could be read as words."""

from __future__ import annotations

import re

import pytest

from edge_agent.decode.senml import UNIT_SIGNS
from edge_agent.egress.units import REVIEWED_UNITS
from edge_agent.facts import print_values


@pytest.mark.parametrize("unit", sorted(REVIEWED_UNITS))
def test_a_unit_is_printed_as_it_stands(unit: str) -> None:
    assert print_values([1.0], unit)[0].removeprefix("1").lstrip(" ") == unit
    assert len(unit) <= 8
    assert not re.search(r"[\s<>{}\"'\\;,]", unit)


def test_the_units_of_senml_that_are_written_in_another_way_are_among_them() -> None:
    assert set(UNIT_SIGNS.values()) - REVIEWED_UNITS == set()
