"""Names of SNI: how they are listed, and which of them a client means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.sni import meant_name, parse_sni_name
from gatepost.config.values import Fault

LISTED = {"mx2.example.net", "*.example.org", "one.example.org", "localhost"}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("mx2.example.net", "mx2.example.net"),
        ("MX2.Example.NET.", "mx2.example.net"),
        ("*.Example.org", "*.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("localhost", "localhost"),
    ],
)
def test_a_listed_name_has_a_comparable_form(written: str, name: str) -> None:
    assert parse_sni_name(written) == name


@pytest.mark.parametrize(
    "written",
    [
        "", "*", "*.", "*.example", "f*.example.net", "*.*.example.net", "mx.*.example", "192.0.2.1", "2001:db8::1",
        "[2001:db8::1]", "a b.example", "a..example", "x" * 64 + ".example", "mx\\.example", "a.b\0.example",
    ],
)  # fmt: skip
def test_what_no_client_asks_for_is_refused(written: str) -> None:
    with pytest.raises(Fault):
        parse_sni_name(written)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("mx2.example.net", "mx2.example.net"),
        ("MX2.EXAMPLE.NET", "mx2.example.net"),
        ("mx2.example.net.", "mx2.example.net"),
        ("two.example.org", "*.example.org"),
        ("one.example.org", "one.example.org"),
        ("localhost", "localhost"),
        ("example.org", None),
        (".example.org", None),
        ("a.b.example.org", None),
        ("*.example.org", None),
        ("mx2.example.net..", None),
        ("mx2.example.net\\", None),
        ("mx2.example.net\0", None),
        ("", None),
        (".", None),
        ("192.0.2.1", None),
        ("\ufffd" * 255, None),
        ("a" * 255, None),
    ],
)
def test_a_client_means_a_listed_name_or_none(asked: str, meant: str | None) -> None:
    assert meant_name(LISTED, asked) == meant


@given(st.text(max_size=300))
def test_whatever_a_client_asks_for_means_something_listed_or_nothing(asked: str) -> None:
    assert meant_name(LISTED, asked) in {*LISTED, None}
