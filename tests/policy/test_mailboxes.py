"""Lists of domains and mailboxes: the first entry that matches."""

from __future__ import annotations

import pytest

from gatepost.config.recipients import EntryKind
from gatepost.core.address import NULL_ADDRESS, Address, normalise_domain
from gatepost.policy.mailboxes import MailboxTable


def address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(text, local, normalise_domain(domain)) if local else Address(text, text, "")


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("example.net", ["a@example.net", "A@EXAMPLE.NET", "a@example.net."], ["a@sub.example.net", "a@xexample.net", "example.net"]),
        (".example.net", ["a@sub.example.net", "a@b.c.example.net"], ["a@example.net", "a@xexample.net"]),
        ("mary@example.net", ["mary@example.net", "MARY@Example.net", '"mary"@example.net'], ["ann@example.net", "mary@sub.example.net"]),
        ("postmaster@", ["postmaster@a.example", "PostMaster@b.example", "postmaster"], ["xpostmaster@a.example"]),
        ("bücher.example", ["a@xn--bcher-kva.example", "a@BÜCHER.example"], ["a@bucher.example"]),
        ("[192.0.2.1]", ["a@[192.0.2.1]", "a@[IPv6:::ffff:192.0.2.1]"], ["a@[192.0.2.2]", "a@[192.0.2.1"]),
        ("[IPv6:2001:db8::1]", ["a@[IPv6:2001:0DB8::0001]"], ["a@[IPv6:2001:db8::2]", "a@[2001]"]),
        ("ALL", ["a@b.example", "postmaster"], []),
    ],
)  # fmt: skip
def test_forms(entry: str, inside: list[str], outside: list[str]) -> None:
    table = MailboxTable.of_texts([entry])
    assert [table.find(address(text)) for text in inside] == [0] * len(inside)
    assert [table.find(address(text)) for text in outside] == [None] * len(outside)


def test_the_first_entry_wins_whatever_its_kind() -> None:
    table = MailboxTable.of_texts(
        [".example.net", "mary@a.example.net", "a.example.net", "mary@", "example.net", "ALL"]
    )
    assert table.find(address("mary@a.example.net")) == 0
    assert table.find(address("mary@example.net")) == 3
    assert table.find(address("ann@example.net")) == 4
    assert table.find(address("ann@other.example")) == 5
    assert table.kind(3) is EntryKind.LOCAL


def test_the_null_path_is_only_everybody() -> None:
    assert MailboxTable.of_texts(["example.net", "x@", ".net"]).find(NULL_ADDRESS) is None
    assert MailboxTable.of_texts(["example.net", "ALL"]).find(NULL_ADDRESS) == 1


def test_an_empty_list_matches_nobody() -> None:
    assert MailboxTable.of_texts([]).find(address("a@b.example")) is None
