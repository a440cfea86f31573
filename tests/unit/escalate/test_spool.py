"""The spool: whole files out, answers in, and whatever a carrier and a bad medium can do to them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edge_agent.egress.instructions import INSTRUCTIONS
from edge_agent.egress.question import document
from edge_agent.errors import TryLaterError
from edge_agent.escalate import spool
from edge_agent.escalate.contract import Request
from edge_agent.escalate.spool import MAX_ANSWER_BYTES, MAX_REPLIES, SETTLE_S, SpoolBackend
from tests.escalation.questions import asked
from tests.unit.workers.parts import StepClock

ID = "q-0123456789abcdef01234567"
ANSWER = {"sentences": ["<stream:0> went silent at <at:0> ."]}


class Carrier:
    """A spool and who carries for it."""

    def __init__(self, folder: Path, *, owned: bool = True, max_questions: int = 100) -> None:
        self.folder, self.clock = folder, StepClock()
        self._made = {"owned": owned, "max_questions": max_questions}
        self.backend = self.restart()

    def restart(self) -> SpoolBackend:
        """What a kill and a start do."""
        self.backend = SpoolBackend(self.folder, self.clock, **self._made)  # type: ignore[arg-type]  # as they were given
        return self.backend

    def ask(self, id: str = ID, body: bytes = b"{}\n") -> None:
        assert self.backend.send(Request(id=id, body=body)) is None

    def bring(self, answer: object = ANSWER, id: str = ID) -> Path:
        path = self.answers / f"{id}.answer.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer if isinstance(answer, bytes) else json.dumps(answer).encode())
        return path

    def settle(self) -> list[str]:
        """Ids given over a time in which nothing changes."""
        ids = [reply.id for reply in self.backend.collect()]
        self.clock.s += SETTLE_S
        return ids + [reply.id for reply in self.backend.collect()]

    @property
    def questions(self) -> Path:
        return self.folder / "questions"

    @property
    def answers(self) -> Path:
        return self.folder / "answers"

    @property
    def refused(self) -> Path:
        return self.folder / "refused"

    def files(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir() if path.name != "instructions.txt") if folder.is_dir() else []


@pytest.fixture
def carrier(tmp_path: Path) -> Carrier:
    return Carrier(tmp_path / "spool")


def test_a_question_is_a_file_for_people_that_holds_the_document(carrier: Carrier) -> None:
    question = asked().question
    body, usage = carrier.backend.encode(question)
    carrier.ask(question.id, body)
    path = carrier.questions / f"{question.id}.question.json"
    assert path.read_bytes() == body
    assert json.loads(body) == json.loads(document(question))
    assert body.count(b"\n") > 10
    assert (usage.bytes, usage.tokens) == (len(body), 0)
    assert (carrier.questions / "instructions.txt").read_text() == INSTRUCTIONS


def test_a_question_asked_again_is_the_same_file(carrier: Carrier) -> None:
    carrier.ask(body=b"old")
    carrier.ask(body=b"new")
    assert carrier.files(carrier.questions) == [f"{ID}.question.json"]
    assert (carrier.questions / f"{ID}.question.json").read_bytes() == b"new"


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        {**ANSWER, "id": ID},
        {**ANSWER, "transaction": "t"},
        {"specversion": "1.0", "id": "e", "source": "s", "type": "t", "data": {**ANSWER, "id": ID}},
        b"\xef\xbb\xbf" + json.dumps(ANSWER).encode() + b"\r\n",
    ],
)
def test_an_answer_is_given_in_the_form_in_which_a_model_gives_it(carrier: Carrier, answer: object) -> None:
    carrier.bring(answer)
    (reply,) = carrier.backend.collect()
    assert (reply.id, json.loads(reply.text), reply.usage) == (ID, ANSWER, None)


def test_the_model_is_told(carrier: Carrier) -> None:
    carrier.bring({**ANSWER, "model": "large-1"})
    assert carrier.backend.collect()[0].model == "large-1"


def test_an_answer_stays_until_the_next_call_says_that_it_is_kept(carrier: Carrier) -> None:
    carrier.ask()
    path = carrier.bring()
    assert len(carrier.backend.collect()) == 1
    assert path.exists()
    assert len(carrier.restart().collect()) == 1  # killed before it was kept: given once more
    assert carrier.backend.collect() == []
    assert (carrier.files(carrier.answers), carrier.files(carrier.questions)) == ([], [])


def test_a_question_asked_again_has_not_been_answered(carrier: Carrier) -> None:
    carrier.ask()
    carrier.bring()
    assert len(carrier.backend.collect()) == 1
    carrier.ask()
    assert [reply.id for reply in carrier.backend.collect()] == [ID]
    assert carrier.files(carrier.questions) == [f"{ID}.question.json"]


def test_many_answers_come_a_few_at_a_time(carrier: Carrier) -> None:
    wanted = {f"q-{number:04}" for number in range(3 * MAX_REPLIES)}
    for id in wanted:
        carrier.bring(id=id)
    given = [carrier.backend.collect() for _ in range(4)]
    assert [len(replies) for replies in given] == [MAX_REPLIES] * 3 + [0]
    assert {reply.id for replies in given for reply in replies} == wanted


def test_a_file_that_is_still_being_copied_is_left_alone(carrier: Carrier) -> None:
    whole = json.dumps(ANSWER).encode()
    for end in range(0, len(whole), 9):
        carrier.bring(whole[:end])
        assert carrier.backend.collect() == []
        carrier.clock.s += 0.9 * SETTLE_S
        assert carrier.backend.collect() == []
    carrier.bring(whole)
    assert [reply.id for reply in carrier.backend.collect()] == [ID]
    assert carrier.files(carrier.refused) == []


def test_a_file_made_in_full_length_first_is_read_again_before_it_is_judged(carrier: Carrier) -> None:
    """Some tools reserve the length, and the clocks of some file systems tick every two seconds."""
    whole = json.dumps(ANSWER).encode()
    path = carrier.bring(b"\0" * len(whole))
    before = path.stat()
    assert carrier.backend.collect() == []
    path.write_bytes(whole)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert carrier.settle() == [ID]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "is empty|sentences"),
        (b'{"sentences": ["a"', "no JSON"),
        (b"\xff\xfe", "UTF-8"),
        ([1], "no JSON object"),
        ({"sentences": []}, "sentences"),
        ({"sentences": ["a"], "id": "q-other"}, "another question"),
        ({"sentences": ["a"], "model": "\x1b[31m"}, "control character"),
        (b'{"sentences": ["' + b"a" * MAX_ANSWER_BYTES + b'"]}', "longer than"),
        (b"[" * 60_000, "nested"),
    ],
)
def test_what_is_no_answer_is_set_aside_with_its_reason(carrier: Carrier, answer: object, said: str) -> None:
    carrier.bring(answer)
    other = carrier.bring(id="q-good")
    assert carrier.settle() == ["q-good"]
    assert not other.exists()
    assert carrier.files(carrier.answers) == []
    assert carrier.files(carrier.refused) == [f"{ID}.answer.json", f"{ID}.answer.json.reason.txt"]
    reason = (carrier.refused / f"{ID}.answer.json.reason.txt").read_text()
    assert any(word in reason for word in said.split("|"))


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    secret = path.parent.parent / "secret"
    secret.write_text(json.dumps(ANSWER))
    path.symlink_to(secret)


@pytest.mark.parametrize("put", [_fifo, _link, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_only_regular_files_are_read(carrier: Carrier, put: Any) -> None:
    carrier.answers.mkdir(parents=True)
    put(carrier.answers / f"{ID}.answer.json")
    assert carrier.settle() == []
    assert carrier.files(carrier.answers) == []
    assert "no regular file" in (carrier.refused / f"{ID}.answer.json.reason.txt").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; run the tests as an ordinary user to see this one")
def test_a_file_that_may_not_be_read_is_set_aside(carrier: Carrier) -> None:
    carrier.bring().chmod(0)
    assert carrier.settle() == []
    assert "may not be read" in (carrier.refused / f"{ID}.answer.json.reason.txt").read_text()


def test_other_files_are_left_alone(carrier: Carrier) -> None:
    carrier.answers.mkdir(parents=True)
    for name in (".DS_Store", "notes.txt", f"{ID}.answer.json.part", f".{ID}.answer.json", "..answer.json", "ä.answer.json"):
        (carrier.answers / name).write_text(json.dumps(ANSWER))
    before = carrier.files(carrier.answers)
    assert carrier.settle() == []
    assert carrier.files(carrier.answers) == before


def test_what_was_refused_is_bounded(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_REFUSED", 3)
    for number in range(5):
        os.utime(carrier.bring(b"x", id=f"q-{number}"), (number, number))
    carrier.settle()
    assert carrier.files(carrier.refused) == [
        f"q-{number}.answer.json{end}" for number in (2, 3, 4) for end in ("", ".reason.txt")
    ]


def test_questions_are_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    carrier = Carrier(tmp_path / "spool", max_questions=3)
    for number in range(5):
        carrier.ask(f"q-{number}")
        os.utime(carrier.questions / f"q-{number}.question.json", (number, number))
    assert carrier.files(carrier.questions) == [f"q-{number}.question.json" for number in (2, 3, 4)]
    carrier.ask("q-3")
    assert len(carrier.files(carrier.questions)) == 3


def test_what_a_power_cut_left_of_writing_is_bounded_too(tmp_path: Path) -> None:
    carrier = Carrier(tmp_path / "spool", max_questions=2)
    carrier.ask("q-0")
    for number in range(4):
        (carrier.questions / f".q-{number}.question.json.tmp").write_text("{")
    carrier.ask("q-9")
    assert len(carrier.files(carrier.questions)) == 2


def test_more_files_than_are_looked_at_are_told(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_LISTED", 2)
    for number in range(3):
        carrier.bring(b"x", id=f"q-{number}")
    with pytest.raises(TryLaterError, match="more than 2 files"):
        carrier.backend.collect()


def test_a_configured_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    carrier = Carrier(stick, owned=False)
    for call in (carrier.backend.collect, carrier.ask):
        with pytest.raises(TryLaterError, match=r"folder: .*questions is not there"):
            call()
    assert list(stick.iterdir()) == []
    carrier.questions.mkdir()
    carrier.answers.mkdir()
    carrier.ask()
    assert carrier.files(carrier.questions) == [f"{ID}.question.json"]


def test_a_medium_that_is_pulled_and_comes_back_loses_nothing(tmp_path: Path) -> None:
    stick, away = tmp_path / "stick", tmp_path / "away"
    for name in ("questions", "answers"):
        (stick / name).mkdir(parents=True)
    carrier = Carrier(stick, owned=False)
    carrier.ask()
    carrier.bring()
    assert len(carrier.backend.collect()) == 1
    stick.rename(away)
    for _ in range(2):
        with pytest.raises(TryLaterError, match="folder"):
            carrier.backend.collect()
    with pytest.raises(TryLaterError, match="folder"):
        carrier.ask("q-2")
    away.rename(stick)
    assert carrier.backend.collect() == []
    assert (carrier.files(carrier.answers), carrier.files(carrier.questions)) == ([], [])


def test_a_folder_that_is_a_file_is_trouble_for_later(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    carrier = Carrier(tmp_path / "spool")
    for call in (carrier.backend.collect, carrier.ask):
        with pytest.raises(TryLaterError, match="folder"):
            call()


def test_a_full_disk_is_trouble_for_later(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    carrier.ask("q-1")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TryLaterError, match=r"folder: .*No space left"):
        carrier.ask("q-2")
    monkeypatch.undo()
    assert carrier.files(carrier.questions) == ["q-1.question.json"]
    carrier.ask("q-2")


def test_a_read_error_of_one_file_does_not_hide_the_others(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.read

    def failing(handle: int, count: int) -> bytes:
        if "q-bad" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(5, "Input/output error")
        return real(handle, count)

    carrier.bring(id="q-bad")
    carrier.bring(id="q-good")
    monkeypatch.setattr(os, "read", failing)
    assert [reply.id for reply in carrier.backend.collect()] == ["q-good"]
    with pytest.raises(TryLaterError, match=r"folder: .*Input/output error"):
        carrier.backend.collect()
    monkeypatch.undo()
    assert [reply.id for reply in carrier.backend.collect()] == ["q-bad"]


def test_an_answer_that_cannot_be_removed_is_not_given_for_ever(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    carrier.bring()

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    assert len(carrier.backend.collect()) == 1
    monkeypatch.setattr(Path, "unlink", refuse)
    for _ in range(2):
        with pytest.raises(TryLaterError, match="cannot be removed: Read-only"):
            carrier.backend.collect()
    carrier.bring(id="q-2")
    assert [reply.id for reply in carrier.backend.collect()] == ["q-2"]
    monkeypatch.undo()
    assert carrier.backend.collect() == []
    assert carrier.files(carrier.answers) == []


def test_an_id_that_could_leave_the_folder_is_a_defect(carrier: Carrier) -> None:
    with pytest.raises(ValueError, match="file's name"):
        carrier.ask("../q")
    assert carrier.files(carrier.folder.parent) == ["spool"]
