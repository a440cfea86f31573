"""The link with a real mosquitto: birth and will, reconnecting, redelivery, bursts, secrets, deafness, stopping."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edge_agent.config.settings import TlsSettings
from edge_agent.demo.broker import start_broker
from edge_agent.values import Message
from tests.mosquitto import BINARY, Mosquitto
from tests.mqtt_client import WAIT_S, MqttClient, wait_until
from tests.mqtt_links import ONLINE, STATUS, drain_until, new_link, requests_until, running, settings_for

pytestmark = pytest.mark.skipif(BINARY is None, reason="mosquitto is not installed: apt-get install mosquitto")

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ["5", "3.1.1"]
MANY_IN_FLIGHT = ("max_inflight_messages 1000", "max_queued_messages 100000")


@contextmanager
def child(port: int, acknowledge: int = 0, expected: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A process with a link, connected; killed at the end of the block."""
    arguments = (str(port), str(acknowledge), str(expected))
    command = (sys.executable, "-m", "tests.integration.mqtt_child", *arguments)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        says(process, "connected")
        yield process
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def says(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


# ---- birth, will, farewell -------------------------------------------------------------------------------------------


def test_birth_on_connect_and_will_after_a_kill(mosquitto: Mosquitto) -> None:
    with MqttClient(mosquitto.port, [STATUS]) as observer:
        with child(mosquitto.port) as process:
            observer.wait_for(STATUS, b"online")
            process.kill()
            observer.wait_for(STATUS, b"offline")
        assert observer.on(STATUS) == [b"online", b"offline"]
    with MqttClient(mosquitto.port, [STATUS]) as late:
        late.wait_for(STATUS, b"offline")
        assert late.heard[0].retain


@pytest.mark.parametrize("version", VERSIONS)
def test_a_clean_stop_says_stopped_and_never_offline(mosquitto: Mosquitto, version: str) -> None:
    with MqttClient(mosquitto.port, [STATUS]) as observer:
        with running(new_link(settings_for(mosquitto.port, protocol=version))) as link:
            observer.wait_for(STATUS, b"online")
            assert link.stop(5.0)
        observer.wait_for(STATUS, b"stopped")
        observer.publish(STATUS, b"end of test", qos=1)
        observer.wait_for(STATUS, b"end of test")
        assert observer.on(STATUS) == [b"online", b"stopped", b"end of test"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_broker_that_restarts_without_sessions_is_met_again_with_subscriptions_and_birth(
    mosquitto: Mosquitto, version: str
) -> None:
    births = iter(range(100))

    def birth() -> tuple[Message, ...]:
        return (Message(topic=STATUS, payload=b"birth %d" % next(births), retain=True),)

    with running(new_link(settings_for(mosquitto.port, protocol=version), birth=birth)) as link:
        mosquitto.restart()
        wait_until(lambda: link.counters.connects == 2)
        with MqttClient(mosquitto.port, [STATUS]) as observer:
            observer.wait_for(STATUS, b"birth 1")
            observer.publish("plant/1", b"after", qos=1)
            assert [item.payload for item in drain_until(link, 1)] == [b"after"]


def test_an_outage_of_the_broker_is_survived_by_trying_again(mosquitto: Mosquitto) -> None:
    with running(new_link(settings_for(mosquitto.port))) as link:
        mosquitto.kill()
        wait_until(lambda: link.counters.disconnects.get("connect-failed", 0) >= 2)
        assert not link.connected
        assert link.publish(ONLINE) is None
        mosquitto.start()
        wait_until(lambda: link.connected)


# ---- arrivals --------------------------------------------------------------------------------------------------------


def test_qos_1_that_a_killed_process_did_not_acknowledge_is_delivered_again(mosquitto: Mosquitto) -> None:
    with MqttClient(mosquitto.port) as sensor:
        with child(mosquitto.port, acknowledge=4, expected=10) as process:
            for number in range(10):
                sensor.publish("plant/1", b"%d" % number, qos=1)
            says(process, "received")
        sensor.publish("plant/1", b"10", qos=1)
        with running(new_link(settings_for(mosquitto.port))) as link:
            again = drain_until(link, 7)
            # The child may have been killed with acknowledgements of the first four still on their way.
            assert [item.payload for item in again][-7:] == [b"%d" % number for number in range(4, 11)]
            link.ack(again)
            assert link.stop(5.0)
    with running(new_link(settings_for(mosquitto.port))) as link, MqttClient(mosquitto.port) as sensor:
        sensor.publish("plant/1", b"new", qos=1)
        assert [item.payload for item in drain_until(link, 1)] == [b"new"], "what was acknowledged came again"


def test_qos_1_sent_while_the_agent_is_away_waits_for_it(mosquitto: Mosquitto) -> None:
    with running(new_link(settings_for(mosquitto.port))):
        pass
    with MqttClient(mosquitto.port) as sensor:
        sensor.publish("plant/1", b"meanwhile", qos=1)
    with running(new_link(settings_for(mosquitto.port))) as link:
        assert [item.payload for item in drain_until(link, 1)] == [b"meanwhile"]


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_burst_of_1000_messages_in_200_ms_arrives_whole(tmp_path: Path, version: str, qos: int) -> None:
    with (
        Mosquitto(tmp_path, extra=MANY_IN_FLIGHT) as broker,
        running(new_link(settings_for(broker.port, protocol=version))) as link,
        MqttClient(broker.port) as sensor,
    ):
        started_s = time.monotonic()
        for number in range(1_000):
            sensor.client.publish(f"plant/{number % 100}", b"%d" % number, qos)
            time.sleep(max(0.0, started_s + number * 0.0002 - time.monotonic()))
        got = drain_until(link, 1_000)
        assert sorted(int(item.payload) for item in got) == list(range(1_000))
        assert {item.qos for item in got} == {qos}
        assert link.counters.dropped == {}
        link.ack(got)


def test_retained_readings_are_marked_and_do_not_come_again_on_reconnecting(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, persistence=True) as broker:
        with MqttClient(broker.port) as sensor:
            sensor.publish("plant/1", b"old", qos=1, retain=True)
        for version in VERSIONS:
            settings = settings_for(broker.port, protocol=version, client_id=f"agent-{version}")
            with running(new_link(settings)) as link:
                first = drain_until(link, 1)
                assert [(item.payload, item.retain) for item in first] == [(b"old", True)]
                link.ack(first)
                broker.restart()
                wait_until(lambda link=link: link.counters.connects == 2)  # type: ignore[misc]  # bound for this turn
                with MqttClient(broker.port) as sensor:
                    sensor.publish("plant/2", b"new", qos=1)
                assert [(item.payload, item.retain) for item in drain_until(link, 1)] == [(b"new", False)]


def test_a_filter_for_everything_brings_readings_and_nothing_of_our_own(mosquitto: Mosquitto) -> None:
    settings = settings_for(mosquitto.port, canary_interval_s=0.05, canary_timeout_s=5.0)
    with running(new_link(settings, [("#", 1)])) as link, MqttClient(mosquitto.port) as sensor:
        link.publish(Message(topic="edge/gw/anomaly/pump/x", payload=b"{}"))
        wait_until(lambda: link.counters.received >= 3, what="canaries that come back")
        sensor.publish("plant/1", b"1", qos=1)
        assert [item.topic for item in drain_until(link, 1)] == ["plant/1"]
        assert link.counters.dropped == {}


# ---- publishing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_token_comes_back_published_and_the_message_arrives(mosquitto: Mosquitto, version: str, qos: int) -> None:
    with (
        MqttClient(mosquitto.port, ["edge/gw/anomaly/#"]) as observer,
        running(new_link(settings_for(mosquitto.port, protocol=version))) as link,
    ):
        tokens: list[int] = []
        confirmed: list[int] = []
        while len(tokens) < 300:
            token = link.publish(Message(topic="edge/gw/anomaly/p/x", payload=b"%d" % len(tokens), qos=qos))
            if token is None:
                confirmed += link.published(1.0)
            else:
                tokens.append(token)
        while len(confirmed) < 300:
            newly = link.published(WAIT_S)
            assert newly, "the broker confirmed no more"
            confirmed += newly
        assert sorted(confirmed) == tokens
        assert link.lost() == []
        wait_until(lambda: len(observer.heard) == 300)
        assert [int(message.payload) for message in observer.heard] == list(range(300))


def test_what_a_frozen_broker_did_not_confirm_is_lost_and_nothing_else_is_taken(mosquitto: Mosquitto) -> None:
    settings = settings_for(mosquitto.port, canary_interval_s=0.05, canary_timeout_s=0.5)
    with running(new_link(settings)) as link:
        wait_until(lambda: link.counters.received >= 1, what="the first canary")
        mosquitto.suspend()
        taken = []
        while (token := link.publish(Message(topic="edge/gw/anomaly/p/x", payload=b"1"))) is not None:
            taken.append(token)
        assert 0 < len(taken) <= 128, "publishing has no bound"
        mosquitto.resume()
        lost, published = list[int](), list[int]()

        def settled() -> bool:
            published.extend(link.published(0.05))
            lost.extend(token for token, _ in link.lost())
            return len(lost) + len(published) >= len(taken)

        wait_until(settled)
        assert sorted(lost + published) == taken


def test_tokens_of_a_broker_that_dies_are_lost(mosquitto: Mosquitto) -> None:
    with running(new_link(settings_for(mosquitto.port))) as link:
        mosquitto.suspend()
        token = link.publish(Message(topic="edge/gw/anomaly/p/x", payload=b"1"))
        assert token is not None
        mosquitto.kill()
        wait_until(lambda: token in [lost for lost, _ in link.lost()])
        assert link.published() == []


# ---- requests --------------------------------------------------------------------------------------------------------


def test_a_request_carries_its_response_topic_and_correlation_and_the_answer_brings_it_back(mosquitto: Mosquitto) -> None:
    with MqttClient(mosquitto.port, ["clients/7"]) as asker, running(new_link(settings_for(mosquitto.port))) as link:
        asker.publish("edge/gw/request/status", b'{"transaction": 1}', 1, response_topic="clients/7", correlation=b"\x00\x01")
        found = requests_until(link)
        request = found[0]
        assert (request.command, request.payload, request.qos) == ("status", b'{"transaction": 1}', 1)
        link.publish(Message(topic=request.response_topic, payload=b"{}", response_correlation=request.correlation))
        link.ack(found)
        asker.wait_for("clients/7", b"{}")
        assert asker.heard[0].correlation == b"\x00\x01"
        assert link.queued == 0, "a request is not a reading"


def test_a_request_that_was_not_acknowledged_is_delivered_again(mosquitto: Mosquitto) -> None:
    with running(new_link(settings_for(mosquitto.port))) as link, MqttClient(mosquitto.port) as asker:
        asker.publish("edge/gw/request/close", b'{"cause": "bearing"}', qos=1)
        first = requests_until(link)
    with running(new_link(settings_for(mosquitto.port))) as link:
        assert [request.payload for request in requests_until(link)] == [first[0].payload]


def test_requests_work_over_mqtt_3_1_1_without_properties(mosquitto: Mosquitto) -> None:
    with (
        running(new_link(settings_for(mosquitto.port, protocol="3.1.1"))) as link,
        MqttClient(mosquitto.port, protocol=MQTTProtocolVersion.MQTTv311) as asker,
    ):
        asker.publish("edge/gw/request/check", b"{}", qos=1)
        found = requests_until(link)
        assert (found[0].response_topic, found[0].correlation) == ("", b"")


# ---- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_tls_password_and_client_certificate_together(tmp_path: Path, version: str) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("s3cret\n")
    with Mosquitto(tmp_path, mtls=True, password=("agent", "s3cret")) as broker:
        certificates = broker.certificates
        assert certificates is not None
        tls = TlsSettings(
            ca_file=str(certificates.ca_file), cert_file=str(certificates.client_cert), key_file=str(certificates.client_key)
        )
        settings = settings_for(broker.port, protocol=version, tls=tls, username="agent", password_file=str(password_file))

        def use_certificates(client: Any) -> None:
            client.tls_set(str(tls.ca_file), str(tls.cert_file), str(tls.key_file))
            client.username_pw_set("agent", "s3cret")

        with running(new_link(settings)) as link, MqttClient(broker.port, [STATUS], setup=use_certificates) as sensor:
            for number in range(500):
                sensor.client.publish("plant/1", b"%d" % number + b" " * 2_000, 0)
            got = drain_until(link, 500)
            assert [int(item.payload) for item in got] == list(range(500))
            sensor.wait_for(STATUS, b"online")


def test_without_the_client_certificate_mutual_tls_refuses(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, mtls=True) as broker:
        assert broker.certificates is not None
        settings = settings_for(broker.port, protocol="5", tls=TlsSettings(ca_file=str(broker.certificates.ca_file)))
        with running(new_link(settings), connect=False) as link:
            wait_until(lambda: sum(link.counters.disconnects.values()) >= 2)
            assert link.counters.connects == 0


def test_a_server_that_our_authority_did_not_sign_is_refused(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, tls=True) as broker, Mosquitto(tmp_path, tls=True) as other:
        assert other.certificates is not None
        settings = settings_for(broker.port, tls=TlsSettings(ca_file=str(other.certificates.ca_file)))
        with running(new_link(settings), connect=False) as link:
            wait_until(lambda: link.counters.disconnects.get("tls-failed", 0) >= 2)
            assert link.counters.connects == 0


@pytest.mark.parametrize("skip", [False, True])
def test_the_host_name_is_checked_unless_that_is_switched_off(tmp_path: Path, skip: bool) -> None:
    with Mosquitto(tmp_path, tls=True, names="DNS:elsewhere.example") as broker:
        assert broker.certificates is not None
        tls = TlsSettings(ca_file=str(broker.certificates.ca_file), insecure_skip_hostname=skip)
        with running(new_link(settings_for(broker.port, tls=tls)), connect=skip) as link:
            if not skip:
                wait_until(lambda: link.counters.disconnects.get("tls-failed", 0) >= 1)
            assert link.connected == skip


def test_a_wrong_password_is_refused_and_the_right_one_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("wrong")
    with Mosquitto(tmp_path, password=("agent", "right")) as broker:
        settings = settings_for(broker.port, username="agent", password_file=str(password_file))
        with running(new_link(settings), connect=False) as link:
            wait_until(lambda: link.counters.disconnects.get("refused-not-authorized", 0) >= 1)
            password_file.write_text("right\n")
            wait_until(lambda: link.connected)


def test_the_example_access_list_lets_everybody_do_what_is_theirs_and_no_more(tmp_path: Path) -> None:
    users = dict.fromkeys(("gateway-1", "sensors", "operator"), "pw")
    password_file = tmp_path / "password"
    password_file.write_text("pw")
    acl = (ROOT / "config" / "mosquitto" / "edge-agent.acl").read_text()

    def as_user(name: str) -> Any:
        return lambda client: client.username_pw_set(name, "pw")

    with Mosquitto(tmp_path, users=users, acl=acl) as broker:
        settings = settings_for(broker.port, username="gateway-1", password_file=str(password_file), canary_interval_s=0.05)
        with (
            running(new_link(settings, gateway="gateway-1", birth=tuple)) as link,
            MqttClient(broker.port, ["edge/#"], setup=as_user("operator")) as operator,
            MqttClient(broker.port, ["edge/#"], setup=as_user("sensors")) as sensors,
        ):
            wait_until(lambda: link.counters.received >= 2, what="the canary")
            operator.publish("plant/1", b"forged", qos=0)
            operator.publish("edge/gateway-1/summary", b"forged", qos=0)
            sensors.publish("plant/1", b"7", qos=1)
            arrivals = drain_until(link, 1)
            assert [item.payload for item in arrivals] == [b"7"]
            operator.publish("edge/gateway-1/request/status", b"{}", qos=1)
            assert [request.command for request in requests_until(link)] == ["status"]
            outputs = ("anomaly/pump-1/speed", "incident/i1", "summary", "summary/i1", "health", "response/status", "info")
            for name in outputs:
                assert link.publish(Message(topic=f"edge/gateway-1/{name}", payload=b"true")) is not None
            for name in outputs:
                operator.wait_for(f"edge/gateway-1/{name}", b"true")
            assert operator.on("edge/gateway-1/summary") == [b"true"], "an operator could forge a summary"
            assert sensors.heard == [], "a sensor can read what is not its own"


# ---- fallback, deafness, stopping ------------------------------------------------------------------------------------


def test_a_broker_that_speaks_only_3_1_1_is_met_by_falling_back(tmp_path: Path) -> None:
    pytest.importorskip("amqtt")
    with start_broker("embedded") as broker, running(new_link(settings_for(broker.port))) as link:
        with MqttClient(broker.port, [STATUS], protocol=MQTTProtocolVersion.MQTTv311) as sensor:
            sensor.publish("plant/1", b"1", qos=1)
            link.ack(drain_until(link, 1))
            sensor.wait_for(STATUS, b"online")
        assert sum(link.counters.disconnects.values()) == 1


def test_a_frozen_broker_is_noticed_by_the_canary_and_what_was_unacknowledged_comes_once_more(mosquitto: Mosquitto) -> None:
    settings = settings_for(mosquitto.port, keepalive_s=600, canary_interval_s=0.1, canary_timeout_s=1.0)
    with running(new_link(settings)) as link, MqttClient(mosquitto.port) as sensor:
        wait_until(lambda: link.counters.received >= 1, what="the first canary")
        for payload in (b"seen", b"unseen"):
            sensor.publish("plant/1", payload, qos=1)
        wait_until(lambda: link.queued == 2)
        seen = link.drain(1, 1.0)
        mosquitto.suspend()
        wait_until(lambda: link.counters.disconnects.get("deaf", 0) == 1, what="the link that finds itself deaf")
        link.ack(seen)  # of a connection that is gone: must not be sent on another one
        mosquitto.resume()
        wait_until(lambda: link.counters.connects == 2)
        again = drain_until(link, 2)
        assert [item.payload for item in again] == [b"seen", b"unseen"]
        assert len({item.session for item in again}) == 1
        link.ack(again)


def test_a_quiet_link_with_a_canary_stays_connected(mosquitto: Mosquitto) -> None:
    settings = settings_for(mosquitto.port, canary_interval_s=0.05, canary_timeout_s=5.0)
    with running(new_link(settings)) as link:
        wait_until(lambda: link.counters.received >= 3, what="canaries that come back")
        assert link.counters.connects == 1
        assert link.counters.canaries_unheard == 0


def test_stop_returns_in_time_although_the_broker_is_frozen(mosquitto: Mosquitto) -> None:
    link = new_link(settings_for(mosquitto.port))
    with running(link):
        mosquitto.suspend()
        link.publish(Message(topic="edge/gw/anomaly/p/x", payload=b"1"))
        assert link.stop(1.0)
        mosquitto.resume()


def test_what_was_handed_over_before_stop_is_still_published(mosquitto: Mosquitto) -> None:
    with MqttClient(mosquitto.port, ["edge/gw/#"]) as observer, running(new_link(settings_for(mosquitto.port))) as link:
        tokens = [link.publish(Message(topic="edge/gw/anomaly/p/x", payload=b"%d" % number)) for number in range(10)]
        assert link.stop(5.0)
        assert link.published() == tokens
        observer.wait_for(STATUS, b"stopped")
        assert len(observer.on("edge/gw/anomaly/p/x")) == 10
