"""URLs and headers of settings: what may stand in them, and what could change an exchange."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.endpoint import OWN_HEADERS, Endpoint, header_problem, is_loopback, parse_endpoint, url_problem


@pytest.mark.parametrize(
    ("url", "endpoint", "target"),
    [
        (
            "https://models.example/v1/",
            Endpoint(scheme="https", host="models.example", port=443, path="/v1", query=""),
            "/v1/chat/completions",
        ),
        ("http://127.0.0.1:8080", Endpoint(scheme="http", host="127.0.0.1", port=8080, path="", query=""), "/chat/completions"),
        ("https://[::1]:9/a", Endpoint(scheme="https", host="::1", port=9, path="/a", query=""), "/a/chat/completions"),
        (
            "HTTPS://Models.Example/d/x?api-version=1",
            Endpoint(scheme="https", host="models.example", port=443, path="/d/x", query="api-version=1"),
            "/d/x/chat/completions?api-version=1",
        ),
    ],
)
def test_a_base_url_is_taken_apart(url: str, endpoint: Endpoint, target: str) -> None:
    assert parse_endpoint(url) == endpoint
    assert endpoint.target("chat/completions") == target


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "is empty"),
        ("models.example/v1", "begins neither"),
        ("ftp://models.example", "begins neither"),
        ("https://", "names no host"),
        ("https://user:secret@models.example", "names a user"),
        ("https://models.example:70000", "cannot be read"),
        ("https://models.example:0", "names the port 0"),
        ("https://[::1/v1", "cannot be read"),
        ("https://models.example/v1#x", "after `#`"),
        ("https://models.example\\@evil.example", "names a user"),
        ("https://models.example/\\evil", "a backslash"),
        ("https://models.example/a b", "characters that no URL"),
        ("https://models.example/\r\nX: y", "characters that no URL"),
        ("https://mödels.example", "characters that no URL"),
        ("http://models.example/v1", "has no TLS"),
    ],
)
def test_what_is_no_base_url_is_said(url: str, problem: str) -> None:
    assert problem in url_problem(url, allow_http=False)


def test_without_tls_on_this_machine_or_where_it_is_allowed() -> None:
    for url in ("http://127.0.0.1:8080/v1", "http://localhost/v1", "http://[::1]/v1"):
        assert not url_problem(url, allow_http=False)
    assert not url_problem("http://models.example/v1", allow_http=True)
    assert not is_loopback("127.0.0.1.example")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("api-version", "2", ""),
        ("X-Team", "pumps and tanks", ""),
        ("", "x", "no header's name"),
        ("a b", "x", "no header's name"),
        ("X:", "x", "no header's name"),
        ("X\r\nY", "x", "no header's name"),
        ("X", "a\r\nHost: evil.example", "has a value"),
        ("X", "", "has a value"),
        ("X", " a", "has a value"),
        ("X", "grün", "has a value"),
        ("authorization", "Bearer x", "key_file"),
    ],
)
def test_a_header_that_may_be_added_ends_no_line(name: str, value: str, problem: str) -> None:
    found = header_problem(name, value)
    assert problem in found
    assert bool(found) == bool(problem)


@pytest.mark.parametrize("name", sorted(OWN_HEADERS))
def test_no_header_that_the_exchange_needs_can_be_replaced(name: str) -> None:
    assert "writes itself" in header_problem(name.title(), "x")


@given(st.text(), st.text())
def test_whatever_is_accepted_is_one_line_of_ascii(name: str, value: str) -> None:
    if not header_problem(name, value):
        line = f"{name}: {value}".encode("ascii")
        assert b"\r" not in line
        assert b"\n" not in line


@given(st.text())
def test_no_url_raises(text: str) -> None:
    for url in (text, "https://" + text):
        if not url_problem(url, allow_http=True):
            assert parse_endpoint(url).target("x").isascii()
