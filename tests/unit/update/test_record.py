"""The record as a value: what of it is written, and what is no record of ours."""

from __future__ import annotations

import msgspec
import pytest

from edge_agent.update.record import Held, Record


def test_a_new_device_has_nothing_to_write_and_nothing_makes_a_new_device() -> None:
    assert msgspec.json.encode(Record()) == b"{}"
    assert msgspec.json.decode(b"{}", type=Record) == Record()


def test_members_of_the_value_of_a_new_device_are_left_out() -> None:
    held = Held(release="pump-7", counter=7, manifest_sha256="7" * 64)
    assert set(msgspec.to_builtins(Record(stage="trial", active=held, cuts=0))) == {"stage", "active"}


@pytest.mark.parametrize("body", [b'{"shoes":2}', b'{"active":{"release":"r","counter":1}}', b'{"stage":"asleep"}'])
def test_what_this_version_does_not_know_is_no_record_of_it(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=Record)
