"""The router: which route takes a topic, what it remembers, and what it refuses."""

from __future__ import annotations

import pytest

from edge_agent.config.settings import JsonRoute, NumberRoute, SenmlRoute
from edge_agent.decode.family import MAX_PAYLOAD_BYTES, Ledger
from edge_agent.decode.router import Router
from edge_agent.errors import DecodeError
from edge_agent.values import Arrival

NOW_S = 1_790_000_000.0
ROUTES = (
    NumberRoute(topic="hall/+/number"),
    JsonRoute(topic="hall/#", stream="{-1}"),
    SenmlRoute(topic="$share/group/senml/+"),
    NumberRoute(topic="+/x", stream="{1}"),
)


def refused(router: Router, topic: str, payload: bytes = b"1") -> str:
    with pytest.raises(DecodeError) as caught:
        router.decode(Arrival(topic, payload, NOW_S))
    return caught.value.reason


def test_the_first_route_that_fits_takes_the_topic() -> None:
    router = Router(ROUTES)
    assert router.route_of("hall/a/number") is ROUTES[0]
    assert router.route_of("hall/a/b") is ROUTES[1]
    assert router.route_of("hall") is ROUTES[1]
    assert router.route_of("senml/x") is ROUTES[2]
    assert router.route_of("hall/x") is ROUTES[1]
    assert router.route_of("yard/x") is ROUTES[3]
    assert router.route_of("yard/y") is None


def test_readings_come_from_the_route_of_the_topic() -> None:
    router = Router(ROUTES)
    for _ in range(2):  # the second time from the cache
        (reading,) = router.decode(Arrival("hall/a/number", b"+1", NOW_S))
        assert (reading.stream, reading.value) == ("hall/a/number", 1.0)
        assert refused(router, "hall/a/b", b"+1") == "bad-json"
        assert refused(router, "yard/y") == "no-route"


def test_a_topic_whose_stream_cannot_be_named_is_refused_again_and_again() -> None:
    router = Router((NumberRoute(topic="#", stream="{3}"),))
    assert refused(router, "a/b") == refused(router, "a/b") == "bad-stream-name"
    assert router.decode(Arrival("a/b/c", b"1", NOW_S))[0].stream == "c"


def test_a_leading_wildcard_leaves_the_agents_own_topics_and_the_brokers_alone() -> None:
    router = Router((NumberRoute(topic="#"),), own_root="edge")
    assert refused(router, "edge/gateway-1/health") == "no-route"
    assert refused(router, "$SYS/broker/load") == "no-route"
    assert router.decode(Arrival("edgewise/a", b"1", NOW_S))
    named = Router((NumberRoute(topic="edge/#"), NumberRoute(topic="$SYS/#")), own_root="edge")
    assert named.decode(Arrival("edge/other/value", b"1", NOW_S))
    assert named.decode(Arrival("$SYS/broker/load", b"1", NOW_S))


def test_the_cache_is_bounded_and_forgetting_changes_nothing() -> None:
    router = Router((NumberRoute(topic="#"),), max_topics=10)
    for number in range(100):
        assert router.decode(Arrival(f"t/{number % 37}", b"1", NOW_S))[0].stream == f"t/{number % 37}"
        assert len(router._decode) <= 10


def test_names_of_fields_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger.__init__, "__defaults__", (50,))
    router = Router((JsonRoute(topic="#"),))
    for number in range(200):
        (reading,) = router.decode(Arrival("t/1", b'{"f%d": 1}' % number, NOW_S))
        assert reading.stream == f"t/1/f{number}"
    assert router.decode(Arrival("t/2", b'{"g": 1}', NOW_S))[0].stream == "t/2/g"
    assert list(router._decode) == ["t/2"]


def test_a_payload_beyond_all_reason_is_not_looked_at() -> None:
    router = Router(ROUTES)
    assert refused(router, "hall/a", b" " * (MAX_PAYLOAD_BYTES + 1)) == "too-large"


def test_notes_of_all_decoders_are_taken_together() -> None:
    router = Router(ROUTES)
    router.decode(Arrival("hall/a", b'{"value": 1, "time": 5}', NOW_S))
    router.decode(Arrival("hall/b", b'{"value": 1, "time": "x"}', NOW_S))
    assert router.take_notes() == {"time-out-of-window": 1, "bad-time": 1}
    assert router.take_notes() == {}
