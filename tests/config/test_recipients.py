"""Entries for mailboxes: domain, .partial, user@domain, user@, literals, ALL."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.recipients import (
    EntryKind,
    canonical_literal,
    comparable_local,
    parse_mailbox_entry,
)
from gatepost.config.values import Fault


@pytest.mark.parametrize(
    ("text", "kind", "local", "domain"),
    [
        ("Example.NET.", EntryKind.DOMAIN, "", "example.net"),
        (".Example.net", EntryKind.PARTIAL, "", "example.net"),
        ("Mary@Example.net", EntryKind.MAILBOX, "mary", "example.net"),
        ("postmaster@", EntryKind.LOCAL, "postmaster", ""),
        ('"Mary Ann"@example.net', EntryKind.MAILBOX, "mary ann", "example.net"),
        ("a@b@example.net", EntryKind.MAILBOX, "a@b", "example.net"),
        ("bücher.example", EntryKind.DOMAIN, "", "xn--bcher-kva.example"),
        ("[192.0.2.1]", EntryKind.DOMAIN, "", "[192.0.2.1]"),
        ("[IPv6:2001:DB8:0::1]", EntryKind.DOMAIN, "", "[ipv6:2001:db8::1]"),
        ("mary@[192.0.2.1]", EntryKind.MAILBOX, "mary", "[192.0.2.1]"),
        ("ALL", EntryKind.ALL, "", ""),
    ],
)
def test_forms(text: str, kind: EntryKind, local: str, domain: str) -> None:
    entry = parse_mailbox_entry(text)
    assert (entry.kind, entry.local, entry.domain) == (kind, local, domain)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@example.net",
        "@",
        "a b",
        ".",
        "user@.",
        "user@-x",
        "[192.0.2]",
        "[IPv6:1]",
        "10.0.0.1",
        "a\r\n@b.example",
        "x" * 65 + "@b.example",
    ],
)
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(Fault):
        parse_mailbox_entry(text)


def test_literals_are_compared_by_their_address() -> None:
    assert canonical_literal("[::ffff:192.0.2.1]") == canonical_literal("[192.0.2.1]") == "[192.0.2.1]"
    assert canonical_literal("[IPv6:2001:db8::1]") == canonical_literal("[2001:0db8::0001]")
    assert canonical_literal("[IPv6:192.0.2.1]") is None
    assert canonical_literal("[192.0.2.1") is None


def test_a_quoted_local_part_is_its_content() -> None:
    assert comparable_local('"Mary\\"s"') == 'mary"s'
    assert comparable_local('"a\\\\b"') == "a\\b"
    assert comparable_local("MARY") == "mary"


@given(st.text(max_size=30))
def test_any_text_is_an_entry_or_a_fault(text: str) -> None:
    with contextlib.suppress(Fault):
        found = parse_mailbox_entry(text)
        assert found.text == text
        assert found.local or found.domain or found.kind is EntryKind.ALL
