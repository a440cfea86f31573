"""Where a server is and which headers may be added to what it is sent: a URL and header lines, checked and taken apart.

Rules: pure. What is accepted here can be put on the wire as it is: nothing in it can end a line, begin a header of its own, or
take the place of a header that the exchange itself needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443}
MAX_HEADERS = 32
OWN_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
"""Those that the exchange writes itself, or that would change what it is."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""A header's name: a token of RFC 9110, section 5.6.2."""
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
"""A header's value: visible ASCII, with blanks only inside."""
_PRINTABLE = re.compile(r"[!-~]+")


class Endpoint(Struct, frozen=True, kw_only=True):
    """A base URL, taken apart. `host` is a name or an address, without brackets; `path` has no `/` at its end."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str
    query: str

    def target(self, below: str) -> str:
        """What a request line names: the base's path, `below` after a `/`, and the base's query."""
        return f"{self.path}/{below}" + (f"?{self.query}" if self.query else "")


def parse_endpoint(url: str) -> Endpoint:
    """Take a base URL apart. Raises ValueError that says what is wrong with it, as the end of a sentence."""
    if not _PRINTABLE.fullmatch(url):
        raise ValueError("is empty or has characters that no URL may have; write it as in https://models.example/v1")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise ValueError(f"cannot be read as a URL: {error}") from error
    scheme: Literal["http", "https"]
    match parts.scheme:
        case "http":
            scheme = "http"
        case "https":
            scheme = "https"
        case _:
            raise ValueError("begins neither with https:// nor with http://")
    if "@" in parts.netloc:
        raise ValueError("names a user or a password; the key stands in `key_file`")
    if not host or not re.fullmatch(r"[0-9A-Za-z.:_-]{1,253}", host):
        raise ValueError("names no host, or one with characters that no host name may have")
    if port == 0:
        raise ValueError("names the port 0")
    if parts.fragment or "\\" in url:
        raise ValueError("has a part after `#`, or a backslash")
    return Endpoint(scheme=scheme, host=host, port=port or DEFAULT_PORTS[scheme], path=parts.path.rstrip("/"), query=parts.query)


def url_problem(url: str, *, allow_http: bool) -> str:
    """What is wrong with a base URL, as the end of a sentence; empty if nothing is."""
    try:
        endpoint = parse_endpoint(url)
    except ValueError as error:
        return str(error)
    if endpoint.scheme == "http" and not allow_http and not is_loopback(endpoint.host):
        return "has no TLS: whoever is on the way could read and change what is said; use https://, or set `allow_http`"
    return ""


def header_problem(name: str, value: str) -> str:
    """What is wrong with a header that shall be added, as the end of a sentence; empty if nothing is."""
    if not _NAME.fullmatch(name):
        return "is no header's name: letters, digits and - only"
    if name.lower() in OWN_HEADERS:
        return "is a header that the agent writes itself" + ("; the key stands in `key_file`" if "auth" in name.lower() else "")
    if not _VALUE.fullmatch(value):
        return "has a value that no header may have: visible ASCII characters, with blanks only between them"
    return ""


def is_loopback(host: str) -> bool:
    """Whether a host, as written, is this machine: a loopback address, or `localhost`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
