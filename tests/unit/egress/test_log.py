"""The egress log's entries: canonical, without what was said, and without secrets."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from edge_agent.egress.log import egress_entry
from edge_agent.errors import EgressError


def entry(**fields: Any) -> bytes:
    values: dict[str, Any] = {
        "kind": "question",
        "request_id": "q-000000000000000000000000",
        "backend": "openai",
        "destination": "models.example:443",
        "body": b"the body",
        "attempt": 2,
        "allow": ("values", "identifiers"),
        "now_s": 1_790_000_000.0,
    }
    return egress_entry(**{**values, **fields})


def test_an_entry_holds_the_hash_and_the_size_and_not_the_body() -> None:
    assert entry() == (
        b'{"schema":"edge-agent-egress/1","kind":"question","id":"q-000000000000000000000000","backend":"openai",'
        b'"destination":"models.example:443","bytes":8,"sha256":"' + hashlib.sha256(b"the body").hexdigest().encode() + b'",'
        b'"attempt":2,"allowed":["identifiers","values"],"time":"2026-09-21T14:13:20Z"}'
    )


def test_the_order_in_which_allowances_are_configured_does_not_change_an_entry() -> None:
    assert entry(allow=["identifiers", "values"]) == entry()


@pytest.mark.parametrize(
    "destination", ["https://user:secret@models.example", "https://models.example/?key=1", "a#b", "a\nb", "x" * 2_000]
)
def test_a_destination_that_could_hold_a_secret_is_refused(destination: str) -> None:
    with pytest.raises(EgressError, match="Nothing was sent") as caught:
        entry(destination=destination)
    assert destination not in str(caught.value)


def test_a_folder_may_have_any_name() -> None:
    assert b'"destination":"/media/usb #1"' in entry(backend="spool", destination="/media/usb #1")
