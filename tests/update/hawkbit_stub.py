"""A hawkBit server as devices see it: the Direct Device Integration API over a real socket, with its states and its refusals.

The behaviour is that of hawkBit's own server: which feedback an action takes in which state, which status it answers with, that
a cancelled action is offered for cancellation until that is confirmed, that the oldest active action goes first. What a network
adds can be asked for: an exchange that is cut before it was carried out or after, and any status in place of an answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

State = Literal["waiting", "running", "canceling", "canceled", "finished", "error"]
Fault = Literal["", "cut-before", "cut-after"] | int
"""An int is a status that is answered in place of anything being done."""

EXECUTIONS = {"closed", "proceeding", "canceled", "scheduled", "rejected", "resumed", "downloaded", "download"}
MAX_STATUSES = 1_000
MAX_MESSAGES, MAX_MESSAGE_CHARACTERS = 50, 512
MAX_ATTRIBUTE_CHARACTERS = 128


@dataclass
class Action:
    """One deployment to the device."""

    id: int
    bundle: bytes = b"bundle"
    filename: str = "release.tar"
    state: State = "running"
    handling: str = "forced"
    window: str | None = None
    feedback: list[tuple[str, str, str, tuple[str, ...]]] = field(default_factory=list)
    """Resource, execution, result and details of all that was taken."""
    links: dict[str, str] | None = None
    """In place of the server's own links to the bundle."""
    downloads: int = 0
    """Requests for the bundle: the server writes each down, as it does each feedback, and takes so many of both together."""
    others: tuple[str, ...] = ()
    """File names of further artifacts."""

    @property
    def is_active(self) -> bool:
        return self.state in ("waiting", "running", "canceling")

    @property
    def is_full(self) -> bool:
        return len(self.feedback) + self.downloads >= MAX_STATUSES

    @property
    def cancels(self) -> bool:
        return self.state in ("canceling", "canceled")


