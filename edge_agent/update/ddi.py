"""The documents of hawkBit's Direct Device Integration API, version 1: what a server says to a device, and what is said back.

Source: the API's reference at eclipse.dev/hawkbit/apis/ddi_api and the behaviour of its server.

Rules: pure. What a server sends is read strictly where it counts and bounded everywhere; what is not known is ignored, as the API
asks. A link is never followed as it stands: of those to the API only numbers are taken, so that no server can send the token
elsewhere. Only the link to a bundle is used whole. What is wrong is a RepositoryRefusedError: `document` for what is none of the
API, `unsuitable` for a deployment that is whole and that this agent cannot carry out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct, field

from edge_agent.errors import RepositoryRefusedError

UNSUITABLE = "unsuitable"
"""The reason of a deployment that will never do."""
SUFFIX = ".tar"
MAX_URL_CHARACTERS = 4_096
MAX_DETAILS = 8
MAX_DETAIL_CHARACTERS = 500
"""The server takes 512."""
MAX_ATTRIBUTE_CHARACTERS = 128
MAX_SIZE_BYTES = 1 << 42

_ID = re.compile(r"[0-9]{1,19}")
_ACTION = re.compile(r"/(?:deploymentBase|cancelAction)/([0-9]{1,19})(?:\?(?:[^#]*&)?c=(-?[0-9]{1,11})(?:&[^#]*)?)?")
_SLEEP = re.compile(r"([0-9]{1,3}):([0-5][0-9]):([0-5][0-9])")

Execution = Literal["closed", "proceeding", "canceled", "scheduled", "rejected", "resumed", "downloaded", "download"]
Finished = Literal["success", "failure", "none"]
_Document = TypeVar("_Document")


class _Link(Struct, frozen=True):
    href: str = ""


class _Polling(Struct, frozen=True):
    sleep: str = ""


class _Config(Struct, frozen=True):
    polling: _Polling = _Polling()


class _Root(Struct, frozen=True):
    config: _Config = _Config()
    links: dict[str, _Link] = field(name="_links", default_factory=dict)


class _Artifact(Struct, frozen=True):
    filename: str = ""
    size: int = 0
    links: dict[str, _Link] = field(name="_links", default_factory=dict)


class _Chunk(Struct, frozen=True):
    name: str = ""
    version: str = ""
    artifacts: list[_Artifact] = []


class _Deployment(Struct, frozen=True):
    download: str = ""
    update: str = ""
    maintenance: str | None = field(name="maintenanceWindow", default=None)
    chunks: list[_Chunk] = []


class _DeploymentBase(Struct, frozen=True):
    id: str
    deployment: _Deployment


class _Stop(Struct, frozen=True):
    stop_id: str = field(name="stopId")


class _Cancel(Struct, frozen=True):
    id: str
    action: _Stop = field(name="cancelAction")


class Action(Struct, frozen=True):
    """An action that the server points at. `resource` changes when the action does."""

    id: str
    resource: str = ""


class Root(Struct, frozen=True, kw_only=True):
    """What there is for the device. At most one of the actions is, as a rule."""

    sleep_s: float | None
    """How long the server wants to be left alone; None where it does not say."""
    deployment: Action | None
    cancel: Action | None
    waits_for_confirmation: bool
    wants_attributes: bool


class Deployment(Struct, frozen=True, kw_only=True):
    """A deployment with one bundle."""

    id: str
    urls: tuple[str, ...]
    """Where the bundle is, in the order that the server prefers."""
    size_bytes: int
    name: str
    starts: bool
    """False while it is to be left alone: outside of its maintenance window."""


def is_action(id: str) -> bool:
    """Whether this can be the id of an action."""
    return _ID.fullmatch(id) is not None


def parse_root(body: bytes) -> Root:
    """The answer to a poll. Raises RepositoryRefusedError."""
    root = _read(body, _Root)
    return Root(
        sleep_s=_sleep_s(root.config.polling.sleep),
        deployment=_action(root.links.get("deploymentBase")),
        cancel=_action(root.links.get("cancelAction")),
        waits_for_confirmation="confirmationBase" in root.links,
        wants_attributes="configData" in root.links,
    )


def parse_deployment(body: bytes, id: str) -> Deployment:
    """The deployment of the action `id`. Raises RepositoryRefusedError, also for one that this agent cannot carry out."""
    base = _read(body, _DeploymentBase)
    if base.id != id:
        raise _refused(f"the action {id} was asked for, and {base.id[:20]!r} came")
    deployment = base.deployment
    bundles = [each for chunk in deployment.chunks for each in chunk.artifacts if each.filename.endswith(SUFFIX)]
    if len(bundles) != 1:
        raise _unsuitable(
            f"the deployment has {len(bundles)} artifacts whose name ends in {SUFFIX}; it has to have one, the bundle"
        )
    bundle = bundles[0]
    if not 0 < bundle.size <= MAX_SIZE_BYTES:
        raise _unsuitable(f"its size is said to be {bundle.size} bytes")
    if deployment.update == "skip" and deployment.maintenance is None:
        raise _unsuitable("it is for download only, which this agent does not do: it installs what it fetched")
    links = (bundle.links.get(name) for name in ("download", "download-http"))
    urls = tuple(link.href for link in links if link is not None and 0 < len(link.href) <= MAX_URL_CHARACTERS)
    if not urls:
        raise _unsuitable("the artifact has no link to download it")
    starts = "skip" not in (deployment.download, deployment.update) and deployment.maintenance != "unavailable"
    return Deployment(id=id, urls=urls, size_bytes=bundle.size, name=_plain(bundle.filename), starts=starts)


def parse_cancel(body: bytes) -> str:
    """The id of the action that is to be cancelled. Raises RepositoryRefusedError."""
    cancel = _read(body, _Cancel)
    if not is_action(cancel.action.stop_id):
        raise _refused(f"{cancel.action.stop_id[:40]!r} is not the id of an action")
    return cancel.action.stop_id


def time_of(now_s: float) -> str:
    """Seconds since 1970 in the API's form, such as `20261123T040500`."""
    return f"{datetime.fromtimestamp(max(0.0, now_s), UTC):%Y%m%dT%H%M%S}"


