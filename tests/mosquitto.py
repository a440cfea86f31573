"""A real mosquitto on a free loopback port for tests: TLS, mutual TLS, passwords; it can be stopped, suspended, restarted.

`Mosquitto(tmp_path, ...)` writes everything it needs under `tmp_path`; the port stays the same over `stop` and `start`,
so that a client under test meets the same broker again. Used as a context manager it starts and stops itself.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

START_TIMEOUT_S = 30.0
LOWEST_PORT = 10_000
BINARY = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody uses at this moment, and that the system gives to no client of its own accord.

    One that it might give could be taken while a broker is down, even by the client that keeps trying to reach that broker.
    """
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = secrets.choice(range(LOWEST_PORT, max(first_given, LOWEST_PORT + 10_000)))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Certificates:
    """A certificate authority, a server's and a client's certificate, made by the openssl program in `folder`.

    `names` are the subject alternative names of the server's certificate.
    """

    def __init__(self, folder: Path, names: str = "IP:127.0.0.1,DNS:localhost") -> None:
        self.ca_file = folder / "ca.crt"
        self.server_cert, self.server_key = folder / "server.crt", folder / "server.key"
        self.client_cert, self.client_key = folder / "client.crt", folder / "client.key"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        ca_key = folder / "ca.key"
        self._openssl("req", "-x509", *self._new_key(ca_key), "-days", "2", "-subj", "/CN=test-ca", "-out", str(self.ca_file))
        self._issue("server", self.server_cert, self.server_key, f"subjectAltName={names}")
        self._issue("client", self.client_cert, self.client_key, "extendedKeyUsage=clientAuth")

    @staticmethod
    def _new_key(path: Path) -> tuple[str, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path))

    def _issue(self, name: str, cert: Path, key: Path, extension: str) -> None:
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(extension + "\n")
        self._openssl("req", "-new", *self._new_key(key), "-subj", f"/CN={name}", "-out", str(request))
        authority = ("-CA", str(self.ca_file), "-CAkey", str(self._folder / "ca.key"), "-CAcreateserial")
        files = ("-in", str(request), "-out", str(cert), "-extfile", str(extensions))
        self._openssl("x509", "-req", "-days", "2", *authority, *files)

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run(("openssl", *arguments), check=True, capture_output=True, timeout=30)


class Mosquitto:
    """One mosquitto process and its configuration.

    `tls` listens with a server certificate for `names`; `mtls` also demands a client certificate; `password` is (user,
    password), `users` maps more users to theirs, and either forbids anonymous clients; `persistence` keeps sessions and
    retained messages over a restart; `acl` is the text of an access control file; `extra` are more lines of mosquitto.conf.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        tmp_path: Path,
        *,
        port: int = 0,
        tls: bool = False,
        mtls: bool = False,
        names: str = "IP:127.0.0.1,DNS:localhost",
        password: tuple[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        persistence: bool = False,
        acl: str = "",
        extra: Sequence[str] = (),
    ) -> None:
        if BINARY is None:
            raise RuntimeError("mosquitto is not installed: apt-get install mosquitto")
        self.port = port or free_port()
        self.folder = tmp_path / f"mosquitto-{self.port}"
        self.folder.mkdir(parents=True)
        self.log_path = self.folder / "mosquitto.log"
        self.certificates = Certificates(self.folder / "tls", names) if tls or mtls else None
        self.process: subprocess.Popen[bytes] | None = None
        self._configuration = self.folder / "mosquitto.conf"
        lines = [f"user {pwd.getpwuid(os.geteuid()).pw_name}", f"listener {self.port} {self.host}", "set_tcp_nodelay true"]
        passwords = {**dict([password] if password else ()), **(users or {})}
        lines += [f"allow_anonymous {'false' if passwords else 'true'}"]
        if self.certificates is not None:
            certs = self.certificates
            lines += [f"cafile {certs.ca_file}", f"certfile {certs.server_cert}", f"keyfile {certs.server_key}"]
            lines += [f"require_certificate {'true' if mtls else 'false'}"]
        if passwords:
            lines += [f"password_file {self._password_file(passwords)}"]
        if acl:
            (self.folder / "acl").write_text(acl)
            lines += [f"acl_file {self.folder / 'acl'}"]
        lines += ["persistence true", f"persistence_location {self.folder}/"] if persistence else ["persistence false"]
        self._configuration.write_text("\n".join([*lines, *extra]) + "\n")

    def _password_file(self, passwords: Mapping[str, str]) -> Path:
        path = self.folder / "passwords"
        path.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
        path.chmod(0o600)
        subprocess.run(("mosquitto_passwd", "-U", str(path)), check=True, capture_output=True, timeout=30)
        return path

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens, as `mqtt://host:port` or `mqtts://host:port`."""
        return f"mqtt{'s' if self.certificates else ''}://{self.host}:{self.port}"

    def start(self) -> None:
        """Start the process and return when it accepts connections."""
        if self.process is not None:
            raise RuntimeError("mosquitto is running already")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen((str(BINARY), "-c", str(self._configuration)), stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=1.0).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"mosquitto did not start:\n{self.log_path.read_text()}") from None
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop the process, if it runs, and wait for its end. A suspended process is resumed first."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait(10)

    def save(self) -> None:
        """Have it write sessions, queues and retained messages to the disk, as it does by itself now and then."""
        assert self.process is not None
        self.process.send_signal(signal.SIGUSR1)

    def restart(self) -> None:
        """Stop and start on the same port; without `persistence` every session and retained message is lost."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """Stop the process from running while its sockets stay open (SIGSTOP): a broker that is connected but deaf."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended process run again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
