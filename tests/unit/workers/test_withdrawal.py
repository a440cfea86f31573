"""Questions that were made under other settings do not leave: they are taken back and asked anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import convert

from edge_agent.config.settings import EscalationSettings, Settings
from edge_agent.escalate.mqtt import MqttBackend
from edge_agent.escalate.table import Needs, open_backend
from edge_agent.values import Message
from edge_agent.workers.withdrawal import POLICY, question_topic, withdraw
from tests.unit.workers.escalation import Station, spike
from tests.unit.workers.parts import TOPICS

MQTT: dict[str, Any] = {"backend": "mqtt", "allow": ["values"]}


def settings(**escalation: Any) -> Settings:
    return convert({"gateway": {"id": "gw"}, "escalation": escalation}, Settings)


def waiting(station: Station, *topics: str) -> list[str]:
    return [q.message.topic for q in station.journal.outbox(0, 1_000) if q.message.topic in topics]


def asked_by_mqtt(folder: Path, configured: Settings) -> Station:
    """A question that waits in the outbox, beside everything else that is published about its incident."""
    station = Station(folder, settings=EscalationSettings(backend="mqtt"))
    withdraw(station.journal, TOPICS, configured, station.clock)

    def queue(message: Message) -> None:
        station.journal.record((), [message])

    backend = open_backend(Needs(settings=configured, queue=queue, clock=station.clock))
    assert isinstance(backend, MqttBackend)
    station.backend.behaviours = [backend.send]
    station.queue(spike())
    station.work()
    assert station.stands(1) == ("sent", "awaited-mqtt")
    return station


@pytest.mark.parametrize("topic", ["", "up/questions"])
@pytest.mark.parametrize(
    "later",
    [
        {"backend": "none", "allow": ["values"]},
        {"backend": "openai", "allow": ["values"], "openai": {"url": "https://models.example/v1", "model": "m"}},
        {"backend": "mqtt", "allow": []},
        {"backend": "mqtt", "allow": ["values", "times"]},
        {"backend": "mqtt", "allow": ["values"], "mqtt": {"topic": "elsewhere/questions"}},
    ],
)
def test_under_other_settings_a_question_that_waits_is_taken_back_and_asked_anew(
    tmp_path: Path, topic: str, later: dict[str, Any]
) -> None:
    configured = settings(**MQTT, mqtt={"topic": topic})
    place = question_topic(configured)
    with asked_by_mqtt(tmp_path, configured) as station:
        others = {queued.message.topic for queued in station.journal.outbox(0, 1_000)} - {place}
        assert waiting(station, place) == [place]
        station.restart()
        assert withdraw(station.journal, TOPICS, settings(**later), station.clock) == 1
        assert waiting(station, place) == []
        assert station.stands(1) == ("queued", "withdrawn")
        assert {queued.message.topic for queued in station.journal.outbox(0, 1_000)} == others
        assert [letter.reason for letter in station.journal.dead_letters(10)] == ["withdrawn"]
        assert withdraw(station.journal, TOPICS, settings(**later), station.clock) == 0


def test_under_the_same_settings_it_waits_on(tmp_path: Path) -> None:
    configured = settings(**MQTT)
    with asked_by_mqtt(tmp_path, configured) as station:
        station.restart()
        again = settings(backend="mqtt", allow=["values", "values"])
        assert withdraw(station.journal, TOPICS, again, station.clock) == 0
        assert waiting(station, TOPICS.question) == [TOPICS.question]
        assert station.stands(1) == ("sent", "awaited-mqtt")


@pytest.mark.parametrize("note", [b"", b"{", b'{"backend":"mqtt","topic":7,"allow":[],"telemetry":false}'])
def test_where_the_note_is_damaged_everything_that_waits_is_taken_back(tmp_path: Path, note: bytes) -> None:
    configured = settings(**MQTT)
    with asked_by_mqtt(tmp_path, configured) as station:
        station.journal.record_meters({POLICY: note})
        assert withdraw(station.journal, TOPICS, configured, station.clock) == 1
        assert withdraw(station.journal, TOPICS, configured, station.clock) == 0


def test_telemetry_that_waits_is_taken_back_once_it_is_switched_off(tmp_path: Path) -> None:
    on = convert({"gateway": {"id": "gw"}, "telemetry": {"enabled": True}, "escalation": MQTT}, Settings)
    with asked_by_mqtt(tmp_path, on) as station:
        station.journal.record((), [Message(topic=TOPICS.telemetry, payload=b"{}")])
        assert withdraw(station.journal, TOPICS, on, station.clock) == 0
        assert withdraw(station.journal, TOPICS, settings(**MQTT), station.clock) == 1
        assert waiting(station, TOPICS.telemetry, TOPICS.question) == [TOPICS.question]
        assert station.stands(1) == ("sent", "awaited-mqtt")
        assert withdraw(station.journal, TOPICS, on, station.clock) == 0


def test_more_than_a_page_is_taken_back(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        withdraw(station.journal, TOPICS, settings(**MQTT), station.clock)
        for _ in range(3):
            messages = [Message(topic=name, payload=b"{}") for name in ("other", *(TOPICS.question,) * 50)]
            station.journal.record((), messages)
        assert withdraw(station.journal, TOPICS, settings(), station.clock) == 150
        assert waiting(station, "other") == ["other"] * 3