def feedback(id: str, execution: Execution, finished: Finished, details: Sequence[str], time: str) -> bytes:
    """What is said of the action `id`. `id` and `time` (see `time_of`) are for servers before 0.3 only."""
    status = {
        "execution": execution,
        "result": {"finished": finished},
        "details": [_plain(detail)[:MAX_DETAIL_CHARACTERS] for detail in details if detail][:MAX_DETAILS],
    }
    return msgspec.json.encode({"id": id, "time": time, "status": status})


def attributes(values: Mapping[str, str], time: str) -> bytes:
    """What the device says of itself. `time` as in `feedback`; it and the status are what servers before 0.3 insist on."""
    data = {name: _plain(value)[:MAX_ATTRIBUTE_CHARACTERS] for name, value in values.items()}
    status = {"execution": "closed", "result": {"finished": "success"}, "details": []}
    return msgspec.json.encode({"time": time, "status": status, "mode": "merge", "data": data})


def _read(body: bytes, wanted: type[_Document]) -> _Document:
    try:
        return msgspec.json.decode(body, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(f"what the server sent is no such document: {_plain(str(error))[:MAX_DETAIL_CHARACTERS]}") from error


def _action(link: _Link | None) -> Action | None:
    """The action in a link. Raises RepositoryRefusedError where a link names none."""
    if link is None:
        return None
    found = _ACTION.search(link.href[-MAX_URL_CHARACTERS:])
    if found is None:
        raise _refused("a link to an action names none")
    return Action(found[1], found[2] or "")


def _sleep_s(text: str) -> float | None:
    matched = _SLEEP.fullmatch(text)
    return None if matched is None else 3_600.0 * int(matched[1]) + 60.0 * int(matched[2]) + int(matched[3])


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _refused(detail: str) -> RepositoryRefusedError:
    return RepositoryRefusedError("document", detail)


def _unsuitable(detail: str) -> RepositoryRefusedError:
    return RepositoryRefusedError(UNSUITABLE, detail)
