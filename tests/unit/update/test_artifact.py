"""Where a bundle is fetched from: the token goes to the configured server, and nowhere else."""

from __future__ import annotations

import pytest

from edge_agent.config.settings import HawkbitSettings, TlsSettings
from edge_agent.errors import RepositoryRefusedError
from edge_agent.update.artifact import place_of
from edge_agent.update.ddi import Deployment

_TLS = TlsSettings(ca_file="/ca.pem", cert_file="/own.pem", key_file="/own.key")
_SETTINGS = HawkbitSettings(url="https://hawkbit.example", token_file="/token", tls=_TLS)


def _deployment(*urls: str) -> Deployment:
    return Deployment(id="7", urls=urls, size_bytes=5, name="a.tar", starts=True)


@pytest.mark.parametrize("url", ["https://hawkbit.example/a", "https://HAWKBIT.example:443/a?x=1"])
def test_the_server_itself_gets_the_token(url: str) -> None:
    place = place_of(_deployment("https://cdn.example/a", url), _SETTINGS, "TargetToken")
    assert (place.url, place.authorization_file, place.authorization_scheme) == (url, "/token", "TargetToken")
    assert place.tls == _TLS


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example/a",
        "https://hawkbit.example.evil.example/a",
        "https://hawkbit.example:8443/a",
        "https://hawkbit.example./a",
    ],
)
def test_nobody_else_gets_the_token_or_sees_the_certificate(url: str) -> None:
    place = place_of(_deployment(url), _SETTINGS, "TargetToken")
    assert (place.url, place.authorization_file, place.authorization_scheme) == (url, "", "")
    assert place.tls == TlsSettings(ca_file="/ca.pem")


def test_a_link_that_may_not_be_used_is_passed_over() -> None:
    place = place_of(_deployment("http://hawkbit.example/a", "https://cdn.example/a"), _SETTINGS, "")
    assert place.url == "https://cdn.example/a"


@pytest.mark.parametrize("url", ["http://hawkbit.example/a", "file:///etc/passwd", "https://hawkbit.example@evil.example/a", "x"])
def test_without_a_usable_link_there_is_no_place(url: str) -> None:
    with pytest.raises(RepositoryRefusedError, match="link to the bundle"):
        place_of(_deployment(url), _SETTINGS, "")


def test_http_is_used_where_that_is_allowed() -> None:
    settings = HawkbitSettings(url="http://hawkbit.example", allow_http=True, token_file="/token")
    assert place_of(_deployment("http://hawkbit.example/a"), settings, "GatewayToken").authorization_scheme == "GatewayToken"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "localhost", "LOCALHOST.", "a.localhost", "0.0.0.0", "169.254.169.254",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[fe80::1]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_elsewhere_has_nobody_asked_here(scheme: str, host: str) -> None:
    settings = HawkbitSettings(url="https://hawkbit.example", allow_http=True)
    with pytest.raises(RepositoryRefusedError, match="link to the bundle"):
        place_of(_deployment(f"{scheme}://{host}:8080/a"), settings, "")
    near = HawkbitSettings(url="http://localhost:8080", token_file="/token")
    assert place_of(_deployment("http://127.0.0.1:8081/a"), near, "").authorization_file == ""


@pytest.mark.parametrize("host", ["cdn.example", "10.0.0.7", "[2001:db8::7]", "localhost.example"])
def test_an_address_of_the_plants_own_network_is_used(host: str) -> None:
    assert place_of(_deployment(f"https://{host}/a"), _SETTINGS, "").url == f"https://{host}/a"
