"""The table of decoders holds one for every format that can be configured."""

from __future__ import annotations

from typing import get_args

from edge_agent.config.naming import HOLES
from edge_agent.config.settings import Route
from edge_agent.decode.table import DECODERS


def test_every_route_type_has_a_decoder_and_placeholders() -> None:
    assert set(DECODERS) == set(get_args(Route))
    assert {route.__struct_config__.tag for route in DECODERS} == set(HOLES)
