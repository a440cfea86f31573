"""Promotion: what gateways report, in the words of the device's own documents, and what is made of it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import paho.mqtt.publish
import pytest
from edge_ota import promote
from edge_ota.repository import load_folder
from edge_ota.states import Tally, Wanted, collected, tally

from edge_agent.messages.documents import encode
from edge_agent.messages.updates import UpdateOutcome, UpdateState, update_document
from tests.mosquitto import Mosquitto
from tests.ota.repositories import Operator

DIGEST, OTHER = "ab" * 32, "cd" * 32
WANTED = Wanted(release="trial-1", counter=1, manifest_sha256=DIGEST)


def report(gateway: str, *outcomes: tuple[str, str], runs: str | None = DIGEST, counter: int = 1, **more: Any) -> bytes:
    """What a gateway's agent publishes; `outcomes` are digests and how they ended."""
    update = UpdateState(
        gateway=gateway,
        release="trial-1" if runs else "factory-2",
        counter=counter if runs else None,
        manifest_sha256=runs,
        outcomes=tuple(
            UpdateOutcome(release="trial-1", counter=1, manifest_sha256=of, outcome=outcome, reason=f"why {outcome}", at_s=1e9)
            for of, outcome in outcomes
        ),
        **more,
    )
    return encode(update_document(update))


def judged(*lines: bytes) -> Tally:
    return tally(lines, WANTED)


def test_a_gateway_that_committed_it_and_runs_it_is_a_success() -> None:
    assert judged(report("a", (DIGEST, "committed"))) == Tally(succeeded=("a",))
    assert judged(report("a", (DIGEST, "rolled-back"), (DIGEST, "committed"))).succeeded == ("a",), "the last one counts"


@pytest.mark.parametrize("outcome", ["refused", "rolled-back", "cancelled"])
def test_another_outcome_is_a_failure_told_in_words(outcome: str) -> None:
    assert judged(report("a", (DIGEST, outcome), runs=None)).failed == {"a": f"{outcome}: why {outcome}"}
    assert judged(report("a", (DIGEST, "committed"), (DIGEST, outcome), runs=None)).failed


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (report("a", runs=None, state="trial", candidate="trial-1", candidate_counter=1, reason="soaks"), "trial: soaks"),
        (report("a", (DIGEST, "committed"), runs=OTHER), "committed, but it runs trial-1 now"),
        (report("a", (DIGEST, "committed"), runs=None), "committed, but it runs factory-2 now"),
        (report("a"), "it runs, but how it came to is not told (idle)"),
    ],
)
def test_the_rest_is_undecided(line: bytes, why: str) -> None:
    assert judged(line) == Tally(undecided={"a": why})


def test_another_release_of_the_same_name_and_counter_is_not_it() -> None:
    assert judged(report("a", (OTHER, "committed"), runs=OTHER)).gateways == 0


def test_a_gateway_that_does_not_mention_it_counts_where_it_must() -> None:
    line = report("a", runs=None)
    assert tally([line], WANTED).gateways == 0
    told = tally([line], WANTED, ["a", "b"])
    assert set(told.undecided) == {"a", "b"}
    assert told.undecided["b"] == "nothing was heard of it"
    assert "does not mention" in told.undecided["a"]


def test_of_a_gateway_the_last_document_counts() -> None:
    both = [report("a", (DIGEST, "committed")), report("a", (DIGEST, "committed"), (DIGEST, "rolled-back"), runs=None)]
    assert judged(*both).failed
    assert judged(*reversed(both)).succeeded == ("a",)


def test_what_cannot_be_read_is_counted_and_counts_for_nothing() -> None:
    line = report("a", (DIGEST, "committed"))
    bad = [b"<html>", b'{"gateway":1}', b"\xff", b'{"gateway":"b"', b"[" * 5000, b'{"gateway":"x' + b"y" * (1 << 20) + b'"}']
    assert judged(line, *bad, b"", b"  \n") == Tally(succeeded=("a",), unreadable=len(bad))


def test_a_topic_in_front_must_be_the_gateways_own() -> None:
    line = report("a", (DIGEST, "committed"))
    assert judged(b"edge/a/update " + line).succeeded == ("a",)
    assert judged(b"2026-11-23T10:00:00 site/edge/a/update " + line).succeeded == ("a",)
    assert judged(b"edge/b/update " + line, b"edge/a/update/outcome " + line) == Tally(unreadable=2)
    assert judged(b"edge/a/update (null)\n") == Tally()


def test_what_a_gateway_says_reaches_the_terminal_without_its_control_characters() -> None:
    hostile = json.loads(report("a", (DIGEST, "refused"), runs=None))
    hostile["outcomes"][0]["reason"] = "\x1b[2J\nb: runs"
    said = "\n".join(judged(json.dumps(hostile).encode()).lines())
    assert "\x1b" not in said
    assert "\nb:" not in said


