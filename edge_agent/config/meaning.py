"""What types cannot say: settings that contradict each other, can never work, or are probably not meant.

Rules: pure, on settings that have their types already; every finding is collected, as a problem (the agent does not
start) or as a warning (it starts). A finding names the key it is about; where that stands in the files is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from edge_agent.config.endpoint import is_loopback
from edge_agent.config.naming import merges_topics, template_problem
from edge_agent.config.outside import look_at_escalation, tls_findings, zone_problem
from edge_agent.config.releases import look_at_update
from edge_agent.config.settings import JsonRoute, MqttSettings, Route, Settings
from edge_agent.config.shape import nearest
from edge_agent.config.topics import covers, filter_levels, filter_problem, overlaps
from edge_agent.config.yaml_tree import Place, Problem

TLS_PORT = 8883


class Meaning:
    """Looks at settings as a whole. `where` gives the place of a key, or of what holds it."""

    def __init__(self, where: Callable[[str], Place]) -> None:
        self._where = where
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def look_at(self, settings: Settings, routes: Sequence[tuple[int, Route]]) -> None:
        """Check everything; `routes` are those that have their types, with their positions in the files' list."""
        self._mqtt(settings.mqtt)
        self._zone("writer.timezone", settings.writer.timezone)
        for key, path in (("state_dir", settings.state_dir), ("runtime_dir", settings.runtime_dir)):
            if not path:
                self._problem(key, "is empty; name a folder")
        own = (*settings.mqtt.root.split("/"), settings.gateway.id)
        for index, route in routes:
            self._route(f"routes[{index}]", route, own)
            if settings.mqtt.protocol == "3.1.1" and filter_levels(route.topic) != tuple(route.topic.split("/")):
                self._problem(f"routes[{index}].topic", "is a shared subscription, which MQTT 3.1.1 does not have")
        self._shadows(routes)
        for found in (look_at_escalation(settings, routes), look_at_update(settings.update)):
            for key, text in found.problems:
                self._problem(key, text)
            for key, text in found.warnings:
                self._warning(key, text)
        if not settings.routes and not routes:
            self.warnings.append(Problem(self._where("routes"), "routes", "there are none, so nothing is listened to"))

    def _problem(self, key: str, text: str) -> None:
        self.problems.append(Problem(self._where(key), key, text))

    def _warning(self, key: str, text: str) -> None:
        self.warnings.append(Problem(self._where(key), key, text))

    def _mqtt(self, mqtt: MqttSettings) -> None:
        if not mqtt.host.strip():
            self._problem("mqtt.host", "is empty; name the broker's host or address")
        elif "://" in mqtt.host:
            self._problem("mqtt.host", "is a URL; write the host's name or address alone, the port under `port`, TLS under `tls`")
        problem = filter_problem(mqtt.root) or ("has a wildcard" if re.search("[+#]", mqtt.root) else "")
        if not problem and (mqtt.root.startswith("$") or not all(mqtt.root.split("/"))):
            problem = "begins with `$` or has an empty level"
        if problem:
            self._problem("mqtt.root", f"{problem}; it is the first part of every topic that the agent publishes on")
        if mqtt.backoff_min_s > mqtt.backoff_max_s:
            self._problem("mqtt.backoff_min_s", f"is more than `backoff_max_s`, {mqtt.backoff_max_s:g}")
        if mqtt.password_file and not mqtt.username:
            self._warning("mqtt.password_file", "is given without `username`, which MQTT 3.1.1 does not allow")
        if mqtt.password_file and mqtt.tls is None and not is_loopback(mqtt.host):
            self._warning("mqtt.password_file", "the password travels unencrypted; add `tls:`")
        if mqtt.tls is None:
            if mqtt.port == TLS_PORT:
                self._warning("mqtt.port", f"is {TLS_PORT}, the port of MQTT over TLS, but there is no `tls:`")
            return
        for is_problem, (key, text) in tls_findings("mqtt.tls", mqtt.tls):
            (self._problem if is_problem else self._warning)(key, text)

    def _route(self, key: str, route: Route, own: tuple[str, ...]) -> None:
        problem = filter_problem(route.topic)
        if problem:
            self._problem(f"{key}.topic", f"`{route.topic}` {problem}")
        levels = filter_levels(route.topic)
        if not problem and levels[0] not in ("+", "#") and overlaps(levels, own):
            self._problem(f"{key}.topic", f"takes topics below `{'/'.join(own)}`: the agent would read its own messages")
        # Of a topic that cannot be read nothing is known, so that any level of it may be named.
        wrong = template_problem(route.stream, str(route.__struct_config__.tag), "#" if problem else route.topic)
        if wrong:
            self._problem(f"{key}.stream", wrong)
        elif not problem and merges_topics(route.stream, route.topic):
            self._warning(f"{key}.stream", "gives several topics of this filter one stream name; their readings are mixed")
        if isinstance(route, JsonRoute):
            self._json(key, route)

    def _json(self, key: str, route: JsonRoute) -> None:
        self._zone(f"{key}.timezone", route.timezone)
        for index, path in enumerate(route.value):
            if path in route.value[:index]:
                self._problem(f"{key}.value[{index}]", f"`{path}` stands twice")
        paths = {f"{key}.value[{index}]": path for index, path in enumerate(route.value)}
        paths |= {f"{key}.{name}": getattr(route, name) for name in ("time", "samples", "unit_path")}
        for at, path in paths.items():
            if path and not all(re.split(r"(?<!\\)\.", path)):
                self._problem(at, f"`{path}` has an empty step; steps stand between dots, as in `a.b.0`")
        for field in sorted(set(route.units) - set(route.value)) if route.value else ():
            self._warning(f"{key}.units.{field}", "is none of the paths in `value`; " + nearest(field, route.value))

    def _zone(self, key: str, name: str) -> None:
        if problem := zone_problem(name):
            self._problem(key, problem)

    def _shadows(self, routes: Sequence[tuple[int, Route]]) -> None:
        """Warn of routes that never get a message, because one before them takes all their topics."""
        usable = [(index, filter_levels(route.topic)) for index, route in routes if not filter_problem(route.topic)]
        for position, (index, levels) in enumerate(usable):
            for earlier, wider in usable[:position]:
                if covers(wider, levels):
                    self._warning(
                        f"routes[{index}].topic",
                        f"never gets a message: routes[{earlier}] takes them all; put this one before it",
                    )
                    break
