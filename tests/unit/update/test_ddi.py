"""hawkBit's documents: read as they are, refused where they are something else, and no bytes are more than refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import RepositoryRefusedError
from edge_agent.update import ddi
from edge_agent.update.ddi import Action, Deployment

_HREF = "https://hawkbit.example/DEFAULT/controller/v1/gw-1"


def _root(**links: str) -> bytes:
    document = {"config": {"polling": {"sleep": "00:05:30"}}, "_links": {name: {"href": href} for name, href in links.items()}}
    return json.dumps(document).encode()


def _deployment(**over: Any) -> dict[str, Any]:
    artifact = {
        "filename": "a.tar",
        "size": 10,
        "hashes": {"sha1": "x"},
        "_links": {"download": {"href": "https://cdn.example/a.tar"}, "download-http": {"href": "http://cdn.example/a.tar"}},
    }
    deployment = {"download": "forced", "update": "forced", "chunks": [{"part": "os", "artifacts": [artifact]}], **over}
    return {"id": "7", "deployment": deployment, "unknown": [1]}


def test_a_root_says_what_there_is() -> None:
    root = ddi.parse_root(_root(deploymentBase=f"{_HREF}/deploymentBase/7?c=-2129030598", configData=f"{_HREF}/configData"))
    assert root.deployment == Action("7", "-2129030598")
    assert root.cancel is None
    assert root.wants_attributes
    assert not root.waits_for_confirmation
    assert root.sleep_s == 330.0
    root = ddi.parse_root(_root(cancelAction=f"{_HREF}/cancelAction/8", confirmationBase="x"))
    assert (root.cancel, root.waits_for_confirmation) == (Action("8"), True)


@pytest.mark.parametrize("sleep", ["", "5", "00:99:00", "-1:00:00", "1e9", "00:00", None, 7])
def test_a_pause_that_cannot_be_read_was_not_named(sleep: object) -> None:
    body = json.dumps({"config": {"polling": {"sleep": sleep}}}).encode()
    if isinstance(sleep, str):
        assert ddi.parse_root(body).sleep_s is None
    else:
        with pytest.raises(RepositoryRefusedError):
            ddi.parse_root(body)


@pytest.mark.parametrize("href", ["", "x", "/deploymentBase/", "/deploymentBase/../x", "/deploymentBase/-1", "/cancel/1"])
def test_a_link_that_names_no_action_is_refused(href: str) -> None:
    with pytest.raises(RepositoryRefusedError, match="names none"):
        ddi.parse_root(_root(deploymentBase=href))


def test_a_deployment_has_one_bundle() -> None:
    assert ddi.parse_deployment(json.dumps(_deployment()).encode(), "7") == Deployment(
        id="7", urls=("https://cdn.example/a.tar", "http://cdn.example/a.tar"), size_bytes=10, name="a.tar", starts=True
    )


@pytest.mark.parametrize(
    ("over", "starts"),
    [
        ({"download": "attempt", "update": "attempt"}, True),
        ({"update": "skip", "maintenanceWindow": "unavailable"}, False),
        ({"maintenanceWindow": "available"}, True),
        ({"download": "skip"}, False),
    ],
)
def test_when_it_starts(over: dict[str, str], starts: bool) -> None:
    assert ddi.parse_deployment(json.dumps(_deployment(**over)).encode(), "7").starts is starts


@pytest.mark.parametrize("over", [{"update": "skip"}, {"chunks": []}, {"chunks": [{"artifacts": [{"filename": "a.zip"}]}]}])
def test_what_cannot_be_carried_out_is_told_from_what_is_no_deployment(over: dict[str, Any]) -> None:
    with pytest.raises(RepositoryRefusedError) as caught:
        ddi.parse_deployment(json.dumps(_deployment(**over)).encode(), "7")
    assert caught.value.reason == ddi.UNSUITABLE
    for body in (b"", b"<html>", b"[]", b'{"id":"7"}', json.dumps({**_deployment(), "id": "8"}).encode(), b"[" * 9_000):
        with pytest.raises(RepositoryRefusedError) as caught:
            ddi.parse_deployment(body, "7")
        assert caught.value.reason != ddi.UNSUITABLE


@pytest.mark.parametrize("size", [0, -1, ddi.MAX_SIZE_BYTES + 1])
def test_a_size_that_no_bundle_has_is_refused(size: int) -> None:
    document = _deployment()
    document["deployment"]["chunks"][0]["artifacts"][0]["size"] = size
    with pytest.raises(RepositoryRefusedError, match="size"):
        ddi.parse_deployment(json.dumps(document).encode(), "7")


def test_a_cancellation_names_an_action() -> None:
    assert ddi.parse_cancel(b'{"id":"1","cancelAction":{"stopId":"7"}}') == "7"
    for stop in ("", "x", "7/../8", "-1"):
        with pytest.raises(RepositoryRefusedError):
            ddi.parse_cancel(json.dumps({"id": "1", "cancelAction": {"stopId": stop}}).encode())


def test_what_is_said_stays_within_what_the_server_takes() -> None:
    said = json.loads(ddi.feedback("7", "closed", "failure", ["", "a\nb", "x" * 9_000, *"12345678"], "t"))
    assert said["status"]["execution"] == "closed"
    assert said["status"]["result"] == {"finished": "failure"}
    details = said["status"]["details"]
    assert details[0] == "a b"
    assert len(details) <= ddi.MAX_DETAILS
    assert max(len(detail) for detail in details) <= ddi.MAX_DETAIL_CHARACTERS
    data = json.loads(ddi.attributes({"a": "x\ty" * 200}, "t"))
    assert data["mode"] == "merge"
    assert len(data["data"]["a"]) <= ddi.MAX_ATTRIBUTE_CHARACTERS


_NAMES = ("id", "deployment", "chunks", "_links", "config", "cancelAction", "x")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["7", "a.tar"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=100) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_are_more_than_refused(body: bytes) -> None:
    for parse in (ddi.parse_root, ddi.parse_cancel, lambda data: ddi.parse_deployment(data, "7")):
        try:
            parse(body)
        except RepositoryRefusedError:
            continue
