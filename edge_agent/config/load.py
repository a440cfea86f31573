"""From files to settings: every problem at once, each as `file:line:col: key: problem`.

Rules of merging: the main file comes first, then `conf.d/*.yaml` beside it by name, hidden files left out. Maps are
merged key by key, at any depth; a later file's value takes the place of an earlier one; `routes` of all files are put
one after the other, in that order; a section without a value (`mqtt:` with comments only) changes nothing. A problem
names the file whose value it is.

Reading is in steps, each of which collects its problems and lets the next go on with what fitted: text to tree
(`yaml_tree`), tree to values of the right types (`shape`), files that are named (`files`), the whole (`meaning`).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, inspect

from edge_agent.config.files import CREDENTIAL, credential_problem, exposure, file_problem, is_file_key, resolve
from edge_agent.config.meaning import Meaning
from edge_agent.config.settings import Settings
from edge_agent.config.shape import Full, Shape
from edge_agent.config.yaml_tree import Mapping, Node, Place, Problem, Scalar, Sequence, TreeReader
from edge_agent.errors import ConfigError

MAX_FILE_BYTES = 262_144
MAX_FILES = 64
DROP_IN_FOLDER = "conf.d"
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


class Report(Struct, frozen=True, kw_only=True):
    """What a look at the configuration found. `settings` is None exactly when there are problems."""

    settings: Settings | None
    problems: tuple[str, ...]
    """`file:line:col: key: problem`, in the order of the files."""
    warnings: tuple[str, ...]
    """In the same form: what is allowed and probably not meant."""
    files: tuple[str, ...]
    """The files that were read, in the order in which they were merged."""


def load(path: Path, *, credentials_dir: str | None = None) -> Settings:
    """The settings of a file and of `conf.d/*.yaml` beside it.

    `credentials_dir` is systemd's `$CREDENTIALS_DIRECTORY`, where there is one. Raises ConfigError with every problem.
    """
    return _settings_of(check(path, credentials_dir=credentials_dir))


def load_text(text: str | bytes, name: str = "<text>") -> Settings:
    """The settings of one text, called `name` in messages. Raises ConfigError with every problem.

    A text may come from afar, so no file that it names is looked at: their paths stay as they are written.
    """
    return _settings_of(check_text(text, name))


def check(path: Path, *, credentials_dir: str | None = None) -> Report:
    """As `load`, but reports instead of raising, with warnings too."""
    reading = _Reading(credentials_dir, looks_at_files=True)
    files = [path]
    try:
        files += sorted(one for one in (path.parent / DROP_IN_FOLDER).glob("*.yaml") if not one.name.startswith("."))
    except OSError as error:
        reading.note(str(path.parent / DROP_IN_FOLDER), f"cannot be listed: {error.strerror}")
    if len(files) > MAX_FILES:
        reading.note(str(path.parent / DROP_IN_FOLDER), f"holds {len(files) - 1} files, at most {MAX_FILES - 1} are read")
    for file in files[:MAX_FILES]:
        reading.add_file(file)
    return reading.report()


def check_text(text: str | bytes, name: str = "<text>") -> Report:
    """As `load_text`, but reports instead of raising, with warnings too."""
    reading = _Reading(None, looks_at_files=False)
    reading.add_text(text, name)
    return reading.report()


def effective(settings: Settings) -> dict[str, Any]:
    """The settings in force as plain values for JSON. Secrets are paths, so none is in it; the user name is left out.

    So are the headers and the query for a server of stronger models, among which someone may have put a key.
    """
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    if settings.mqtt.username:
        values["mqtt"]["username"] = "(set)"
    openai = values["escalation"]["openai"]
    openai["headers"] = dict.fromkeys(openai["headers"], "(set)")
    address, asks, _ = openai["url"].partition("?")
    openai["url"] = f"{address}?(set)" if asks else address
    return values


def json_schema() -> dict[str, Any]:
    """JSON Schema of the configuration file, draft 2020-12. A section may be empty, as in the file."""
    schema = msgspec.json.schema(Settings)
    for holder in ("Settings", "EscalationSettings"):
        properties: dict[str, Any] = schema["$defs"][holder]["properties"]
        for name, section in properties.items():
            if "$ref" in section or (holder == "Settings" and section.get("type") == "array"):
                properties[name] = {"anyOf": [section, {"type": "null"}]}
    return {"$schema": SCHEMA_ID, "title": "edge-agent configuration", **schema}


def _settings_of(report: Report) -> Settings:
    if report.settings is None:
        raise ConfigError(report.problems)
    return report.settings


class _Reading:
    """One run over the files: what was read so far, and what was found."""

    def __init__(self, credentials_dir: str | None, *, looks_at_files: bool) -> None:
        self._credentials_dir = credentials_dir
        self._looks_at_files = looks_at_files
        self._files: list[str] = []
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._tree: Mapping | None = None

    def note(self, file: str, text: str) -> None:
        """Add a problem of a whole file."""
        self._problems.append(Problem(Place(file, 1, 1), "file", text))

    def add_file(self, path: Path) -> None:
        """Read one file and merge it over what was read before."""
        try:
            self.add_text(_read_file(path), str(path))
        except OSError as error:
            self._files.append(str(path))
            self.note(str(path), f"cannot be read: {error.strerror or error}")

    def add_text(self, text: str | bytes, name: str) -> None:
        """Merge one text over what was read before."""
        self._files.append(name)
        if len(text) > MAX_FILE_BYTES:
            self.note(name, f"is longer than {MAX_FILE_BYTES} bytes")
            return
        try:
            text = text.decode("utf-8") if isinstance(text, bytes) else text
        except UnicodeDecodeError as error:
            before = text[: error.start].decode("utf-8")  # type: ignore[union-attr]  # only bytes are decoded
            place = Place(name, before.count("\n") + 1, len(before) - before.rfind("\n"))
            self._problems.append(Problem(place, "syntax", "a byte that is not UTF-8 stands here"))
            return
        reader = TreeReader(name)
        tree = reader.read(text.removeprefix("\ufeff"))
        self._problems += reader.problems
        if tree is None or (isinstance(tree, Scalar) and tree.is_null):
            return
        if not isinstance(tree, Mapping):
            self._problems.append(Problem(tree.place, "file", "needs keys and values at its top, such as `mqtt:`"))
            return
        self._tree = tree if self._tree is None else _merged(self._tree, tree, "")

    def report(self) -> Report:
        """Everything found in all files."""
        tree = self._tree or Mapping(Place(self._files[0] if self._files else "", 1, 1), ())
        shape = Shape()
        values: Any = {}
        try:
            values = shape.read(tree, inspect.type_info(Settings), "")
        except Full:
            self._problems += shape.problems
        else:
            self._problems += shape.problems
            if self._looks_at_files:
                self._look_at_files(values, shape.places)
            self._look_at_meaning(values, shape)
        order = {name: number for number, name in enumerate(self._files)}
        for found in (self._problems, self._warnings):
            found.sort(key=lambda one: (order.get(one.place.file, 0), one.place.line, one.place.column))
        return Report(
            settings=None if self._problems else msgspec.convert(values, Settings),
            problems=tuple(map(str, self._problems)),
            warnings=tuple(map(str, self._warnings)),
            files=tuple(self._files),
        )

    def _look_at_files(self, values: dict[str, Any], places: dict[str, Place]) -> None:
        """Resolve every path to a file among the values, and see whether it can be used."""
        for key, place in places.items():
            if not is_file_key(key):
                continue
            section, name = _section(values, key)
            value = section.get(name) if section is not None else None
            if section is None or not value:
                continue
            problem = credential_problem(value)
            section[name] = path = resolve(value, place.file, self._credentials_dir)
            if not problem and value.startswith(CREDENTIAL) and self._credentials_dir is None:
                self._warnings.append(Problem(place, key, "is looked at only when systemd runs the agent"))
                continue
            problem = problem or file_problem(path)
            if problem:
                self._problems.append(Problem(place, key, problem))
            elif warning := exposure(key, path):
                self._warnings.append(Problem(place, key, warning))

    def _look_at_meaning(self, values: dict[str, Any], shape: Shape) -> None:
        """Check the whole, or what is left of it: what did not fit is left at its default."""

        def where(key: str) -> Place:
            while key not in shape.places:
                key = key[: max(key.rfind("."), key.rfind("["), 0)]
            return shape.places[key]

        try:
            settings = msgspec.convert(values, Settings)
        except msgspec.ValidationError as error:  # a kind of bound that `shape` does not know yet
            self._problems.append(Problem(where(""), "file", str(error)))
            return
        meaning = Meaning(where)
        meaning.look_at(settings, list(zip(shape.indices.get("routes", []), settings.routes, strict=True)))
        self._problems += meaning.problems
        self._warnings += meaning.warnings


def _read_file(path: Path) -> bytes:
    """The file's bytes, one more than allowed at most. Raises OSError, also for what is no regular file."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # NONBLOCK: opening a FIFO would wait for ever
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read(MAX_FILE_BYTES + 1)


def _merged(under: Mapping, over: Mapping, key: str) -> Mapping:
    """Two maps as one, by the rules of this module."""
    members = {member.key: member for member in under.members}
    for member in over.members:
        below = members.get(member.key)
        if below is not None:
            if isinstance(member.value, Scalar) and member.value.is_null and not isinstance(below.value, Scalar):
                continue
            value = _joined(below.value, member.value, f"{key}.{member.key}")
            member = type(member)(member.key, member.place, value)
        members[member.key] = member
    return Mapping(under.place, tuple(members.values()))


def _joined(under: Node, over: Node, key: str) -> Node:
    if isinstance(under, Mapping) and isinstance(over, Mapping):
        return _merged(under, over, key)
    if key == ".routes" and isinstance(under, Sequence) and isinstance(over, Sequence):
        return Sequence(under.place, (*under.items, *over.items))
    return over


def _section(values: dict[str, Any], key: str) -> tuple[dict[str, Any] | None, str]:
    """The map in which the value of a dotted key stands, and its last name; None where that part did not fit."""
    *outer, name = key.split(".")
    section: Any = values
    for step in outer:
        section = section.get(step) if isinstance(section, dict) else None
    return (section if isinstance(section, dict) else None), name