def test_a_folder_holds_one_document_a_file_or_many(tmp_path: Path) -> None:
    pretty = json.dumps(json.loads(report("a", (DIGEST, "committed"))), indent=2)
    (tmp_path / "1.json").write_text(pretty)
    (tmp_path / "2.jsonl").write_bytes(report("b", (DIGEST, "committed")) + b"\n" + report("c", (DIGEST, "refused")) + b"\n")
    (tmp_path / "sub").mkdir()
    told = tally(collected(tmp_path), WANTED)
    assert (told.succeeded, set(told.failed), told.unreadable) == (("a", "b"), {"c"}, 0)


@pytest.mark.parametrize(("gateways", "share", "wanted"), [(0, 0.0, "0 gateways"), (2, 1.0, ""), (2, 0.5, "1 of 2 gateways")])
def test_the_share_decides(gateways: int, share: float, wanted: str) -> None:
    lines = [report(f"g{i}", (DIGEST, "committed" if i < gateways * share else "refused")) for i in range(gateways)]
    assert wanted in (why := judged(*lines).why_not(1, 0.95))
    assert bool(why) == bool(wanted)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    operator = Operator(tmp_path_factory.mktemp("begun"))
    operator.init()
    assert operator.publish(1) == 0
    return operator


@pytest.fixture
def operator(begun: Operator, tmp_path: Path) -> Operator:
    return begun.copied(tmp_path)


def _digest(operator: Operator) -> str:
    document = load_folder(operator.repository).groups["group-canary"]
    return str(document.signed.targets["groups/canary/release.json"].hashes["sha256"])


def _promote(operator: Operator, states: Path, *more: str) -> int:
    arguments = [str(operator.repository), "--from", "canary", "--to", "fleet", "--states", str(states)]
    return promote.main([*arguments, *more, *operator.with_keys("fleet", "online")])


def test_the_digest_that_gateways_name_is_that_of_the_published_manifest(operator: Operator) -> None:
    data = next((operator.repository / "targets/groups/canary").iterdir()).read_bytes()
    assert hashlib.sha256(data).hexdigest() == _digest(operator)


def test_promotion_waits_for_time_and_success(operator: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest, states = _digest(operator), tmp_path / "states.jsonl"
    good, bad = report("a", (digest, "committed"), runs=digest), report("b", (digest, "rolled-back"), runs=None)
    states.write_bytes(good)
    assert _promote(operator, states) == 1, "a day has not passed"
    assert "it is to hold 24.0 h" in capsys.readouterr().err
    states.write_bytes(good + b"\n" + bad)
    assert _promote(operator, states, "--hold-h", "0") == 1
    shown = capsys.readouterr()
    assert "b: rolled-back: why rolled-back" in shown.out
    assert "1 of 2 gateways" in shown.err
    states.write_bytes(b"")
    assert _promote(operator, states, "--hold-h", "0") == 1
    assert operator.installed(tmp_path / "client", "fleet") is None
    states.write_bytes(good)
    names = tmp_path / "canaries"
    names.write_text("# the first floor\na\nsilent\n")
    assert _promote(operator, states, "--hold-h", "0", "--gateways", str(names)) == 1
    assert "silent: not decided" in capsys.readouterr().out
    for _ in range(2):  # running it again is no error
        assert _promote(operator, states, "--hold-h", "0", "--minimum-gateways", "1") == 0
    assert operator.installed(tmp_path / "client", "fleet") == operator.installed(tmp_path / "client", "canary")


@pytest.mark.parametrize("form", [["-v"], ["-F", "%p"]])
def test_what_mosquitto_sub_prints_is_read(tmp_path: Path, form: list[str]) -> None:
    """Retained documents of real gateways' shape, through a real broker and its own client."""
    with Mosquitto(tmp_path) as broker:
        host, port = "127.0.0.1", broker.port
        lines = {"a": report("a", (DIGEST, "committed")), "b": report("b", (DIGEST, "refused"), runs=None)}
        for gateway, line in lines.items():
            paho.mqtt.publish.single(f"edge/{gateway}/update", line, qos=1, retain=True, hostname=host, port=port)
        printed = subprocess.run(
            ["mosquitto_sub", "-h", host, "-p", str(port), "-t", "edge/+/update", "-C", "2", "-W", "20", *form],
            capture_output=True,
            timeout=60,
            check=True,
        ).stdout
    (tmp_path / "states").write_bytes(printed)
    told = tally(collected(tmp_path / "states"), WANTED)
    assert (told.succeeded, set(told.failed), told.unreadable) == (("a",), {"b"}, 0)


def test_many_reports_are_read_in_a_stream(tmp_path: Path) -> None:
    line = report("a", (DIGEST, "committed"))
    with (tmp_path / "states").open("wb") as file:
        for number in range(5_000):
            file.write(line.replace(b'"a"', b'"g%d"' % number) + b"\n")
    assert tally(collected(tmp_path / "states"), WANTED).gateways == 5_000
