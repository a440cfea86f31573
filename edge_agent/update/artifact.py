"""Where the bundle of a hawkBit deployment is fetched from, and with which credentials.

Rules: pure. The token and this device's certificate are for the configured server alone: scheme, host and port have to be the
same. Of several links one to that server goes first, then the first that may be used; without TLS only one to loopback may,
unless that is allowed.
"""

from __future__ import annotations

from edge_agent.config.endpoint import parse_endpoint, url_problem
from edge_agent.config.settings import HawkbitSettings, TlsSettings
from edge_agent.errors import RepositoryRefusedError
from edge_agent.update.ddi import UNSUITABLE, Deployment
from edge_agent.update.jobs import RemoteBundle


def place_of(deployment: Deployment, settings: HawkbitSettings, scheme: str) -> RemoteBundle:
    """The place; `scheme` goes before the token. Raises RepositoryRefusedError (`unsuitable`) where no link may be used."""
    usable = [url for url in deployment.urls if not url_problem(url, allow_http=settings.allow_http)]
    if not usable:
        problem = url_problem(deployment.urls[0], allow_http=settings.allow_http)
        raise RepositoryRefusedError(UNSUITABLE, f"the link to the bundle {problem}")
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


def _origin(url: str) -> tuple[str, str, int]:
    endpoint = parse_endpoint(url)
    return endpoint.scheme, endpoint.host.lower(), endpoint.port
