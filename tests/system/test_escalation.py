"""Escalation from a sensor to a revised summary, with a real agent, broker and server, each of them there or not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent import BASE, AgentProcess, Watcher, eventually, quiet_values
from tests.escalation.server import FaultServer
from tests.mosquitto import Mosquitto
from tests.unsure_agent import ENTRY, FAST


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


def agent_at(folder: Path, broker: Mosquitto, **escalation: object) -> AgentProcess:
    return AgentProcess(folder, broker.port, entry=ENTRY, escalation={**FAST, **escalation})


def openai(server: FaultServer) -> dict[str, object]:
    return {"backend": "openai", "openai": {"url": server.url, "model": "large-1"}}


def raise_alarm(watcher: Watcher, pump: str) -> str:
    """Readings with one spike; the incident's id."""
    first_s = time.time() - 120
    known = {document["id"] for document in watcher.documents("incident/")}
    for sample in [*quiet_values(100, first_s), {"value": 50.0, "time": first_s + 100}]:
        watcher.send(f"sensors/{pump}/level", sample)
    found: str = eventually(
        lambda: next((d["id"] for d in watcher.documents("incident/") if d["id"] not in known), None), "an incident"
    )
    return found


def fates(watcher: Watcher, incident: str) -> list[str]:
    return [document["state"] for document in watcher.documents(f"escalation/{incident}")]


def by_the_model(watcher: Watcher, topic: str) -> dict[str, object]:
    """The newest summary on a topic, once it is the model's: it comes on another topic than what became of the question."""
    eventually(lambda: [each["route"] for each in watcher.documents(topic)][-1:] == ["cloud"], f"the model's sentence on {topic}")
    document: dict[str, object] = watcher.documents(topic)[-1]
    return document


def test_an_uncertain_sentence_is_the_templates_now_and_the_models_later(tmp_path: Path, broker: Mosquitto) -> None:
    with FaultServer() as server, agent_at(tmp_path / "agent", broker, **openai(server)) as agent:
        agent.start()
        with Watcher(broker.port) as watcher:
            incident = raise_alarm(watcher, "pump-1")
            first = eventually(lambda: watcher.documents(f"summary/{incident}"), "a summary")[0]
            assert (first["route"], first["outcome"], first["revised"]) == ("template", "escalate", False)
            eventually(lambda: "answered" in fates(watcher, incident), "the answer")
            for topic in (f"summary/{incident}", "summary"):
                answered = by_the_model(watcher, topic)
                assert (answered["model"], answered["revised"]) == ("openai:fake-large", True)
        audit = agent.command("audit", "verify", "--config", str(agent.config))
        assert audit.returncode == 0, audit.stderr
        egress = agent.command("egress", "verify", "--config", str(agent.config))
        assert egress.returncode == 0, egress.stderr


def test_a_server_that_is_away_is_waited_for_over_a_kill(tmp_path: Path, broker: Mosquitto) -> None:
    with FaultServer() as gone:
        port = gone.port
    away = {"backend": "openai", "openai": {"url": f"http://127.0.0.1:{port}/v1", "model": "large-1"}}
    with agent_at(tmp_path / "agent", broker, **away) as agent:
        agent.start()
        with Watcher(broker.port) as watcher:
            incident = raise_alarm(watcher, "pump-1")
            eventually(lambda: {"queued", "sent"} & set(fates(watcher, incident)), "an attempt")
            agent.kill()
            agent.start()
            with FaultServer(port=port):
                eventually(lambda: "answered" in fates(watcher, incident), "the answer")
                assert by_the_model(watcher, f"summary/{incident}")["incident"] == incident


@pytest.mark.parametrize("fault", ["number", "foreign-slot", "swapped-slots", "length"])
def test_a_wrong_answer_is_refused_and_the_template_stands(tmp_path: Path, broker: Mosquitto, fault: str) -> None:
    with FaultServer(*[fault] * 50) as server, agent_at(tmp_path / "agent", broker, **openai(server)) as agent:
        agent.start()
        with Watcher(broker.port) as watcher:
            incident = raise_alarm(watcher, "pump-1")
            eventually(lambda: "refused" in fates(watcher, incident), "the refusal")
            assert all(document["route"] == "template" for document in watcher.documents(f"summary/{incident}"))


def test_a_question_on_a_topic_is_answered_by_a_request(tmp_path: Path, broker: Mosquitto) -> None:
    with agent_at(tmp_path / "agent", broker, backend="mqtt") as agent:
        agent.start()
        with Watcher(broker.port) as watcher:
            incident = raise_alarm(watcher, "pump-1")
            event = eventually(lambda: watcher.documents("question"), "the question")[-1]
            answer = {"id": event["id"], "sentences": [chunk["example"] for chunk in event["data"]["chunks"]], "model": "m"}
            fate = watcher.ask("answer", answer)
            assert fate["status"] == "ok"
            eventually(lambda: "answered" in fates(watcher, incident), "the fate")
            assert watcher.ask("answer", answer)["data"] == fate["data"]


def test_a_question_in_a_file_is_answered_by_a_file(tmp_path: Path, broker: Mosquitto) -> None:
    with agent_at(tmp_path / "agent", broker, backend="spool") as agent:
        agent.start()
        with Watcher(broker.port) as watcher:
            incident = raise_alarm(watcher, "pump-1")
            spool = agent.state / "spool"
            file = eventually(lambda: next(iter((spool / "questions").glob("*.question.json")), None), "the question")
            question = json.loads(file.read_bytes())
            answer = {"id": question["id"], "sentences": [chunk["example"] for chunk in question["chunks"]]}
            written = spool / "answers" / "new.tmp"
            written.write_text(json.dumps(answer))
            written.rename(spool / "answers" / f"{question['id']}.answer.json")
            eventually(lambda: "answered" in fates(watcher, incident), "the fate")


def test_switched_off_nothing_is_asked_and_what_waited_is_told(tmp_path: Path, broker: Mosquitto) -> None:
    with agent_at(tmp_path / "agent", broker, backend="spool") as agent:
        agent.start()
        with Watcher(broker.port) as watcher:
            incident = raise_alarm(watcher, "pump-1")
            eventually(lambda: "sent" in fates(watcher, incident), "the question")
            agent.stop()
            document = json.loads(agent.config.read_text())
            agent.config.write_text(json.dumps({**document, "escalation": {"backend": "none"}}))
            agent.start()
            last = eventually(
                lambda: [d for d in watcher.documents(f"escalation/{incident}") if d["state"] == "dropped"], "the fate"
            )[-1]
            assert last["outcome"] == "switched-off"
            assert raise_alarm(watcher, "pump-2")
            assert BASE in watcher.on("status")[-1].topic


def test_a_stop_does_not_wait_for_a_slow_server(tmp_path: Path, broker: Mosquitto) -> None:
    with FaultServer(*["silent"] * 20) as server, agent_at(tmp_path / "agent", broker, **openai(server)) as agent:
        agent.start()
        with Watcher(broker.port) as watcher:
            raise_alarm(watcher, "pump-1")
            eventually(lambda: server.seen, "a question under way")
            assert agent.stop() == 0
