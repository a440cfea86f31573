"""Templates of stream names: grammar, placeholders by format, and topics that would be mixed."""

from __future__ import annotations

import pytest

from edge_agent.config.naming import HOLES, Part, merges_topics, parse, template_problem


def test_parts() -> None:
    assert parse("a/{1}{ field }-{-1}") == (
        Part("a/"),
        Part("1", hole=True),
        Part("field", hole=True),
        Part("-"),
        Part("-1", hole=True),
    )
    assert [part.level for part in parse("a{1}{-12}{topic}")] == [None, 1, -12, None]


@pytest.mark.parametrize(("template", "said"), [("a{", "character 2"), ("a}", "`}`"), ("{a{b}}", "`{`"), ("{}}", "`}`")])
def test_braces_without_a_partner(template: str, said: str) -> None:
    with pytest.raises(ValueError, match="without its partner") as caught:
        parse(template)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("template", "tag", "topic"),
    [
        ("{topic}", "number", "a/#"),
        ("{9}", "number", "a/#"),
        ("{-2}/{field}", "json", "a/+"),
        ("{measurement}/{tags}/{tag.host name}/{field}", "influx", "a"),
        ("{name}", "senml", "a"),
        ("fixed", "json", "a"),
        ("{2}", "json", "$share/g/a/+"),
    ],
)
def test_good_templates(template: str, tag: str, topic: str) -> None:
    assert template_problem(template, tag, topic) == ""


@pytest.mark.parametrize(
    ("template", "tag", "topic", "said"),
    [
        ("{fild}", "json", "a", "`{fild}`; this format offers `{topic}`, `{field}`"),
        ("{field}", "number", "a", "unknown placeholder"),
        ("{}", "json", "a", "unknown placeholder `{}`"),
        ("{tag.}", "influx", "a", "unknown placeholder"),
        ("{tag.NAME", "influx", "a", "partner"),
        ("{tag.x}", "json", "a", "unknown placeholder"),
        ("{0}", "json", "a", "count from `{1}`"),
        ("{3}", "json", "a/+", "have 2 levels"),
        ("{-3}", "json", "a/+", "have 2 levels"),
        ("{3}", "json", "$share/g/a/+", "have 2 levels"),
    ],
)
def test_bad_templates(template: str, tag: str, topic: str, said: str) -> None:
    assert said in template_problem(template, tag, topic)


@pytest.mark.parametrize(
    ("template", "topic", "expected"),
    [
        ("{1}", "a/+", True),
        ("x", "a/#", True),
        ("{-1}", "+/a/+", True),
        ("x", "a/b", False),
        ("{2}", "a/+", False),
        ("{-1}", "a/+", False),
        ("{1}{3}", "+/a/+", False),
        ("{topic}", "#", False),
        ("{-1}", "a/#", False),
    ],
)
def test_templates_that_would_mix_topics(template: str, topic: str, expected: bool) -> None:
    assert merges_topics(template, topic) is expected


def test_every_format_offers_the_topic() -> None:
    assert all("topic" in holes for holes in HOLES.values())
