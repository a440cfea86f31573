"""Places behind TLS: only servers that are vouched for, with our own certificate where one is asked for."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.config.settings import TlsSettings
from edge_agent.errors import LinkError
from edge_agent.update.exchange import Meter
from edge_agent.update.jobs import Repository
from edge_agent.update.places import opened
from tests.escalation.certificates import Authority, Identity
from tests.update.ranges import ranges
from tests.update.server import answering

FILES = {"targets/blobs/x": bytes(range(256)) * 100}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Identity:
    return authority.issue("server")


def serving(identity: Identity, clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert_file, identity.key_file)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


def first(url: str, tls: TlsSettings | None, timeout_s: float = 10.0) -> bytes:
    place = Repository(url=url, tls=tls)
    with opened(place, SystemClock(), Meter(1 << 20), timeout_s) as found:
        one = found.piece("targets/blobs/x", 0, 256, timeout_s)
        return one + found.piece("targets/blobs/x", 256, 256, timeout_s)


def test_pieces_come_over_one_connection_from_a_server_that_is_vouched_for(authority: Authority, server: Identity) -> None:
    with ranges(FILES, tls=serving(server)) as web:
        assert first(web.url, TlsSettings(ca_file=str(authority.ca_file))) == FILES["targets/blobs/x"][:512]
        assert len({request.connection for request in web.asked}) == 1


def test_a_server_that_nobody_vouches_for_gets_no_request(authority: Authority, server: Identity, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    expired = authority.issue("expired", valid=("20200101", "20200201"))
    elsewhere = authority.issue("elsewhere", names="DNS:elsewhere.example")
    believed = TlsSettings(ca_file=str(authority.ca_file))
    for identity, tls in (
        (server, None),
        (server, TlsSettings(ca_file=str(other.ca_file))),
        (expired, believed),
        (elsewhere, believed),
    ):
        with ranges(FILES, tls=serving(identity)) as web:
            with pytest.raises(LinkError):
                first(web.url, tls)
            assert web.asked == []


def test_a_server_that_wants_to_know_us_is_shown_our_certificate(authority: Authority, server: Identity) -> None:
    ours = authority.issue_client("gateway-1")
    tls = TlsSettings(ca_file=str(authority.ca_file), cert_file=str(ours.cert_file), key_file=str(ours.key_file))
    with ranges(FILES, tls=serving(server, authority.ca_file)) as web:
        assert first(web.url, tls) == FILES["targets/blobs/x"][:512]
        with pytest.raises(LinkError):
            first(web.url, TlsSettings(ca_file=str(authority.ca_file)))


def test_a_certificate_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with answering(lambda line: None) as url, pytest.raises(LinkError, match="No such file"):
        first(url.replace("http", "https"), TlsSettings(ca_file=str(tmp_path / "none")))


def test_a_handshake_without_end_ends_with_the_deadline(authority: Authority) -> None:
    def silent(line: socket.socket) -> None:
        line.recv(1)

    with answering(silent) as url, pytest.raises(LinkError, match="not whole within"):
        first(url.replace("http", "https"), TlsSettings(ca_file=str(authority.ca_file)), timeout_s=0.3)
