"""The hawkBit source by itself: it waits for nothing, believes no document, and sends its token nowhere else."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.config.settings import TlsSettings
from edge_agent.update import Verdict
from edge_agent.update.jobs import RemoteBundle
from edge_agent.update.record import Ended, Held
from tests.update.hawkbit_device import STEP_S, Device, settle
from tests.update.hawkbit_stub import hawkbit
from tests.update.server import answering

_HELD = Held(release="r", counter=1, manifest_sha256="0" * 64)


def _ended(ticket: str) -> Ended:
    return Ended(held=_HELD, result="committed", reason="", at_s=0.0, source="hawkbit", ticket=ticket)


def test_a_silent_server_holds_nobody_up(tmp_path: Path) -> None:
    silent = threading.Event()

    def keep_silent(connection: socket.socket) -> None:
        silent.wait(60)

    with answering(keep_silent) as url:
        device = Device(url, tmp_path)
        device.clock.s += 1_000
        ticket = f"1.{device.source._mark}"
        began_s = time.monotonic()
        for _ in range(100):
            assert device.source.withdrawn("") == ""
            assert not device.source.ended(_ended(ticket))
            assert device.source.lead() is None
        device.source.close()
        assert time.monotonic() - began_s < 40.0  # the server is silent for longer
        silent.set()


def test_an_end_without_an_action_needs_no_telling(tmp_path: Path) -> None:
    device = Device("http://127.0.0.1:1", tmp_path)
    for ticket in ("", "x", "7/../8", "7", "7.", "7.00000000", f"x.{device.source._mark}"):
        assert device.source.ended(_ended(ticket))


@pytest.mark.parametrize("body", [b"<html>captive</html>", b"{}", b"[" * 9_000, b'{"id":"1","deployment":7}', b"\xff"])
def test_a_document_that_is_none_ends_no_action(tmp_path: Path, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with hawkbit() as server:
        server.sleep = "00:00:59"
        device = Device(server.url, tmp_path)
        action = server.assign()
        real, lies = server.answer, True

        def answer(method: str, path: str, headers: object, sent: bytes) -> tuple[int, dict[str, str], bytes]:
            return (
                (200, {}, body) if lies and "/deploymentBase/" in path and method == "GET" else real(method, path, headers, sent)
            )

        monkeypatch.setattr(server, "answer", answer)
        for _ in range(20):
            device.step()
        assert action.is_active
        assert not device.leads
        lies = False
        device.steps()
        assert action.state == "finished"


def test_a_root_that_is_none_is_a_failure_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with hawkbit() as server:
        server.faults = lambda method, path: 200
        device = Device(server.url, tmp_path)
        for _ in range(60):
            device.step()
        assert caplog.text.count("no such document") == 1


@pytest.mark.parametrize("status", [429, 500])
def test_a_deployment_that_the_server_cannot_show_is_asked_for_once_with_each_poll(tmp_path: Path, status: int) -> None:
    with hawkbit() as server:
        server.sleep = "00:00:59"
        server.faults = lambda method, path: status if "/deploymentBase/" in path else ""
        device = Device(server.url, tmp_path)
        action = server.assign()
        for _ in range(60):
            device.step()
        shown = [asked for asked in server.asked if "/deploymentBase/" in asked]
        assert 5 < len(shown) <= 21, "twenty minutes"
        server.faults = lambda method, path: ""
        device.steps()
        assert action.state == "finished"


def test_ever_new_deployments_that_fail_do_not_make_it_ask_more_often(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = "12:00:00"
        device = Device(server.url, tmp_path)
        device.settings = replace(device.settings, poll_min_s=60.0)
        device.start()
        device.verdicts = [Verdict.failed] * 60
        for _ in range(60):
            if len(device.leads) == len(server.actions):
                for older in server.actions.values():
                    older.state = "finished"
                server.assign()
            device.step()
            device.clock.s -= STEP_S - 5.0
        polls = [asked for asked in server.asked if asked.endswith("/gw-1")]
        assert 2 < len(polls) <= 6, "five minutes"


def test_a_hint_is_followed_soon(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = "12:00:00"
        device = Device(server.url, tmp_path)
        for _ in range(10):
            device.step()
        action = server.assign()
        for _ in range(10):
            device.step()
        assert not device.leads
        device.source.hint()
        device.steps()
        assert action.state == "finished"


def test_a_bundle_elsewhere_sees_no_certificate_of_ours(tmp_path: Path) -> None:
    with hawkbit() as server:
        server.sleep = "00:00:59"
        tls = TlsSettings(ca_file="/ca.pem", cert_file="/own.pem", key_file="/own.key")
        device = Device(server.url, tmp_path, tls=tls)
        server.assign(links={"download": "https://cdn.example/release.tar"})
        for _ in range(20):
            device.step()
        assert device.leads[0].place == RemoteBundle(
            url="https://cdn.example/release.tar", size_bytes=6, tls=TlsSettings(ca_file="/ca.pem")
        )


def test_a_gateway_token_is_sent_as_one(tmp_path: Path) -> None:
    with hawkbit(token="GatewayToken secret") as server:
        server.sleep = "00:00:59"
        device = Device(server.url, tmp_path, token_kind="gateway")
        server.assign()
        device.steps()
        assert server.authorizations == {"GatewayToken secret"}
        assert server.actions[1].state == "finished"


def test_what_is_asked_goes_below_the_configured_address(tmp_path: Path) -> None:
    with hawkbit(tenant="acme", controller="box-7") as server:
        server.sleep = "00:00:59"
        device = Device(f"{server.url}/", tmp_path, tenant="acme", controller_id="box-7")
        server.assign()
        settle(device.source)
        device.steps()
        assert server.actions[1].state == "finished"
        assert all(" /acme/controller/v1/box-7" in asked for asked in server.asked)
