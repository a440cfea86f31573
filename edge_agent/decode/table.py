"""The decoders, as a literal table from route settings to decoder.

To add a format: a route struct in `config/settings.py` (and in its `Route`), its placeholders in `config/naming.py`, one
file here, one line below, its samples in `tests/contract/test_decoders.py`, its section in `docs/formats/decoders.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from edge_agent.config.settings import InfluxRoute, JsonRoute, NumberRoute, RouteSettings, SenmlRoute
from edge_agent.decode.family import Decoder, Ledger
from edge_agent.decode.influx import InfluxDecoder
from edge_agent.decode.json_payload import JsonDecoder
from edge_agent.decode.number import NumberDecoder
from edge_agent.decode.senml import SenmlDecoder

MakeDecoder: TypeAlias = Callable[[Any, str, Ledger], Decoder]
"""From a route, a topic and the ledger to a decoder; each takes the route of its own format, hence Any."""

DECODERS: dict[type[RouteSettings], MakeDecoder] = {
    NumberRoute: NumberDecoder,
    JsonRoute: JsonDecoder,
    InfluxRoute: InfluxDecoder,
    SenmlRoute: SenmlDecoder,
}
