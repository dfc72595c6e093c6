"""Names that may be ordered, and a CA's words made fit to be shown."""

from __future__ import annotations

import pytest

from gatepost.wire.acme_objects import (
    AcmeNameError,
    Identifier,
    IdentifierKind,
    Problem,
    identifier_of,
    shown,
)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("MX.Example.", IdentifierKind.DNS, "mx.example"),
        ("bücher.example", IdentifierKind.DNS, "xn--bcher-kva.example"),
        ("*.example.net", IdentifierKind.DNS, "*.example.net"),
        ("192.0.2.1", IdentifierKind.IP, "192.0.2.1"),
        ("2001:DB8:0::1", IdentifierKind.IP, "2001:db8::1"),
    ],
)
def test_a_name_in_its_one_form(name: str, kind: IdentifierKind, value: str) -> None:
    assert identifier_of(name) == Identifier(kind, value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*.",
        "a.*.example",
        "f*.example",
        "*.*.example",
        "mx.example\n",
        "mx.exam\nple",
        "mx.example\r\nTXT",
        "mx.example\0",
        "mx example",
        "mx..example",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "192.0.2.300",
        "fe80::1%eth0",
        "[192.0.2.1]",
        "mx.example/../",
        "$(reboot).example",
        "mx'.example",
    ],
)
def test_a_text_that_no_certificate_is_for_is_refused(name: str) -> None:
    with pytest.raises(AcmeNameError) as caught:
        identifier_of(name)
    assert str(caught.value).isprintable()


def test_the_base_of_a_wildcard() -> None:
    assert identifier_of("*.example.net").base == "example.net"
    assert identifier_of("*.example.net").wildcard


def test_words_are_one_printable_bounded_line() -> None:
    assert shown("a\r\n\tb\x1b]0;x\x07") == "a b\\x1b]0;x\\x07"
    assert len(shown("x" * 10_000)) == 501
    assert Problem("", "").text == "no reason given"


def test_a_problem_of_a_thousand_parts_is_cut() -> None:
    assert len(Problem("k", "d", subproblems=(Problem("k", "e"),) * 1000).lines()) == 20