class Hawkbit:
    """The server's side. Tests assign and cancel, and look at what became of it."""

    def __init__(self, token: str = "TargetToken secret", controller: str = "gw-1", tenant: str = "DEFAULT") -> None:
        self.token = token
        self.base = f"/{tenant}/controller/v1/{controller}"
        self.url = ""
        self.sleep = "00:05:00"
        self.actions: dict[int, Action] = {}
        self.attributes: dict[str, str] = {}
        self.wants_attributes = True
        self.asked: list[str] = []
        """Method, path and, behind a blank, the entity tag that was sent."""
        self.authorizations: set[str] = set()
        self.faults: Callable[[str, str], Fault] = lambda method, path: ""
        self.retry_after = ""
        self.lock = threading.Lock()

    def assign(self, **what: Any) -> Action:
        with self.lock:
            action = Action(id=len(self.actions) + 1, **what)
            self.actions[action.id] = action
            return action

    def cancel(self, action: Action) -> bool:
        """What an operator does; False where it is too late."""
        with self.lock:
            if action.state != "running":
                return False
            action.state = "canceling"
            return True

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What the server does about one request."""
        route, _, _ = path.partition("?")
        if headers.get("Authorization", "") != self.token:
            return 401, {}, b""
        if not route.startswith(self.base):
            return 404, {}, b""
        rest = route.removeprefix(self.base)
        if method == "GET" and not rest:
            return self._json(self._root())
        if method == "PUT" and rest == "/configData":
            return self._config(body)
        if method == "GET" and (found := re.fullmatch(r"/softwaremodules/(\d+)/artifacts/([^/]+)", rest)):
            return self._artifact(int(found[1]), found[2], headers.get("Range", ""))
        found = re.fullmatch(r"/(deploymentBase|cancelAction)/(\d+)(/feedback)?", rest)
        action = self.actions.get(int(found[2])) if found else None
        if found is None or action is None:
            return 404, {}, b""
        if method == "POST" and found[3]:
            return self._feedback(found[1], action, body)
        if method != "GET" or found[3]:
            return 405, {}, b""
        if found[1] == "cancelAction":
            cancel = {"id": str(action.id), "cancelAction": {"stopId": str(action.id)}}
            return self._json(cancel) if action.cancels else (404, {}, b"")
        if action.cancels or action.state == "waiting":
            return 404, {}, b""
        status, found_headers, data = self._json(self._deployment(action))
        if headers.get("If-None-Match", "") == found_headers["ETag"]:
            return 304, found_headers, b""
        return status, found_headers, data

    def _json(self, value: object) -> tuple[int, dict[str, str], bytes]:
        data = json.dumps(value).encode()
        return 200, {"Content-Type": "application/hal+json", "ETag": f'"{hashlib.md5(data).hexdigest()}"'}, data

    def _root(self) -> object:
        links = {}
        active = next((action for _, action in sorted(self.actions.items()) if action.is_active), None)
        if active is not None:
            name = {"waiting": "confirmationBase", "canceling": "cancelAction"}.get(active.state, "deploymentBase")
            resource = f"?c={hash((active.id, active.window, active.handling)) % 2**31 - 2**30}" if name != "cancelAction" else ""
            links[name] = {"href": f"{self.url}{self.base}/{name}/{active.id}{resource}"}
        if self.wants_attributes:
            links["configData"] = {"href": f"{self.url}{self.base}/configData"}
        return {"config": {"polling": {"sleep": self.sleep}}, "_links": links}

    def _deployment(self, action: Action) -> object:
        own = f"{self.url}{self.base}/softwaremodules/{action.id}/artifacts/{action.filename}"
        links = {"download-http": own} if action.links is None else action.links
        artifacts = [
            {
                "filename": name,
                "hashes": {"sha1": hashlib.sha1(action.bundle).hexdigest(), "md5": hashlib.md5(action.bundle).hexdigest()},
                "size": len(action.bundle),
                "_links": {rel: {"href": href} for rel, href in links.items()},
            }
            for name in (action.filename, *action.others)
        ]
        handling = "skip" if action.window == "unavailable" else action.handling
        deployment: dict[str, object] = {
            "download": "forced" if action.handling == "skip" else action.handling,
            "update": handling,
            "chunks": [{"part": "bApp", "version": "1", "name": "releases", "artifacts": artifacts}],
        }
        if action.window is not None:
            deployment["maintenanceWindow"] = action.window
        return {"id": str(action.id), "deployment": deployment}

    def _config(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        said = json.loads(body)
        if said.get("status", {}).get("result", {}).get("finished") != "success":  # servers before 0.3 want it, others ignore it
            return 400, {}, b""
        data = said["data"]
        if any(not key or len(key) > 128 or not value or len(value) > MAX_ATTRIBUTE_CHARACTERS for key, value in data.items()):
            return 400, {}, b""
        self.attributes |= data
        self.wants_attributes = False
        return 200, {}, b""

    def _artifact(self, module: int, name: str, asked: str) -> tuple[int, dict[str, str], bytes]:
        action = self.actions.get(module)
        if action is None or name != action.filename:
            return 404, {}, b""
        if action.is_full:
            return 429, {}, b""
        action.downloads += 1
        tag = hashlib.sha1(action.bundle).hexdigest()  # without quotation marks, which the standard wants there
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        if found is None:
            return 200, {"ETag": tag}, action.bundle
        first, last = int(found[1]), min(int(found[2]), len(action.bundle) - 1)
        stated = f"bytes {first}-{last}/{len(action.bundle)}"
        return 206, {"ETag": tag, "Content-Range": stated}, action.bundle[first : last + 1]

    def _feedback(self, resource: str, action: Action, body: bytes) -> tuple[int, dict[str, str], bytes]:
        try:
            status = json.loads(body)["status"]
            execution, finished = status["execution"], status["result"]["finished"]
            details = tuple(status.get("details") or ())
        except (ValueError, KeyError, TypeError):
            return 400, {}, b""
        if execution not in EXECUTIONS or finished not in ("success", "failure", "none"):
            return 400, {}, b""
        if len(details) > MAX_MESSAGES or any(len(each) > MAX_MESSAGE_CHARACTERS for each in details):
            return 400, {}, b""
        if action.is_full:
            return 429, {}, b""
        refused = self._carry_out(resource, action, execution, finished)
        if refused:
            return refused, {}, b""
        action.feedback.append((resource, execution, finished, details))
        return 200, {}, b""

    def _carry_out(self, resource: str, action: Action, execution: str, finished: str) -> int:
        """Change the action's state as the feedback has it; a status where it is not taken."""
        if resource == "deploymentBase":
            if action.state == "waiting":
                return 404
            if not action.is_active:
                return 410
            if execution == "closed":
                action.state = "error" if finished == "failure" else "finished"
                self.wants_attributes = self.wants_attributes or action.state == "finished"
            return 0
        if not action.cancels:
            return 405
        if execution == "rejected" or (execution == "closed" and finished == "failure"):
            action.state = "running"
        elif execution == "closed":
            action.state = "canceled"
        return 0


@contextmanager
def hawkbit(**what: Any) -> Iterator[Hawkbit]:
    """A server at work."""
    stub = Hawkbit(**what)

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with stub.lock:
                tag = self.headers.get("If-None-Match", "")
                stub.asked.append(f"{self.command} {self.path}" + (f" {tag}" if tag else ""))
                stub.authorizations.add(self.headers.get("Authorization", ""))
                fault = stub.faults(self.command, self.path)
                if fault == "cut-before":
                    return
                if isinstance(fault, int):
                    found: tuple[int, dict[str, str], bytes] = fault, {"Retry-After": stub.retry_after}, b"<html>no</html>"
                else:
                    found = stub.answer(self.command, self.path, self.headers, body)
            if fault == "cut-after":
                return
            status, headers, data = found
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = handle_one  # noqa: N815  # the names that the library calls

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
