"""What types cannot say of the settings by which anything leaves the device: contradictions, and what is probably not meant.

Rules: pure; as `meaning`, which calls it. Only what is in use is looked at closely: the settings of a backend that is not
chosen may be half written, but what is wrong in them is told too where it could not work for anyone.
"""

from __future__ import annotations

import os
import re
import zoneinfo
from collections.abc import Iterator, Sequence

from edge_agent.config.endpoint import MAX_HEADERS, header_problem, is_loopback, parse_endpoint, url_problem
from edge_agent.config.settings import EscalationSettings, OpenAiSettings, Route, Settings, TlsSettings
from edge_agent.config.shape import nearest
from edge_agent.config.topics import MAX_TOPIC_BYTES, filter_levels, filter_problem, matches

OWN_TOPICS = (
    "anomaly", "drops", "escalation", "health", "incident", "info", "request", "response", "status", "summary", "telemetry",
    "update",
)  # fmt: skip
"""First levels below `<root>/<gateway>/` that mean something else than a question."""

Finding = tuple[str, str]
"""The key it is about, and what is to be said of it."""


class Findings:
    """What was found, in two lists."""

    def __init__(self) -> None:
        self.problems: list[Finding] = []
        self.warnings: list[Finding] = []


def look_at_escalation(settings: Settings, routes: Sequence[tuple[int, Route]]) -> Findings:
    """Everything about the section `escalation`; `routes` are those that have their types, with their positions."""
    found, escalation = Findings(), settings.escalation
    _bounds(escalation, found)
    _windows(escalation, found)
    _openai(escalation, found)
    topic = escalation.mqtt.topic
    if topic and (problem := _topic_problem(topic, settings)):
        found.problems.append(("escalation.mqtt.topic", problem))
    elif escalation.backend == "mqtt":
        found.problems += _heard_by(topic, settings.mqtt.root, routes)
    if escalation.spool.folder and not os.path.isabs(escalation.spool.folder):
        found.problems.append(("escalation.spool.folder", "is no absolute path; it begins with `/`"))
    return found


def zone_problem(name: str) -> str:
    """What is wrong with the name of a time zone, as a clause for people; empty when it is one."""
    if name == "UTC":
        return ""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        hint = nearest(name, known) if known else "this system has no time zones; install its package `tzdata`"
        if hint.startswith("valid here"):
            hint = "write a name such as `Europe/Berlin`"
        return f"no time zone `{name}`; {hint}"
    return ""


def tls_findings(key: str, tls: TlsSettings) -> Iterator[tuple[bool, Finding]]:
    """What is wrong (True) or risky (False) with a section `tls`, whichever connection it is for."""
    if bool(tls.cert_file) != bool(tls.key_file):
        given, missing = ("cert_file", "key_file") if tls.cert_file else ("key_file", "cert_file")
        yield True, (f"{key}.{given}", f"is given without `{missing}`; a client certificate needs both")
    if tls.insecure_skip_hostname:
        yield False, (f"{key}.insecure_skip_hostname", "any server with a certificate of that authority is believed")


def _bounds(escalation: EscalationSettings, found: Findings) -> None:
    if escalation.backoff_min_s > escalation.backoff_max_s:
        found.problems.append(("escalation.backoff_min_s", f"is more than `backoff_max_s`, {escalation.backoff_max_s:g}"))
    for index, allowed in enumerate(escalation.allow):
        if allowed in escalation.allow[:index]:
            found.warnings.append((f"escalation.allow[{index}]", f"`{allowed}` stands twice"))
    if escalation.backend == "none":
        return
    nothing = "is 0, so that no question ever leaves"
    for name in ("requests_per_day", "bytes_per_day"):
        if getattr(escalation, name) == 0:
            found.warnings.append((f"escalation.{name}", nothing))
    openai = escalation.openai
    if escalation.backend == "openai":
        if escalation.tokens_per_day < openai.max_answer_tokens:
            found.warnings.append(
                ("escalation.tokens_per_day", "is less than `openai.max_answer_tokens`, so that no question ever leaves")
            )
        if escalation.money_per_day == 0 and (openai.price_in_per_million or openai.price_out_per_million):
            found.warnings.append(("escalation.money_per_day", nothing))


def _windows(escalation: EscalationSettings, found: Findings) -> None:
    if problem := zone_problem(escalation.timezone):
        found.problems.append(("escalation.timezone", problem))
    for index, window in enumerate(escalation.windows):
        if any(time > "24:00" for time in window.split("-")):
            found.problems.append((f"escalation.windows[{index}]", f"`{window}` has a time after 24:00"))


def _openai(escalation: EscalationSettings, found: Findings) -> None:
    openai, chosen, key = escalation.openai, escalation.backend == "openai", "escalation.openai"
    if chosen and not openai.url:
        found.problems.append((f"{key}.url", "is missing; name the server's base URL, such as https://models.example/v1"))
    if chosen and not openai.model:
        found.problems.append((f"{key}.model", "is missing; name the model, in the server's words"))
    if openai.url and escalation.backend == "none":
        found.warnings.append((f"{key}.url", "is given, but with `backend: none` nothing leaves; write `backend: openai`"))
    if openai.url and (problem := url_problem(openai.url, allow_http=openai.allow_http)):
        found.problems.append((f"{key}.url", problem))
    elif openai.url:
        _unencrypted(openai, found)
    if len(openai.headers) > MAX_HEADERS:
        found.problems.append((f"{key}.headers", f"are {len(openai.headers)}; at most {MAX_HEADERS} are sent"))
    for name, value in openai.headers.items():
        if problem := header_problem(name, value):
            found.problems.append((f"{key}.headers.{name}", problem))
    for is_problem, finding in tls_findings(f"{key}.tls", openai.tls) if openai.tls is not None else ():
        (found.problems if is_problem else found.warnings).append(finding)


def _unencrypted(openai: OpenAiSettings, found: Findings) -> None:
    """Warn of what travels in the clear, which `allow_http` permits."""
    endpoint = parse_endpoint(openai.url)
    if endpoint.scheme == "https":
        return
    if openai.key_file and not is_loopback(endpoint.host):
        found.warnings.append(("escalation.openai.key_file", "the key travels unencrypted; use https://"))
    if openai.tls is not None:
        found.warnings.append(("escalation.openai.tls", "counts for nothing with a URL that begins with http://"))


def _topic_problem(topic: str, settings: Settings) -> str:
    """What is wrong with the topic of the questions, as a clause for people; empty when nothing is."""
    if problem := filter_problem(topic):
        return problem
    if re.search("[+#]", topic):
        return "has a wildcard; questions are published on it"
    if len(topic.encode()) > MAX_TOPIC_BYTES or topic.startswith("$") or not all(topic.split("/")):
        return "begins with `$` or has an empty level"
    base = f"{settings.mqtt.root}/{settings.gateway.id}/"
    if f"{topic}/" == base or (topic.startswith(base) and topic.removeprefix(base).split("/")[0] in OWN_TOPICS):
        return f"means something else; below `{base}` take `{base}question`, or a topic elsewhere"
    return ""


def _heard_by(topic: str, root: str, routes: Sequence[tuple[int, Route]]) -> Iterator[Finding]:
    """The routes that would read the questions as if they were readings; none reads what is below the root."""
    levels = tuple(topic.split("/"))
    for index, route in routes if topic and not topic.startswith(f"{root}/") else ():
        if not filter_problem(route.topic) and matches(filter_levels(route.topic), levels):
            text = f"takes `{topic}`, the topic of `escalation.mqtt`: the agent would read its own questions"
            yield f"routes[{index}].topic", text
