"""The link while there is no broker: it says so, keeps trying, holds nothing, and stops in time."""

from __future__ import annotations

import threading
from pathlib import Path

from edge_agent.config.settings import MqttSettings, TlsSettings
from edge_agent.values import Message
from tests.mosquitto import free_port
from tests.mqtt_client import wait_until
from tests.mqtt_links import new_link, running, settings_for

MESSAGE = Message(topic="edge/gw/health", payload=b"{}")


def test_without_a_broker_nothing_is_taken_and_attempts_are_counted() -> None:
    with running(new_link(settings_for(free_port())), connect=False) as link:
        wait_until(lambda: link.counters.disconnects.get("connect-failed", 0) >= 3)
        assert not link.connected
        assert link.publish(MESSAGE) is None
        assert link.published() == []
        assert link.lost() == []
        assert link.drain(10, 0.0) == []
        assert link.session >= 3
        assert link.counters.connects == 0


def test_a_link_that_never_started_can_be_asked_and_stopped() -> None:
    link = new_link(MqttSettings())
    assert not link.connected
    assert link.publish(MESSAGE) is None
    assert link.stop(0.1)


def test_stop_does_not_wait_for_the_backoff() -> None:
    link = new_link(settings_for(free_port(), backoff_min_s=3600.0, backoff_max_s=3600.0))
    link.start()
    wait_until(lambda: link.counters.disconnects.get("connect-failed", 0) == 1)
    assert link.stop(5.0)
    assert not any(thread.name == "mqtt" for thread in threading.enumerate())


def test_a_password_file_that_is_missing_is_a_counted_failure_and_is_read_again(tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    settings = settings_for(free_port(), username="agent", password_file=str(password_file))
    with running(new_link(settings), connect=False) as link:
        wait_until(lambda: link.counters.disconnects.get("credentials", 0) >= 2)
        password_file.write_text("secret\n")
        wait_until(lambda: link.counters.disconnects.get("connect-failed", 0) >= 1, what="an attempt with the password")


def test_a_certificate_that_cannot_be_read_is_a_counted_failure(tmp_path: Path) -> None:
    broken = tmp_path / "ca.crt"
    broken.write_text("no certificate")
    with running(new_link(settings_for(free_port(), tls=TlsSettings(ca_file=str(broken)))), connect=False) as link:
        wait_until(lambda: link.counters.disconnects.get("credentials", 0) >= 2)


def test_a_host_that_does_not_exist_is_a_counted_failure() -> None:
    with running(new_link(settings_for(1883, host="broker.invalid")), connect=False) as link:
        wait_until(lambda: link.counters.disconnects.get("connect-failed", 0) >= 1)
