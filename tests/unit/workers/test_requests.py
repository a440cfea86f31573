"""The requests worker: one answer to every request, durable before it is acknowledged."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import StorageError
from edge_agent.escalate.contract import Reply
from edge_agent.journal import Journal
from edge_agent.messages import Health
from edge_agent.metrics import Metrics
from edge_agent.mqtt import Request
from edge_agent.pipeline import TEMPLATE_ONLY, explain
from edge_agent.values import Closure
from edge_agent.workers import requests
from edge_agent.workers.requests import Desk, RequestsWorker
from tests.unit.workers.parts import START_S, TOPICS, MemoryLink, RefusingJournal, StepClock, open_journal
from tests.writing import anomaly, incident


class Closer:
    """Answers at once what it was told to answer."""

    def __init__(self, *, known: bool = True) -> None:
        self.known = known
        self.full = False
        self.asked: list[Closure] = []

    def close_incident(self, closure: Closure) -> Future[bool]:
        if self.full:
            raise queue.Full
        self.asked.append(closure)
        done: Future[bool] = Future()
        done.set_result(self.known)
        return done


class Answers:
    """Knows one question, judges as it was told, and once judged says the same again."""

    def __init__(self, fate: str = "answered") -> None:
        self.fate = fate
        self.full = False
        self.late = False
        self.fails = False
        self.judged: dict[str, str] = {}
        self.asked: list[Reply] = []

    def answer(self, reply: Reply) -> Future[str]:
        if self.full:
            raise queue.Full
        self.asked.append(reply)
        future: Future[str] = Future()
        if self.fails:
            future.set_exception(StorageError("no room"))
        elif not self.late:
            known = reply.id == "q-1"
            future.set_result(self.judged.setdefault(reply.id, self.fate) if known else "unknown-question")
        return future


class Bench:
    """A requests worker and everything around it."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self.journal, self.refusing = journal, RefusingJournal(journal)
        self.link, self.closer, self.metrics = MemoryLink(), Closer(), Metrics()
        self.remembered: list[str] = []
        self.answers = Answers()
        self.deliver = threading.Event()
        self.health = Health(version="1", release="test-1", boot_id="boot", started_s=START_S, time_s=START_S)
        self.desk = Desk(
            journal=self.refusing.as_journal(),
            health=lambda: self.health,
            config_path=folder / "edge-agent.yaml",
            credentials_dir=None,
            closer=self.closer,
            remember=self.remembered.append,
            clock=StepClock(),
            answers=self.answers,
        )
        self.worker = RequestsWorker(
            link=self.link,
            desk=self.desk,
            topics=TOPICS,
            question_topic="up/questions",
            deliver=self.deliver,
            metrics=self.metrics,
        )

    def ask(self, command: str, payload: object = None, **fields: Any) -> dict[str, Any]:
        """The answer's document."""
        data = payload if isinstance(payload, bytes) else b"" if payload is None else json.dumps(payload).encode()
        self.link.asked.append(Request(command=command, payload=data, arrived_s=START_S, qos=1, mid=1, **fields))
        self.worker.step(0.0)
        answer = self.journal.outbox(0, 1_000)[-1].message
        assert answer.topic == (fields.get("response_topic") or TOPICS.response(command))
        document: dict[str, Any] = json.loads(answer.payload)
        return document


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_journal(tmp_path) as journal:
        yield Bench(journal, tmp_path)


def test_status_is_the_health_document_with_the_senders_transaction(bench: Bench) -> None:
    answer = bench.ask("status", {"transaction": "t-1"})
    assert (answer["status"], answer["transaction"]) == ("ok", "t-1")
    assert answer["data"]["release"] == "test-1"
    assert len(bench.link.acked) == 1
    assert bench.deliver.is_set()


def test_the_response_topic_and_the_correlation_data_are_used(bench: Bench) -> None:
    bench.ask("status", response_topic="my/answers", correlation=b"\x01\x02")
    assert bench.journal.outbox(0, 10)[-1].message.response_correlation == b"\x01\x02"


@pytest.mark.parametrize(
    "topic", ["up/questions", TOPICS.question, TOPICS.summary, TOPICS.request("status"), TOPICS.base + "/new"]
)
def test_no_answer_goes_where_questions_leave_or_documents_are_read(bench: Bench, topic: str) -> None:
    bench.link.asked.append(Request(command="incidents", payload=b"", arrived_s=START_S, response_topic=topic))
    bench.worker.step(0.0)
    assert bench.journal.outbox(0, 10)[-1].message.topic == TOPICS.response("incidents")


