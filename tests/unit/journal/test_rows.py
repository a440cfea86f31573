"""`edge_agent.journal.rows`: bodies and messages come back as they were, or not at all."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.journal.records import DeadLetter
from edge_agent.journal.rows import (
    FINAL,
    FORM,
    Unusable,
    dead_letter_crc,
    escalation_row,
    incident_row,
    message_bytes,
    message_row,
    meter_row,
    open_closure,
    open_dead_letter,
    open_escalation,
    open_incident,
    open_message,
    open_meter,
    open_summary,
    past_incident,
    seal_closure,
    summary_row,
    supersedes,
)
from edge_agent.values import Escalation, Message
from tests.journals import anomaly, closure, escalation, incident, message, summary


def test_incident_summary_and_closure_come_back() -> None:
    row = incident_row(incident(1, 3, "closed", b"\0\xff" * 16))
    assert open_incident(*row.sealed, row.state, row.revision, row.id) == incident(1, 3, "closed", b"\0\xff" * 16)
    assert open_summary(*summary_row(summary(2)).sealed, 1, "i-000002") == summary(2)
    assert open_closure(*seal_closure(closure(2)), "i-000002") == closure(2)


@pytest.mark.parametrize("columns", [(1, 3, "i-000001"), (0, 4, "i-000001"), (0, 3, "i-000002"), (None, None, None)])
def test_body_under_other_columns_is_damaged(columns: tuple[object, ...]) -> None:
    row = incident_row(incident(1, 3))
    assert open_incident(*row.sealed, *columns) == Unusable("damaged-row")


def test_columns_cannot_run_into_each_other() -> None:
    row = incident_row(replace(incident(1, 1), id="2x"))
    assert isinstance(open_incident(*row.sealed, 0, 12, "x"), Unusable)


def test_unknown_form_and_unknown_shape_are_unreadable_not_damaged() -> None:
    _, crc, body = seal_closure(closure(1))
    assert open_closure(FORM + 1, crc, body, "i-000001") == Unusable("unreadable-row")
    assert open_summary(FORM, crc, body, "i-000001") == Unusable("unreadable-row")


def test_body_of_another_type_is_damaged() -> None:
    assert open_closure(1, 0, None, "i") == open_closure(1, 0, "text", "i") == Unusable("damaged-row")


@given(bit=st.integers(min_value=0))
@settings(max_examples=200)
def test_any_flipped_bit_of_a_body_is_found(bit: int) -> None:
    form, crc, body = summary_row(summary(1)).sealed
    changed = bytearray(body)
    changed[bit // 8 % len(body)] ^= 1 << bit % 8
    assert open_summary(form, crc, bytes(changed), 1, "i-000001") == Unusable("damaged-row")


MESSAGES = st.builds(
    Message,
    topic=st.text(max_size=50),
    payload=st.binary(max_size=200),
    qos=st.integers(0, 2),
    retain=st.booleans(),
    supersedes=st.booleans(),
    response_correlation=st.binary(max_size=20),
    priority=st.integers(-(1 << 63), (1 << 63) - 1),
)


@given(MESSAGES)
def test_every_message_comes_back(sent: Message) -> None:
    row = message_row(sent)
    assert open_message(*row) == sent
    assert supersedes(row[1]) == sent.supersedes
    assert message_bytes(row) == len(sent.topic.encode()) + len(sent.payload) + len(sent.response_correlation)


@given(MESSAGES, st.integers(0, 5), st.integers(min_value=0))
def test_any_changed_column_of_a_message_is_found(sent: Message, column: int, bit: int) -> None:
    row: list[object] = list(message_row(sent))
    value = row[column]
    if isinstance(value, int):
        row[column] = value ^ 1 << bit % 32
    elif isinstance(value, str):
        row[column] = value + "x"
    elif isinstance(value, bytes):
        row[column] = value + b"x"
    assert open_message(*row) == Unusable("damaged-row")


def test_bytes_moved_between_columns_are_found() -> None:
    priority, flags, crc, topic, _, _ = message_row(Message(topic="t", response_correlation=b"ab", payload=b"cd"))
    assert open_message(priority, flags, crc, topic, b"abc", b"d") == Unusable("damaged-row")


@pytest.mark.parametrize("column", range(6))
def test_column_of_a_wrong_type_is_damaged(column: int) -> None:
    row: list[object] = list(message_row(message("t", "p")))
    row[column] = None
    assert open_message(*row) == Unusable("damaged-row")


def test_past_incident_has_the_signature_of_the_worst_that_has_one() -> None:
    one = replace(
        incident(1, state="closed"), anomalies=(anomaly(1, 0, b"a", 0.5), anomaly(1, 1, b"b", 0.7), anomaly(1, 2, b"", 0.9))
    )
    past = past_incident(7, one, closure(1))
    assert past is not None
    assert (past.number, past.signature, past.asset, past.opened_s) == (7, b"b", one.asset, one.opened_s)
    assert past_incident(7, one, closure(1, cause="")) is None
    assert past_incident(7, replace(one, state="open"), closure(1)) is None
    assert past_incident(7, incident(1, state="closed"), closure(1)) is None


ESCALATIONS = st.builds(
    escalation,
    st.integers(0, 9),
    st.integers(1, 5),
    st.sampled_from(("queued", "sent", "answered", "refused", "dropped")),
    st.floats(0.0, 1.0),
    st.text(max_size=20),
)


@given(one=ESCALATIONS, other=ESCALATIONS)
@settings(max_examples=100)
def test_an_escalation_comes_back_only_under_its_own_columns(one: Escalation, other: Escalation) -> None:
    row, stranger = escalation_row(one), escalation_row(other)
    columns = (row.request, row.revision, row.state, row.severity, row.incident_id)
    strange = (stranger.request, stranger.revision, stranger.state, stranger.severity, stranger.incident_id)
    assert open_escalation(*row.sealed, *columns) == one
    if columns != strange:
        assert open_escalation(*row.sealed, *strange) == Unusable("damaged-row")
    assert (row.state < FINAL) == (one.state in ("queued", "sent"))


def test_a_meter_comes_back_only_under_its_own_name() -> None:
    row = meter_row("budget", b"7")
    assert open_meter(row.crc, row.body, "budget") == b"7"
    assert open_meter(row.crc, row.body, "breaker") == open_meter(row.crc, "7", "budget") == Unusable("damaged-row")


@given(sent=MESSAGES, reason=st.text(max_size=20), queued_s=st.floats(0, 2e9), buried_s=st.floats(0, 2e9))
@settings(max_examples=100)
def test_a_dead_letter_comes_back_as_it_was_or_not_at_all(sent: Message, reason: str, queued_s: float, buried_s: float) -> None:
    row = message_row(sent)
    crc = dead_letter_crc(row, reason, queued_s, buried_s)
    found = open_dead_letter(3, reason, queued_s, buried_s, *row[:2], crc, *row[3:])
    assert found == DeadLetter(number=3, message=sent, reason=reason, queued_s=queued_s, buried_s=buried_s)
    for changed in ((f"{reason}x", queued_s, buried_s), (reason, queued_s + 1.0, buried_s), (reason, queued_s, None)):
        assert open_dead_letter(3, *changed, *row[:2], crc, *row[3:]) == Unusable("damaged-row")
    assert isinstance(open_message(*row[:2], crc, *row[3:]), Unusable), "a dead letter's row is no message's"


def test_past_incident_names_the_classifier_of_its_signature_and_the_first_one_where_nothing_was_stored() -> None:
    new = replace(anomaly(1, 0, b"a", 0.5), signed_by="0123456789abcdef")
    old = anomaly(1, 1, b"b", 0.4)
    for worst, name in ((new, "0123456789abcdef"), (replace(old, score=0.9), "")):
        past = past_incident(7, replace(incident(1, state="closed"), anomalies=(new, old, worst)), closure(1))
        assert past is not None
        assert past.signed_by == name
    row = incident_row(incident(1, signature=b"s"))
    assert b'"signed_by":""' in row.sealed[2]
    body = row.sealed[2].replace(b',"signed_by":""', b"")
    form, state, revision = row.sealed[0], row.state, row.revision
    crc = zlib.crc32(body, zlib.crc32(f"{state}\0{revision}\0{row.id}\0".encode()))
    assert open_incident(form, crc, body, state, revision, row.id) == incident(1, signature=b"s"), "rows of before are read"
