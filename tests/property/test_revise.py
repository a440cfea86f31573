"""No answer of a stronger model, however wrong, publishes anything that the incident does not bear out.

What is published is read and judged by `edge_ota.calibrate.oracle`, which shares no code with what plans, prints, verifies or
phrases: it reads the published text and holds it against the anomalies alone.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from edge_ota.calibrate.incidents import imagined
from edge_ota.calibrate.oracle import judge
from msgspec.structs import replace

from edge_agent.egress.answer import parse_answer
from edge_agent.errors import InputError
from edge_agent.fill import fill, tidy
from edge_agent.pipeline import TEMPLATE_ONLY, explain, plan_of, revise
from edge_agent.template import assemble
from edge_agent.values import Evidence, Incident, Plan, Summary
from tests.escalation.adversary import CHANGES, WRAPPINGS, Scene, answers, true_wordings
from tests.writing import evidence

ANSWERS_EACH = 25
NOW_S = 1_790_000_000.0


def scene(seed: int) -> tuple[Random, Incident, Evidence | None, Plan]:
    """An incident by its number, with what is asked about it."""
    random = Random(f"revise/{seed}")
    incident = imagined(random)
    past = evidence() if random.random() < 0.2 else None
    return random, incident, past, plan_of(incident, past)


def published(summary: Summary, incident: Incident, plan: Plan, answer: str) -> Summary | str:
    """What becomes of an answer: the summary that is published, or why none is."""
    try:
        wordings = parse_answer(answer, len(plan.chunks))
    except InputError as error:
        return error.reason
    return revise(summary, incident, wordings, "openai:adversary", NOW_S)


def run(first: int, incidents: int) -> tuple[Counter[str], list[str]]:
    """By what became of it, how many answers; and what was published that is not so."""
    fates: Counter[str] = Counter()
    wrong = []
    for seed in range(first, first + incidents):
        random, incident, past, plan = scene(seed)
        if not plan.chunks:
            continue
        summary = explain(incident, past, None, TEMPLATE_ONLY, NOW_S)
        for how, answer in answers(random, plan, ANSWERS_EACH):
            found = published(summary, incident, plan, answer)
            if isinstance(found, str):
                fates[found] += 1
                continue
            fates["published"] += 1
            judgement = judge(incident, past, found.text)
            if not judgement.is_sound:
                wrong.append(f"incident {seed}, {how}: {judgement.unsupported}\n{found.text}")
    return fates, wrong


def test_no_wrong_fact_is_published_in_5000_adversarial_answers() -> None:
    fates, wrong = run(0, 202)
    assert not wrong, "\n\n".join(wrong[:5])
    assert fates.total() >= 5_000
    assert fates["published"] > 500, "an attack that nothing passes shows nothing"
    assert len(fates) >= 12, fates


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_no_wrong_fact_is_published_in_many_more() -> None:
    fates, wrong = run(10_000, 8_000)
    print(fates.most_common())
    assert not wrong, "\n\n".join(wrong[:5])


def test_every_true_wording_is_published_and_judged_to_be_so() -> None:
    for seed in range(150):
        random, incident, past, plan = scene(seed)
        if plan.chunks:
            summary = explain(incident, past, None, TEMPLATE_ONLY, NOW_S)
            found = revise(summary, incident, true_wordings(random, plan), "openai:good", NOW_S)
            assert isinstance(found, Summary), (seed, found)
            assert judge(incident, past, found.text).is_sound, (seed, found.text)
            assert (found.route, found.revised, found.verdict) == ("cloud", True, "local")
            assert replace(found, **_what_may_change(summary)) == summary


def _what_may_change(summary: Summary) -> dict[str, Any]:
    names = ("text", "skeleton", "route", "verdict", "written_s", "revised", "model")
    return {name: getattr(summary, name) for name in names}


LIES = ("other-kind", "other-ending", "direction", "exchange-slots", "number", "cause", "negation", "turned-round")


@pytest.mark.parametrize("lie", LIES)
def test_the_judge_sees_the_lies_that_the_verifier_refuses(lie: str) -> None:
    """Published past the verifier, most would be found out: what the judge passes is not passed for want of looking.

    Not all: to leave out how an anomaly ended, or to tell two in the other order, says nothing that is not so.
    """
    seen = refused = 0
    for seed in range(60):
        random, incident, past, plan = scene(seed)
        if not plan.chunks:
            continue
        wordings = true_wordings(random, plan)
        CHANGES[lie](random, Scene(plan), wordings)
        summary = explain(incident, past, None, TEMPLATE_ONLY, NOW_S)
        if isinstance(revise(summary, incident, wordings, "openai:liar", NOW_S), Summary):
            continue
        refused += 1
        try:
            text = fill(assemble(plan, tuple(tidy(wording) for wording in wordings)), plan.slots)
        except KeyError:  # a slot that nothing stands for cannot be printed at all
            seen += 1
        else:
            seen += not judge(incident, past, text).is_sound
    assert refused >= 10
    assert seen >= 0.7 * refused, f"{seen} of {refused}"


def test_every_change_and_wrapping_is_tried() -> None:
    tried: Counter[str] = Counter()
    for seed in range(80):
        random, _, _, plan = scene(seed)
        if plan.chunks:
            for how, _ in answers(random, plan, ANSWERS_EACH):
                changes, _, wrapping = how.partition(" as ")
                tried.update((*changes.split("+"), wrapping))
    assert set(tried) == {*CHANGES, *WRAPPINGS}
