"""The values that travel: none can be changed, and the two names that are derived from a stream are right."""

from __future__ import annotations

import inspect
from typing import get_args

import msgspec
import pytest

from edge_agent import values
from edge_agent.values import KINDS, Anomaly, Arrival, Kind, Reading

STRUCTS = [
    kind
    for _, kind in inspect.getmembers(values, inspect.isclass)
    if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct
]


def anomaly(stream: str) -> Anomaly:
    return Anomaly(stream=stream, kind="spike", direction="up", onset_s=1.5, peak_s=2.0, score=0.9)


@pytest.mark.parametrize("kind", STRUCTS)
def test_every_value_is_frozen_and_described(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen
    assert kind.__doc__


def test_a_value_refuses_to_be_changed() -> None:
    reading = Reading("pump-1/flow", 1.0, 2.0)
    with pytest.raises(AttributeError):
        reading.value = 3.0  # type: ignore[misc]  # that it is refused is what is tested


def test_the_kinds_are_listed_once_each() -> None:
    assert get_args(Kind) == KINDS


@pytest.mark.parametrize(
    ("stream", "asset"), [("plant/pump-3/flow", "plant/pump-3"), ("pump-3/flow", "pump-3"), ("flow", "flow"), ("/flow", "/flow")]
)
def test_the_asset_is_what_stands_before_the_last_slash(stream: str, asset: str) -> None:
    assert anomaly(stream).asset == asset


def test_an_anomaly_keeps_its_key_while_it_is_updated() -> None:
    first = anomaly("pump-3/flow")
    later = msgspec.structs.replace(first, kind="shift", end_s=9.0, peak_s=4.0)
    assert later.key == first.key == ("pump-3/flow", 1.5)


def test_an_arrival_without_more_is_of_qos_0_and_not_retained() -> None:
    arrival = Arrival("t", b"p", 1.0)
    assert (arrival.qos, arrival.mid, arrival.session, arrival.retain) == (0, 0, 0, False)
