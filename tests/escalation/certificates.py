"""Certificates with every fault that a client must not believe, made by the openssl program in a folder of the test's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from msgspec import Struct

LOOPBACK = "IP:127.0.0.1,DNS:localhost"


class Identity(Struct, frozen=True):
    """A certificate and its key, as files."""

    cert_file: Path
    key_file: Path


class Authority:
    """A certificate authority; its file is what a client is told to believe."""

    def __init__(self, folder: Path, name: str = "test-ca") -> None:
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self.ca_file = self._folder / "ca.crt"
        self._ca_key = self._folder / "ca.key"
        (self._folder / "index.txt").touch()
        (self._folder / "serial").write_text("1000\n")
        (self._folder / "ca.conf").write_text(
            "[ca]\ndefault_ca=here\n"
            f"[here]\ndir={self._folder}\nnew_certs_dir={self._folder}\ndatabase={self._folder}/index.txt\n"
            f"serial={self._folder}/serial\ndefault_md=sha256\npolicy=any\nunique_subject=no\n"
            "[any]\ncommonName=supplied\n"
        )
        # From Python 3.13 on, only certificates are believed that have all that RFC 5280 asks for.
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        subject = ("-subj", f"/CN={name}", "-out", str(self.ca_file))
        _openssl("req", "-x509", *_new_key(self._ca_key), "-days", "30", *usage, *subject)

    def issue(self, name: str, names: str = LOOPBACK, valid: tuple[str, str] = ("20200101", "20491231")) -> Identity:
        """A certificate for a server with these alternative names, valid from one day to another (YYYYMMDD)."""
        return self._issue(name, f"subjectAltName={names}", valid)

    def issue_client(self, name: str) -> Identity:
        """A certificate for a client."""
        return self._issue(name, "extendedKeyUsage=clientAuth", ("20200101", "20491231"))

    def _issue(self, name: str, extension: str, valid: tuple[str, str]) -> Identity:
        found = Identity(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"{extension}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        _openssl("req", "-new", *_new_key(found.key_file), "-subj", f"/CN={name}", "-out", str(request))
        dates = ("-startdate", f"{valid[0]}000000Z", "-enddate", f"{valid[1]}000000Z")
        authority = ("-config", str(self._folder / "ca.conf"), "-cert", str(self.ca_file), "-keyfile", str(self._ca_key))
        files = ("-in", str(request), "-out", str(found.cert_file), "-extfile", str(extensions))
        _openssl("ca", "-batch", "-notext", *authority, *dates, *files)
        return found


def _new_key(path: Path) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path))


def _openssl(*arguments: str) -> None:
    subprocess.run(("openssl", *arguments), check=True, capture_output=True, timeout=30)
