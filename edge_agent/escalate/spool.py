"""The `spool` backend: questions as files for a carrier, answers as files that the carrier brings, where there is no network.

    <folder>/questions/<id>.question.json   written whole and renamed into place; removed when it was answered
    <folder>/questions/instructions.txt     what a model is to be told before it is given any of them; always the same
    <folder>/answers/<id>.answer.json       {"sentences": [...], "model"?, "id"?}, put there by the carrier
    <folder>/refused/                       what was no answer, each with its reason in a file beside it

Rules: the carrier may come at any time and pull the medium at any time. An answer that is still being copied does not parse
yet; it is read again when it looks different, and set aside only when it still is no answer after `SETTLE_S` without a
change. Nothing but regular files is read, no link is followed, nothing longer than `MAX_ANSWER_BYTES` is taken in, and of many
files only so many at once. Names that are not of the form above are left alone. A folder that was configured has to hold
`questions` and `answers` already: the agent does not make them, or an empty mount point would be taken for the medium. Trouble
with the folder is a TryLaterError (`folder`); nothing was sent then.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_agent.atomic import make_folder, write_atomic
from edge_agent.clock import Clock
from edge_agent.egress.instructions import INSTRUCTIONS
from edge_agent.egress.question import Question, document
from edge_agent.errors import RequestError, StorageError, TryLaterError
from edge_agent.escalate.contract import Reply, Request, Usage
from edge_agent.messages import AnswerRequest, parse_answer_request, parse_request
from edge_agent.regular_file import NotRegularError, open_regular

QUESTIONS, ANSWERS, REFUSED = "questions", "answers", "refused"
INSTRUCTIONS_NAME = "instructions.txt"
MAX_ANSWER_BYTES = 65_536
MAX_REPLIES = 16
"""Given at once; the others come with the next call."""
MAX_LISTED = 10_000
"""Entries of `answers` looked at."""
MAX_REFUSED = 100
"""Kept in `refused`; the oldest goes first."""
SETTLE_S = 30.0

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_QUESTION, _ANSWER, _REASON = ".question.json", ".answer.json", ".reason.txt"
_WRITTEN = (_QUESTION, f"{_QUESTION}.tmp")
"""Ends of the names of what we write: questions, and what a power cut left of writing one."""


class _Seen(Struct, frozen=True):
    """A file that is no answer, or not yet: how it looked, and since when it has looked like that."""

    look: tuple[int, int, int]
    since_s: float


def question_path(folder: Path, id: str) -> Path:
    """Where the question of that id is put."""
    return folder / QUESTIONS / (id + _QUESTION)


class SpoolBackend:
    """See `contract.Backend`. `owned`: the folder is the agent's own, which makes what is missing in it."""

    def __init__(self, folder: Path, clock: Clock, *, owned: bool, max_questions: int) -> None:
        self._folder = folder
        self._clock = clock
        self._owned = owned
        self._max_questions = max_questions
        self._given: list[str] = []
        """Ids of the replies that the last `collect` gave."""
        self._done: set[str] = set()
        """Ids whose files should be gone and could not be removed; they are not given again by this process."""
        self._seen: dict[str, _Seen] = {}

    def encode(self, question: Question) -> tuple[bytes, Usage]:
        """See `contract.Backend.encode`: the question's document, laid out for people. Raises EgressError."""
        body = msgspec.json.format(document(question), indent=2) + b"\n"
        return body, Usage(bytes=len(body))

    def send(self, request: Request) -> Reply | None:
        """See `contract.Backend.send`: None, because every answer comes later. Raises TryLaterError (`folder`)."""
        self._prepare()
        if not _ID.fullmatch(request.id):
            raise ValueError(f"{request.id!r} cannot be a part of a file's name")
        path = question_path(self._folder, request.id)
        # Asked again, whatever was given for it before was not kept, and must not be removed.
        self._given = [id for id in self._given if id != request.id]
        self._done.discard(request.id)
        self._make_room(path.parent, path.name)
        try:
            if not _holds(path.parent / INSTRUCTIONS_NAME, INSTRUCTIONS.encode()):
                write_atomic(path.parent / INSTRUCTIONS_NAME, INSTRUCTIONS.encode())
            write_atomic(path, request.body)
        except StorageError as error:
            raise TryLaterError("folder", str(error)) from error
        return None

    def collect(self) -> list[Reply]:
        """See `contract.Backend.collect`. Raises TryLaterError (`folder`), also where only removing did not work."""
        self._prepare()
        trouble = self._remove_given()
        replies: list[Reply] = []
        names, too_many = self._answer_names()
        trouble = trouble or too_many
        self._seen = {name: self._seen[name] for name in names if name in self._seen}
        for name in names:
            try:
                reply = self._read(name)
            except OSError as error:
                trouble = trouble or f"{self._folder / ANSWERS / name}: {error.strerror}"
                continue
            if reply is not None:
                replies.append(reply)
                self._given.append(reply.id)
            if len(replies) == MAX_REPLIES:
                break
        if trouble and not replies:
            raise TryLaterError("folder", trouble)
        return replies

    def _prepare(self) -> None:
        """See that the folders are there."""
        for name in (QUESTIONS, ANSWERS):
            folder = self._folder / name
            try:
                if self._owned:
                    make_folder(folder, mode=0o770)
                elif not folder.is_dir():
                    raise TryLaterError("folder", f"{folder} is not there: bring the medium that it is on, or make the folder")
            except OSError as error:
                raise TryLaterError("folder", f"{folder} cannot be used: {error.strerror}") from error
            except StorageError as error:
                raise TryLaterError("folder", str(error)) from error

    def _make_room(self, folder: Path, wanted: str) -> None:
        """Remove the oldest questions, which nobody waits for any more, where there are too many for another one."""
        try:
            names = [name for name in os.listdir(folder) if name.endswith(_WRITTEN) and name != wanted]
            excess = len(names) - self._max_questions + 1
            if excess > 0:
                ages = sorted(((folder / name).lstat().st_mtime, name) for name in names)
                for _, name in ages[:excess]:
                    (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise TryLaterError("folder", f"{folder}: {error.strerror}") from error

    def _answer_names(self) -> tuple[list[str], str]:
        """Names of files in `answers` that may be answers, without those that are done with; and what hides others, in words."""
        folder = self._folder / ANSWERS
        names: list[str] = []
        try:
            with os.scandir(folder) as entries:
                listed = [entry.name for entry in itertools.islice(entries, MAX_LISTED + 1)]
        except OSError as error:
            raise TryLaterError("folder", f"{folder} cannot be listed: {error.strerror}") from error
        for name in listed[:MAX_LISTED]:
            id = name.removesuffix(_ANSWER)
            if name.endswith(_ANSWER) and _ID.fullmatch(id) and id not in self._done:
                names.append(name)
        hidden = len(listed) > MAX_LISTED
        return sorted(names), f"{folder} holds more than {MAX_LISTED:,} files; remove what is no answer" if hidden else ""

    def _read(self, name: str) -> Reply | None:
        """The reply in a file; None where it is none (yet). Raises OSError when the medium fails."""
        path = self._folder / ANSWERS / name
        try:
            found = path.lstat()
        except FileNotFoundError:
            return None
        look, now_s = (found.st_ino, found.st_size, found.st_mtime_ns), self._clock.monotonic_s()
        seen = self._seen.get(name)
        changed = seen is None or seen.look != look
        if seen is not None and not changed and now_s - seen.since_s < SETTLE_S:
            return None
        try:
            answer = _answer_in(_bytes_of(path, found), name.removesuffix(_ANSWER))
        except FileNotFoundError:
            return None
        except RequestError as error:
            if changed:
                self._seen[name] = _Seen(look, now_s)
            else:
                self._set_aside(name, str(error))
            return None
        return Reply(id=answer.question_id, text=answer.text, model=answer.model)

    def _set_aside(self, name: str, reason: str) -> None:
        """Move what is no answer into `refused`, with its reason beside it. Raises OSError."""
        folder = self._folder / REFUSED
        folder.mkdir(exist_ok=True, mode=0o770)
        os.replace(self._folder / ANSWERS / name, folder / name)
        del self._seen[name]
        with contextlib.suppress(StorageError):
            write_atomic(folder / (name + _REASON), f"{reason}\n".encode("utf-8", "replace"))
        names = [entry.name for entry in folder.iterdir() if entry.name.endswith(_ANSWER)]
        ages = sorted(((folder / one).lstat().st_mtime, one) for one in names if one != name)
        for _, old in ages[: max(0, len(ages) - MAX_REFUSED + 1)]:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                (folder / old).unlink()
            (folder / (old + _REASON)).unlink(missing_ok=True)

    def _remove_given(self) -> str:
        """Remove what the last call gave, with its questions; what is in the way, in words."""
        trouble = ""
        for id in (*self._given, *sorted(self._done)):
            try:
                (self._folder / ANSWERS / (id + _ANSWER)).unlink(missing_ok=True)
                (self._folder / QUESTIONS / (id + _QUESTION)).unlink(missing_ok=True)
                self._done.discard(id)
            except OSError as error:
                self._done.add(id)
                trouble = f"{self._folder}: the files of {id} cannot be removed: {error.strerror}"
        self._given.clear()
        return trouble


def _holds(path: Path, data: bytes) -> bool:
    """Whether a small file is there and holds just this."""
    try:
        return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _bytes_of(path: Path, found: os.stat_result) -> bytes:
    """The content of a file that was `found`. Raises RequestError for what is not read, OSError when the medium fails."""
    if not stat.S_ISREG(found.st_mode):
        raise RequestError("bad-file", "is no regular file")
    try:
        handle = open_regular(path, follow_links=False)  # it may be another one by now
    except NotRegularError:
        raise RequestError("bad-file", "is no regular file") from None
    except PermissionError:
        raise RequestError("bad-file", "may not be read; give it to the service's user") from None
    try:
        data = bytearray()
        while len(data) <= MAX_ANSWER_BYTES and (portion := os.read(handle, MAX_ANSWER_BYTES + 1 - len(data))):
            data += portion
    finally:
        os.close(handle)
    if len(data) > MAX_ANSWER_BYTES:
        raise RequestError("bad-file", f"is longer than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(data)


def _answer_in(data: bytes, id: str) -> AnswerRequest:
    """The answer in a file whose name says that it is to the question `id`. Raises RequestError."""
    body = parse_request(data)
    members = dict(body.members)
    if "specversion" not in members:
        members.setdefault("id", id)
    answer = parse_answer_request(msgspec.structs.replace(body, members=members))
    if answer.question_id != id:
        raise RequestError("bad-request", f"id: {answer.question_id} is another question than the file's name says")
    return answer