def test_an_answer_may_go_to_another_topic_of_the_agents_responses(bench: Bench) -> None:
    bench.ask("status", response_topic=TOPICS.response("status") + "/me")


@pytest.mark.parametrize("topic", ["bad/#", "bad/+", "bad\0"])
def test_a_response_topic_that_cannot_be_published_to_is_not_used(bench: Bench, topic: str) -> None:
    bench.link.asked.append(Request(command="status", payload=b"", arrived_s=START_S, response_topic=topic))
    bench.worker.step(0.0)
    assert bench.journal.outbox(0, 10)[-1].message.topic == TOPICS.response("status")


@pytest.mark.parametrize(
    ("command", "payload", "word"),
    [
        ("status", b"{", "bad-json"),
        ("status", b"\xff\xfe", "bad-json"),
        ("status", [1], "bad-request"),
        ("reboot", {}, "known are answer, check, close, incidents, status"),
        ("incidents", {"limit": 0}, "limit"),
        ("incidents", {"limit": True}, "limit"),
        ("incidents", {"state": "ajar"}, "state"),
        ("incidents", {"incident": "none"}, "no such incident"),
        ("incidents", {"incident": 7}, "no such incident"),
        ("check", {"config": 7}, "config"),
        ("close", {}, "incident"),
        ("close", {"incident": "x", "cause": ""}, "cause"),
        ("answer", {}, "sentences"),
        ("answer", {"id": "q-1", "sentences": "a"}, "sentences"),
        ("answer", {"id": "q-2", "sentences": ["a"]}, "unknown-question: q-2"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(bench: Bench, command: str, payload: object, word: str) -> None:
    answer = bench.ask(command, payload)
    assert answer["status"] == "error"
    assert word in answer["error"]
    assert len(bench.link.acked) == 1
    assert bench.metrics.rejections.get("request-refused") == 1


def test_incidents_are_listed_newest_first_with_what_was_said(bench: Bench) -> None:
    first, second = incident(anomaly(), id="pump-3-1"), incident(anomaly(), id="pump-3-2")
    bench.journal.record([first], [])
    bench.journal.record([second], [])
    bench.journal.record_summary(explain(second, None, None, TEMPLATE_ONLY, START_S), [])
    listed = bench.ask("incidents", {"limit": 5})["data"]["incidents"]
    assert [row["id"] for row in listed] == ["pump-3-2", "pump-3-1"]
    assert listed[0]["text"].startswith("pump-3/vibration rose sharply")
    assert listed[1]["text"] is None
    assert bench.ask("incidents", {"state": "closed"})["data"]["incidents"] == []


def test_one_incident_is_shown_in_full(bench: Bench) -> None:
    bench.journal.record([incident(anomaly())], [])
    shown = bench.ask("incidents", {"incident": "pump-3-1"})["data"]
    assert shown["incident"]["anomalies"][0]["stream"] == "pump-3/vibration"
    assert (shown["summary"], shown["cause"]) == (None, None)


def test_closing_is_handed_to_the_screen_worker_and_then_remembered(bench: Bench) -> None:
    answer = bench.ask("close", {"incident": "pump-3-1", "cause": "bearing wear", "note": "replaced"})
    assert answer["status"] == "ok"
    assert [(closure.incident_id, closure.cause, closure.note) for closure in bench.closer.asked] == [
        ("pump-3-1", "bearing wear", "replaced")
    ]
    assert bench.remembered == ["pump-3-1"]


def test_closing_what_is_unknown_is_an_error(bench: Bench) -> None:
    bench.closer.known = False
    answer = bench.ask("close", {"incident": "nope", "cause": "x"})
    assert answer["error"].startswith("unknown-incident")
    assert bench.remembered == []


def test_closing_while_too_many_wait_is_answered_with_busy(bench: Bench) -> None:
    bench.closer.full = True
    assert bench.ask("close", {"incident": "pump-3-1", "cause": "x"})["error"].startswith("busy")


def test_while_the_journal_refuses_nothing_is_acknowledged_or_done_twice(bench: Bench) -> None:
    bench.refusing.refusals = 1
    bench.link.asked.append(Request(command="close", payload=b'{"incident": "a", "cause": "x"}', arrived_s=START_S, qos=1, mid=1))
    with pytest.raises(StorageError):
        bench.worker.step(0.0)
    assert not bench.link.acked
    bench.worker.step(0.0)
    assert len(bench.link.acked) == 1
    assert len(bench.closer.asked) == 1
    assert len(bench.journal.outbox(0, 10)) == 1


def test_a_request_that_fails_unexpectedly_is_answered_and_does_not_block_the_next(bench: Bench) -> None:
    calls: list[int] = []

    def failing() -> Health:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("defect")
        return bench.health

    bench.desk.health = failing
    for mid in (1, 2):
        bench.link.asked.append(Request(command="status", payload=b"", arrived_s=START_S, qos=1, mid=mid))
    with pytest.raises(ZeroDivisionError):
        bench.worker.step(0.0)
    assert bench.worker.step(0.0)
    assert len(bench.journal.outbox(0, 10)) == 1, "one answer a step: a stop waits for no more"
    assert bench.worker.step(0.0)
    answers = [json.loads(queued.message.payload) for queued in bench.journal.outbox(0, 10)]
    assert [answer["status"] for answer in answers] == ["error", "ok"]


def test_check_reports_the_problems_of_a_text(bench: Bench) -> None:
    good = bench.ask("check", {"config": "gateway: {id: g-1}\n"})["data"]
    bad = bench.ask("check", {"config": "gatewya: {id: g-1}\n"})["data"]
    assert (good["ok"], good["problems"]) == (True, [])
    assert not bad["ok"]
    assert "gateway" in bad["problems"][0]


def test_check_gives_the_warnings_about_a_text_whether_it_is_good_or_not(bench: Bench) -> None:
    good = bench.ask("check", {"config": "routes: []\n"})["data"]
    bad = bench.ask("check", {"config": "rotes: 1\n"})["data"]
    for told in (good, bad):
        assert [warning.partition(": ")[2] for warning in told["warnings"]] == [
            "routes: there are none, so nothing is listened to"
        ]


def test_check_reads_the_agents_own_file_as_it_stands_now(bench: Bench) -> None:
    bench.desk.config_path.write_text("gateway: {id: Not-An-Id}\n")
    report = bench.ask("check")["data"]
    assert not report["ok"]
    assert report["problems"]


ANSWER = {"id": "q-1", "sentences": ["a", "b"], "model": "large-1"}


def test_an_answer_is_handed_on_and_its_fate_told(bench: Bench) -> None:
    answer = bench.ask("answer", {**ANSWER, "transaction": 7})
    assert (answer["status"], answer["transaction"]) == ("ok", "7")
    assert answer["data"] == {"id": "q-1", "state": "answered", "outcome": ""}
    assert bench.answers.asked == [Reply(id="q-1", text='{"sentences": ["a", "b"]}', model="large-1")]


def test_an_answer_that_is_refused_is_a_request_that_was_carried_out(bench: Bench) -> None:
    bench.answers.fate = "refused: foreign-slot"
    answer = bench.ask("answer", ANSWER)
    assert answer["data"] == {"id": "q-1", "state": "refused", "outcome": "foreign-slot"}


def test_the_same_answer_again_has_the_same_fate(bench: Bench) -> None:
    first = bench.ask("answer", ANSWER)
    bench.answers.fate = "refused: foreign-slot"
    assert bench.ask("answer", ANSWER) == first


def test_a_cloud_event_is_an_answer_too(bench: Bench) -> None:
    event = {"specversion": "1.0", "id": "e-1", "source": "/m", "type": "t", "data": ANSWER}
    assert bench.ask("answer", event)["data"]["state"] == "answered"


def test_an_answer_while_escalation_is_off_is_refused(bench: Bench) -> None:
    bench.desk.answers = None
    assert "escalation-off" in bench.ask("answer", ANSWER)["error"]


def test_an_answer_that_cannot_be_judged_now_is_to_be_sent_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "ANSWER_TIMEOUT_S", 0.01)
    bench.answers.full = True
    assert "busy" in bench.ask("answer", ANSWER)["error"]
    bench.answers.full, bench.answers.late = False, True
    assert "busy" in bench.ask("answer", ANSWER)["error"]
    bench.answers.late, bench.answers.fails = False, True
    assert "no room" in bench.ask("answer", ANSWER)["error"]
    bench.answers.fails = False
    assert bench.ask("answer", ANSWER)["status"] == "ok"


def test_an_answer_is_acknowledged_only_after_its_fate_is_known(bench: Bench) -> None:
    seen: list[dict[str, str]] = []
    bench.link.at_ack = lambda: seen.append(dict(bench.answers.judged))
    bench.ask("answer", ANSWER)
    assert seen == [{"q-1": "answered"}]
