"""The settings of updates: each contradiction, each risk, and what is in order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.config.test_meaning import look

GOOD: dict[str, Any] = {"group": "fleet", "root_file": "/etc/edge-agent/root.json"}


def update(**values: Any) -> dict[str, Any]:
    return {"update": {**GOOD, **values}}


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        (update(root_file=""), "root_file", "is missing"),
        (update(inbox="usb"), "inbox", "no absolute path"),
        (update(key_file="k", decrypt_folder="run"), "decrypt_folder", "no absolute path"),
        (update(repository={"url": "releases.example"}), "repository.url", "begins neither"),
        (update(repository={"url": "http://releases.example"}), "repository.url", "has no TLS"),
        (update(repository={"url": "https://releases.example/?a=1"}), "repository.url", "after `?`"),
        (update(repository={"url": "file://srv"}), "repository.url", "no folder of this machine"),
        (update(repository={"url": "file:///srv/../etc"}), "repository.url", "no folder of this machine"),
        (update(repository={"url": "https://r.example", "tls": {"cert_file": "c"}}), "repository.tls.cert_file", "without"),
        (update(hawkbit={"url": "http://hawkbit.example", "token_file": "t"}), "hawkbit.url", "has no TLS"),
    ],
)
def test_problems(values: dict[str, Any], key: str, said: str) -> None:
    problems, _ = look(values)
    assert [one[0] for one in problems] == [f"update.{key}"]
    assert said in problems[0][1]


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        ({"update": {"repository": {"url": "https://r.example"}}}, "group", "is missing"),
        ({"update": {"inbox": "/media/usb"}}, "group", "is missing"),
        ({"update": {"root_file": "/r"}}, "root_file", "without `group`"),
        (update(decrypt_folder="/run/x"), "decrypt_folder", "without `key_file`"),
        (update(repository={"url": "file:///srv/r", "tls": {}}), "repository.tls", "counts for nothing"),
        (update(hawkbit={"url": "https://hawkbit.example"}), "hawkbit.token_file", "is missing"),
    ],
)
def test_warnings(values: dict[str, Any], key: str, said: str) -> None:
    problems, warnings = look(values)
    assert problems == []
    assert [one[0] for one in warnings] == [f"update.{key}"]
    assert said in warnings[0][1]


@pytest.mark.parametrize(
    "values",
    [
        {},
        update(),
        update(repository={"url": "https://releases.example/edge"}, inbox="/media/usb"),
        update(repository={"url": "file:///srv/releases"}),
        update(repository={"url": "http://releases.example", "allow_http": True}),
        update(repository={"url": "http://127.0.0.1:8080"}),
        update(hawkbit={"url": "https://hawkbit.example", "token_file": "/t"}),
        update(hawkbit={"url": "https://hawkbit.example", "tls": {"cert_file": "/c", "key_file": "/k"}}),
    ],
)
def test_what_is_in_order(values: dict[str, Any]) -> None:
    assert look(values) == ([], [])
