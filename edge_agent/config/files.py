"""Files that settings name: secrets, certificates and keys. Where they are, whether they can be used, who else can read them.

Rules: a setting whose name ends in `_file` is such a path. A relative path is relative to the configuration file that
names it. `credential:NAME` is a systemd credential: the file NAME in the folder that systemd gives the service. Contents
are opened to see that they can be, and never kept or printed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

CREDENTIAL = "credential:"
SECRETS = ("password_file", "key_file", "token_file", "secret_file")
MAX_SECRET_BYTES = 65_536


def is_file_key(key: str) -> bool:
    """Whether the setting of that key is a path of this kind."""
    return key.endswith("_file")


def resolve(value: str, named_in: str, credentials_dir: str | None) -> str:
    """The absolute path that a setting means; `named_in` is the configuration file, which exists."""
    if value.startswith(CREDENTIAL):
        return os.path.join(credentials_dir or "/run/credentials/edge-agent.service", value.removeprefix(CREDENTIAL))
    return os.path.abspath(os.path.join(Path(named_in).parent, value))


def credential_problem(value: str) -> str:
    """What is wrong with a `credential:NAME`; empty for none, and for other paths."""
    name = value.removeprefix(CREDENTIAL)
    if value.startswith(CREDENTIAL) and (not name or "/" in name or name in (".", "..")):
        return "is no credential; write `credential:NAME`, with the NAME of `LoadCredential=`"
    return ""


def file_problem(path: str) -> str:
    """Why a file cannot be used; empty when it can."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # NONBLOCK: opening a FIFO would wait for ever
    except FileNotFoundError:
        return f"no file {path}"
    except PermissionError:
        return f"{path} cannot be read by this user; let its group be `edge-agent`, or use `credential:NAME`"
    except (OSError, ValueError) as error:
        return f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}"
    try:
        found = os.fstat(handle)
    finally:
        os.close(handle)
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is not a regular file"
    if found.st_size == 0:
        return f"{path} is empty"
    if found.st_size > MAX_SECRET_BYTES:
        return f"{path} is larger than {MAX_SECRET_BYTES} bytes; this is not the file that is meant"
    return ""


def exposure(key: str, path: str) -> str:
    """A warning where a secret can be read by every user of the machine; empty otherwise."""
    if not key.endswith(SECRETS):
        return ""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return f"{path} can be read by every user of this machine; `chmod o-r` it" if mode & stat.S_IROTH else ""
