"""The shipped example configurations: each loads without a word, and reads the messages that it speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_agent.config.load import check
from edge_agent.config.topics import matches
from edge_agent.decode.router import Router
from edge_agent.messages import Topics
from edge_agent.values import Arrival

EXAMPLES = Path(__file__).resolve().parents[2] / "config" / "examples"
NOW_S = 1_790_000_001.5
"""A moment after 2026-09-21T14:13:20Z, the time in the samples."""
STAMP_S = 1_790_000_000.0

Expected = dict[str, tuple[float, str]]
"""(value, unit) by stream."""

SAMPLES: dict[str, list[tuple[str, str, Expected, float]]] = {
    "json.yaml": [
        ("plant/pump-3/vibration", '{"value": 2.71, "time": 1790000000}', {"pump-3/vibration": (2.71, "mm/s")}, STAMP_S),
        ("plant/pump-3/vibration", "2.71", {"pump-3/vibration": (2.71, "mm/s")}, NOW_S),
        (
            "line-1/oven-2",
            '{"temperature": 181.5, "door": {"open_s": 3}, "at": "2026-09-21T14:13:20Z"}',
            {"oven-2/temperature": (181.5, "°C"), "oven-2/door.open_s": (3.0, "s")},
            STAMP_S,
        ),
        ("daq/motor", '{"start": "now", "samples": [0.11, 0.12, 0.09]}', {"motor/acceleration": (0.09, "g")}, NOW_S),
        ("logger/tank", "[[1789999999000, 4.1], [1790000000000, 4.2]]", {"tank/level": (4.2, "m")}, STAMP_S),
    ],
    "number.yaml": [
        ("cellar-node/sensor/temperature/state", "21.5", {"cellar-node/temperature": (21.5, "")}, NOW_S),
        ("shellies/shellyem-1234/emeter/0/power", "182.40", {"shellyem-1234/power-0": (182.4, "W")}, NOW_S),
    ],
    "tasmota.yaml": [
        (
            "tele/boiler/SENSOR",
            '{"Time":"2026-09-21T16:13:20","ENERGY":{"TotalStartTime":"2026-01-01T00:00:00","Total":3.185,"Power":182,'
            '"Factor":0.97,"Voltage":231,"Current":0.812},"DS18B20":{"Id":"01131B123456","Temperature":61.3},"TempUnit":"C"}',
            {
                "boiler/ENERGY.Power": (182.0, "W"),
                "boiler/ENERGY.Voltage": (231.0, "V"),
                "boiler/ENERGY.Current": (0.812, "A"),
                "boiler/DS18B20.Temperature": (61.3, "°C"),
            },
            NOW_S,
        ),
        (
            "tele/boiler/STATE",
            '{"Time":"2026-09-21T16:13:20","Uptime":"0T01:15:10","Heap":25,"LoadAvg":19,"POWER":"ON",'
            '"Wifi":{"AP":1,"SSId":"x","RSSI":74,"Signal":-63}}',
            {"boiler/Wifi.Signal": (-63.0, "dBm"), "boiler/LoadAvg": (19.0, "%"), "boiler/Heap": (25.0, "kB")},
            NOW_S,
        ),
    ],
    "zigbee2mqtt.yaml": [
        (
            "zigbee2mqtt/cold-room",
            '{"battery":97,"humidity":71.2,"last_seen":"2026-09-21T14:13:20+00:00","linkquality":134,"occupancy":false,'
            '"temperature":3.8,"update":{"state":"idle"},"pressure":null}',
            {
                "cold-room/battery": (97.0, "%"),
                "cold-room/humidity": (71.2, "%"),
                "cold-room/linkquality": (134.0, ""),
                "cold-room/temperature": (3.8, "°C"),
            },
            STAMP_S,
        ),
    ],
    "home-assistant.yaml": [
        ("homeassistant/statestream/sensor/cold_room_temperature/state", "3.8", {"cold_room_temperature": (3.8, "")}, NOW_S),
    ],
    "thin-edge.yaml": [
        (
            "te/device/main///m/environment",
            '{"time":"2026-09-21T14:13:20Z","temperature":25.3,"current":{"L1":9.5,"L2":1.3}}',
            {
                "device/main/environment/temperature": (25.3, ""),
                "device/main/environment/current.L1": (9.5, ""),
                "device/main/environment/current.L2": (1.3, ""),
            },
            STAMP_S,
        ),
        ("te/device/pump/service/plc/m/", '{"rpm": 1480}', {"device/pump/service/plc/rpm": (1480.0, "")}, NOW_S),
    ],
    "influx.yaml": [
        (
            "telegraf/press-4/cpu",
            "cpu,cpu=cpu-total,host=press-4 usage_idle=91.5,usage_user=6.1 1790000000000000000\n",
            {"press-4/cpu/cpu-total/usage_idle": (91.5, "%"), "press-4/cpu/cpu-total/usage_user": (6.1, "%")},
            STAMP_S,
        ),
        ("telegraf/press-4/mem", "mem,host=press-4 used=81i\n", {"mem/press-4/used": (81.0, "")}, NOW_S),
    ],
    "senml.yaml": [
        (
            "senml/site-1",
            '[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1790000000,"n":"temp","u":"Cel","v":23.1},{"n":"hum","u":"%RH","v":41}]',
            {"urn:dev:ow:10e2073a01080063:temp": (23.1, "°C"), "urn:dev:ow:10e2073a01080063:hum": (41.0, "%RH")},
            STAMP_S,
        ),
    ],
}


def test_each_example_has_its_samples() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_an_example_loads_and_every_route_of_it_is_tried(name: str) -> None:
    report = check(EXAMPLES / name)
    assert report.settings is not None, report.problems
    assert report.warnings == ()
    router = Router(report.settings.routes)
    tried = [router.route_of(topic) for topic, *_ in SAMPLES[name]]
    assert all(any(route is one for one in tried) for route in report.settings.routes)


@pytest.mark.parametrize(("name", "sample"), [(name, sample) for name, samples in SAMPLES.items() for sample in samples])
def test_a_message_of_that_shape_is_read(name: str, sample: tuple[str, str, Expected, float]) -> None:
    topic, payload, expected, time_s = sample
    settings = check(EXAMPLES / name).settings
    assert settings is not None
    router = Router(settings.routes, own_root=settings.mqtt.root)
    readings = router.decode(Arrival(topic, payload.encode(), NOW_S))
    assert {reading.stream: (reading.value, reading.unit) for reading in readings} == expected
    assert readings[-1].time_s == pytest.approx(time_s)
    assert router.take_notes() == {}


def test_the_broker_s_list_lets_the_agent_publish_on_each_of_its_topics() -> None:
    """A topic that is forgotten there is refused by the broker for good, and what was published on it is a dead letter."""
    topics = Topics("edge", "gateway-1")
    own = {name: value for name in dir(Topics) if isinstance(value := getattr(topics, name), str) and not name.startswith("_")}
    named = [value for name, value in own.items() if name not in ("root", "gateway", "base", "requests")]
    named += [
        topics.anomaly("pump/level"),
        topics.incident("i"),
        topics.summary_of("i"),
        topics.escalation("i"),
        topics.response("c"),
    ]
    agent = (EXAMPLES.parent / "mosquitto" / "edge-agent.acl").read_text("utf-8").split("user gateway-1\n")[1].split("\nuser ")[0]
    allowed = [tuple(line.split()[2].split("/")) for line in agent.splitlines() if re.match(r"topic (read)?write ", line)]
    assert topics.update_outcome in named
    assert [topic for topic in named if not any(matches(levels, tuple(topic.split("/"))) for levels in allowed)] == []
