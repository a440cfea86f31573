"""Golden cases read, and compared with what is written here."""

from __future__ import annotations

import json

import pytest

from edge_agent.errors import ReleaseError
from edge_agent.messages import incident_document
from edge_agent.pipeline import TEMPLATE_ONLY, explain
from edge_agent.probe.golden import MAX_CASES, GoldenCase, believed, differing, parse_golden
from edge_agent.probe.incidents import trial_incidents
from edge_agent.release.certificate import Machine
from edge_agent.values import Incident, Route, Summary

INCIDENT = trial_incidents()[0]


def document(count: int = 1, **fields: object) -> bytes:
    case = {"text": "It rose.", "route": "writer"}
    cases = [{**case, "incident": {**incident_document(INCIDENT), "id": f"case-{number}"}} for number in range(count)]
    return json.dumps({"format": "edge-agent-golden/1", "cases": cases, **fields}).encode()


def summary(route: Route, text: str = "It rose.", reasons: tuple[str, ...] = (), incident: Incident = INCIDENT) -> Summary:
    made = explain(incident, None, None, TEMPLATE_ONLY, 0.0)
    return Summary(
        **{name: getattr(made, name) for name in made.__struct_fields__ if name not in ("route", "text", "reasons")},
        route=route,
        text=text,
        reasons=reasons,
    )


def case(route: Route, text: str = "It rose.") -> GoldenCase:
    return GoldenCase(INCIDENT, text, route)


def test_a_case_is_an_incident_its_text_and_its_route() -> None:
    golden = parse_golden(document(), "g")
    assert golden.machine is None
    assert golden.cases[0].incident.anomalies == INCIDENT.anomalies
    assert (golden.cases[0].text, golden.cases[0].route) == ("It rose.", "writer")


def test_where_it_was_written_may_be_told() -> None:
    machine = {"instruction_set": "aarch64/neon/ruy", "runtime": "ctranslate2 4.8"}
    assert parse_golden(document(machine=machine), "g").machine == Machine(**machine)


def test_of_many_cases_some_are_tried_from_all_over_the_list() -> None:
    cases = parse_golden(document(10 * MAX_CASES), "g").cases
    assert [one.incident.id for one in cases] == [f"case-{10 * number}" for number in range(MAX_CASES)]
    assert len(parse_golden(document(MAX_CASES), "g").cases) == MAX_CASES


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff", document(0), document(format="other"), document().replace(b"writer", b"?")]
)
def test_what_holds_no_golden_cases_is_refused(data: bytes) -> None:
    with pytest.raises(ReleaseError, match="g: not golden cases"):
        parse_golden(data, "g")


def test_an_incident_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ReleaseError, match="g: case 1"):
        parse_golden(document().replace(b'"spike"', b'"spook"'), "g")


def test_a_text_of_templates_alone_is_the_agents() -> None:
    assert differing([case("template")], [summary("template", "It went up.")]) == []


def test_a_text_or_a_route_that_is_another_differs() -> None:
    cases = [case("writer"), case("mixed"), case("writer"), case("template")]
    written = [summary("writer"), summary("mixed", "X"), summary("template", "", ("low-confidence",)), summary("writer")]
    lines = differing(cases, written)
    assert len(lines) == 3
    assert "'X' instead of 'It rose.'" in lines[0]
    assert "by template instead of writer (low-confidence)" in lines[1]
    assert "by writer instead of template" in lines[2]


@pytest.mark.parametrize(("count", "allowed"), [(1, 0), (4, 0), (5, 1), (14, 1), (15, 2), (28, 3), (64, 6)])
def test_one_in_ten_may_be_refused(count: int, allowed: int) -> None:
    def written(refused: int) -> list[Summary]:
        return [summary("mixed", reasons=("refused-role-wrong",))] * refused + [summary("writer")] * (count - refused)

    assert believed(written(allowed)) == ""
    assert f"in {allowed + 1} of {count} incidents" in believed(written(allowed + 1))


def test_a_writer_that_is_rarely_sure_is_no_use() -> None:
    silent, spoken = summary("template", reasons=("low-confidence",)), summary("writer")
    assert believed([silent, spoken]) == ""
    assert "speak in 1 of 3" in believed([silent, spoken, silent])
