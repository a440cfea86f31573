"""Where the bundle of a hawkBit deployment is fetched from, and with which credentials.

Rules: pure. The token and this device's certificate are for the configured server alone: scheme, host and port have to be the
same. Of several links one to that server goes first, then the first that may be used; without TLS only one to loopback may,
unless that is allowed. A server elsewhere has nobody asked for it on this machine or on its link: services there trust whoever
stands so near.
"""

from __future__ import annotations

import contextlib
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from edge_agent.config.endpoint import is_loopback, parse_endpoint, url_problem
from edge_agent.config.settings import HawkbitSettings, TlsSettings
from edge_agent.errors import RepositoryRefusedError
from edge_agent.update.ddi import UNSUITABLE, Deployment
from edge_agent.update.jobs import RemoteBundle


def place_of(deployment: Deployment, settings: HawkbitSettings, scheme: str) -> RemoteBundle:
    """The place; `scheme` goes before the token. Raises RepositoryRefusedError (`unsuitable`) where no link may be used."""
    usable = [url for url in deployment.urls if not _problem(url, settings)]
    if not usable:
        raise RepositoryRefusedError(UNSUITABLE, f"the link to the bundle {_problem(deployment.urls[0], settings)}")
    own = next((url for url in usable if _origin(url) == _origin(settings.url)), None)
    if own is None:
        tls = None if settings.tls is None else TlsSettings(ca_file=settings.tls.ca_file)
        return RemoteBundle(url=usable[0], size_bytes=deployment.size_bytes, tls=tls)
    return RemoteBundle(
        url=own,
        size_bytes=deployment.size_bytes,
        authorization_file=settings.token_file,
        authorization_scheme=scheme,
        tls=settings.tls,
    )


def _problem(url: str, settings: HawkbitSettings) -> str:
    """What is wrong with a link, as the end of a sentence; empty if nothing is."""
    problem = url_problem(url, allow_http=settings.allow_http)
    if problem or not _is_near(parse_endpoint(url).host) or is_loopback(parse_endpoint(settings.url).host):
        return problem
    return "leads to this gateway itself, or to an address that only its own link has"


def _is_near(host: str) -> bool:
    """Whether a host, as written, is this machine or on its link. What a name stands for is not looked up."""
    address: IPv4Address | IPv6Address
    try:
        address = ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        with contextlib.suppress(OSError):  # the system also takes 127.1 and 2130706433
            return _is_near(str(ip_address(socket.inet_aton(host))))
        return name == "localhost" or name.endswith(".localhost")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified or address.is_link_local


def _origin(url: str) -> tuple[str, str, int]:
    endpoint = parse_endpoint(url)
    return endpoint.scheme, endpoint.host.lower(), endpoint.port
