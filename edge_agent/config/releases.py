"""What types cannot say of the settings by which releases come in: contradictions, and what is probably not meant.

Rules: pure; as `meaning`, which calls it. A section of a source that has no `url` may be half written.
"""

from __future__ import annotations

import os

from edge_agent.config.endpoint import parse_endpoint, url_problem
from edge_agent.config.outside import Findings, tls_findings
from edge_agent.config.settings import HawkbitSettings, RepositorySettings, TlsSettings, UpdateSettings

FILE_SCHEME = "file://"


def look_at_update(update: UpdateSettings) -> Findings:
    """Everything about the section `update`."""
    found = Findings()
    wanted = bool(update.repository.url or update.hawkbit.url or update.inbox)
    if update.group and not update.root_file:
        found.problems.append(("update.root_file", "is missing; without the fleet's first root.json no release can be believed"))
    if wanted and not update.group:
        found.warnings.append(("update.group", "is missing, so that no release is taken; name the fleet group of this gateway"))
    if not update.group and not wanted and update.root_file:
        found.warnings.append(("update.root_file", "is given, but without `group` no release is taken"))
    for name, folder in (("inbox", update.inbox), ("decrypt_folder", update.decrypt_folder)):
        if folder and not os.path.isabs(folder):
            found.problems.append((f"update.{name}", "is no absolute path; it begins with `/`"))
    if update.decrypt_folder and not update.key_file:
        found.warnings.append(("update.decrypt_folder", "is given without `key_file`, so that nothing is decrypted"))
    _repository(update.repository, found)
    _hawkbit(update.hawkbit, found)
    return found


def _repository(repository: RepositorySettings, found: Findings) -> None:
    key, url = "update.repository", repository.url
    if url.startswith(FILE_SCHEME):
        if not url.startswith(f"{FILE_SCHEME}/") or ".." in url.split("/"):
            found.problems.append((f"{key}.url", "names no folder of this machine; write it as in file:///srv/releases"))
        if repository.tls is not None:
            found.warnings.append((f"{key}.tls", "counts for nothing with a URL that begins with file://"))
        return
    _server(key, url, repository.tls, found, allow_http=repository.allow_http)


def _hawkbit(hawkbit: HawkbitSettings, found: Findings) -> None:
    key = "update.hawkbit"
    _server(key, hawkbit.url, hawkbit.tls, found, allow_http=hawkbit.allow_http)
    has_certificate = hawkbit.tls is not None and hawkbit.tls.cert_file
    if hawkbit.url and not hawkbit.token_file and not has_certificate:
        found.warnings.append((f"{key}.token_file", "is missing; most servers answer nobody without a token or a certificate"))


def _server(key: str, url: str, tls: TlsSettings | None, found: Findings, *, allow_http: bool) -> None:
    if url and (problem := url_problem(url, allow_http=allow_http)):
        found.problems.append((f"{key}.url", problem))
    elif url and parse_endpoint(url).query:
        found.problems.append((f"{key}.url", "has a part after `?`; what is fetched stands below the path alone"))
    for is_problem, finding in tls_findings(f"{key}.tls", tls) if tls is not None else ():
        (found.problems if is_problem else found.warnings).append(finding)
