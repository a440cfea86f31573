"""The secrets of a connection, read from their files each time one is needed, so that renewed ones are used at the next connect.

Rules: nothing is kept here and nothing is logged; a file that cannot be read or understood raises OSError or ValueError
(which `ssl.SSLError` and `UnicodeDecodeError` are), and the caller says where it was wanted.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from edge_agent.config.settings import MqttSettings, TlsSettings


def read_password(settings: MqttSettings) -> str | None:
    """The password, without the line end that editors add; None where no file is configured."""
    return read_secret(settings.password_file) if settings.password_file else None


def read_secret(path: str) -> str:
    """What stands in a secret's file, without the line end that editors add."""
    return Path(path).read_text("utf-8").rstrip("\r\n")


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """A client's context: the system's authorities or the configured one, and our own certificate where there is one."""
    context = ssl.create_default_context(cafile=tls.ca_file)
    # Python leaves it to the system's OpenSSL, and not every distribution's refuses what is older.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = not tls.insecure_skip_hostname
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context
