"""The documents about updates: what they hold, and that a reader can tell releases of one name apart."""

from __future__ import annotations

import json

from edge_agent.messages.documents import encode
from edge_agent.messages.updates import UpdateOutcome, UpdateState, outcome_document, update_document

OUTCOME = UpdateOutcome(
    release="fleet-7", counter=7, manifest_sha256="ab" * 32, outcome="rolled-back", reason="it hangs", at_s=1_700_000_000.0
)


def test_an_update_that_is_idle_has_nothing_to_say() -> None:
    document = update_document(UpdateState(gateway="gateway-1", release="factory-2"))
    told = {name: value for name, value in document.items() if value is not None}
    assert told == {"gateway": "gateway-1", "state": "idle", "release": "factory-2", "outcomes": []}


def test_an_update_under_way_tells_what_and_how_far() -> None:
    state = UpdateState(
        gateway="gateway-1",
        state="fetching",
        release="fleet-6",
        counter=6,
        manifest_sha256="cd" * 32,
        candidate="fleet-7",
        candidate_counter=7,
        source="repository",
        done_bytes=5,
        total_bytes=9,
        changed_s=1_700_000_000.0,
        outcomes=(OUTCOME,),
    )
    document = json.loads(encode(update_document(state)))
    assert document["progress"] == {"done_bytes": 5, "total_bytes": 9}
    assert document["changed"] == "2023-11-14T22:13:20Z"
    assert document["outcomes"] == [
        {
            "release": "fleet-7",
            "counter": 7,
            "manifest_sha256": "ab" * 32,
            "outcome": "rolled-back",
            "reason": "it hangs",
            "at": "2023-11-14T22:13:20Z",
        }
    ]


def test_an_outcome_names_its_gateway() -> None:
    document = outcome_document("gateway-1", OUTCOME)
    assert (document["gateway"], document["outcome"], document["reason"]) == ("gateway-1", "rolled-back", "it hangs")
